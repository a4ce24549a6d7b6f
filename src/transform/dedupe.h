// Which payload identities were seen within the last 24 hours of the fold's clock, in one
// partition.
//
// An id is kept under the hour that the clock had when its first copy came, and given up with that
// hour once the clock's hour is more than 24 later: so for at least 24 hours and at most 25.  What
// the last checkpoint holds is looked up in the store, behind filters in RAM that only say
// "certainly new".  Entries: docs/formats/stage-store.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "pipeline/store.h"
#include "transform/id_filter.h"

namespace flagstream::transform {

inline constexpr std::uint32_t kDedupeHours = 24;

// Not thread-safe.
class Dedupe {
 public:
  // As the last checkpoint left it.  `store` must outlive it.
  static Result<Dedupe> open(const pipeline::Store& store);

  // Moves the clock to `received` if that is later.
  void advance(MicrosUtc received);
  // Whether the first copy of `id`, a hash of the identity, comes now.
  Result<bool> take(const Id128& id);
  MicrosUtc clock() const { return clock_; }

  // As the Fold's (pipeline/stage.h).
  void checkpoint(pipeline::Changes& changes);
  void checkpointed();
  std::size_t dirty_bytes() const;
  // What filters and sets take in RAM, about.
  std::size_t resident_bytes() const;

 private:
  using Ids = std::unordered_set<Id128>;
  struct Hour {
    Ids unsaved;                    // since the last checkpoint
    Ids saving;                     // in the checkpoint under way
    std::vector<IdFilter> filters;  // over what is or will be saved
    std::size_t filtered = 0;       // ids in them
    std::size_t capacity = 0;       // for which they were made
    bool are_filters_saved = false;
  };

  explicit Dedupe(const pipeline::Store& store) : store_(&store) {}
  Result<void> read_filters();
  Result<void> read_ids(std::uint32_t hour);
  Result<bool> is_in(std::uint32_t number, const Hour& hour, const Id128& id) const;
  void add_to_filters(Hour& hour, const Id128& id);
  std::size_t first_capacity() const;

  const pipeline::Store* store_;
  MicrosUtc clock_ = 0;
  std::uint32_t hour_ = 0;  // of the clock
  std::map<std::uint32_t, Hour> hours_;
  std::size_t unsaved_ = 0;
  bool has_moved_ = false;           // the clock, since the last checkpoint
  std::uint32_t expired_below_ = 0;  // hours that the next checkpoint removes, if any
};

}  // namespace flagstream::transform
