// Changes that are committed in the catalog and not yet known to be in the topic `config`.
//
// An edit's transaction raises the environment's revision by one for each change and stores the
// change here; the publisher (publisher.h) appends them in order and then removes them.  Hence a
// revision exists in the log if and only if its edit was committed, whatever is killed when.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "sql/database.h"

namespace flagstream::catalog {

enum class ItemKind { Environment = 1, Flag = 2, Segment = 3 };

// One version of one item of an environment.
struct Item {
  EnvironmentId environment{};
  ProjectId project{};
  ItemKind kind = ItemKind::Flag;
  std::string key;
  std::int64_t version = 0;
  bool deleted = false;
  std::string document;          // as environment/config.proto says; empty if deleted
  std::int64_t memberships = 0;  // readers apply the memberships through this number first
};

struct Change {
  std::int64_t sequence = 0;  // order over all environments
  std::int64_t revision = 0;
  Item item;
};

// Uses the connection it is given; same thread.
class Outbox {
 public:
  explicit Outbox(sql::Database& database) : database_(database) {}

  // Inside the caller's transaction: assigns the environment's next revision and stores the change.
  Result<std::int64_t> add(const Item& item);
  // The same with the revision given, for an environment that the catalog does not know (any more).
  Result<void> add_at(const Item& item, std::int64_t revision);
  // The oldest changes, in order: at most `count_max` of them and, after the first, at most
  // `bytes_max` of documents.
  Result<std::vector<Change>> oldest(std::size_t count_max, std::size_t bytes_max);
  Result<void> remove_through(std::int64_t sequence);
  // Removes changes of one environment up to that revision.
  Result<void> remove_published(EnvironmentId environment, std::int64_t revision);
  // How many changes of one environment wait.
  Result<std::int64_t> count(EnvironmentId environment);

  // The last version of an item that was deleted; 0 if there is none.
  Result<std::int64_t> tombstone_version(EnvironmentId environment, ItemKind kind,
                                         const std::string& key);
  // Every tombstone, as deleted items.
  Result<std::vector<Item>> tombstones();
  // Remembers the version under which the item was deleted.  Kept for ever.
  Result<void> bury(const Item& item);

 private:
  sql::Database& database_;
};

}  // namespace flagstream::catalog
