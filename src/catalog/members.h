// The memberships of big segments: which contexts each includes and excludes, as hashes of their
// keys, and the changes of them on their way into the topic `memberships`.
//
// A change is stored here in the edit's transaction; the publisher appends what waits, in the order
// of its sequence numbers, before it appends the change of the segment that goes with it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "sql/database.h"

namespace flagstream::catalog {

// What one request adds and removes, by context key.
struct MemberChange {
  std::vector<std::string> included_add = {};
  std::vector<std::string> included_remove = {};
  std::vector<std::string> excluded_add = {};
  std::vector<std::string> excluded_remove = {};

  std::size_t size() const {
    return included_add.size() + included_remove.size() + excluded_add.size() +
           excluded_remove.size();
  }
};

struct Membership {
  bool is_included = false;
  bool is_excluded = false;
};

// One record of the topic, ready to be appended.
struct WaitingMembers {
  std::int64_t sequence = 0;
  std::string record;
};

// Uses the connection it is given; same thread.
class Members {
 public:
  explicit Members(sql::Database& database) : database_(database) {}

  // All three inside the caller's transaction; they return the sequence number of the change.
  // A new generation, without members; its number is the change's.
  Result<std::int64_t> begin_generation(EnvironmentId environment);
  Result<std::int64_t> change(EnvironmentId environment, std::int64_t generation,
                              const MemberChange& change);
  // Forgets the members of that generation.
  Result<std::int64_t> end_generation(EnvironmentId environment, std::int64_t generation);

  // Of the newest change; 0: there was none.
  Result<std::int64_t> last_sequence();
  Result<Membership> membership(std::int64_t generation, const std::string& context_key);
  // Of all contexts that are included or excluded.
  Result<std::int64_t> count(std::int64_t generation);

  // The oldest changes that wait, in order: at most `bytes_max` after the first.
  Result<std::vector<WaitingMembers>> oldest(std::size_t bytes_max);
  Result<void> remove_through(std::int64_t sequence);

  // Brings this database and the topic together, whose last change has the number `last_in_log` (0:
  // none).  Where the topic is ahead (a restored backup) or behind (a new log), everything is
  // handed out anew; true then.
  Result<bool> reconcile(std::int64_t last_in_log);

 private:
  Result<std::int64_t> next_sequence();
  Result<void> add_record(std::int64_t sequence, const std::string& record);
  Result<void> hand_out_all();
  Result<void> hand_out(EnvironmentId environment, std::int64_t generation);
  Result<void> store(std::int64_t generation, const std::vector<std::string>& keys,
                     std::int64_t bit, bool adds, std::string& hashes);

  sql::Database& database_;
};

}  // namespace flagstream::catalog
