// Which contexts have got an index event of ours, in one partition, so that each gets one every
// five minutes as SDKs that make their own send them.  Entries: docs/formats/stage-store.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "events/event_view.h"
#include "pipeline/store.h"

namespace flagstream::transform {

// Not thread-safe.
class SeenContexts {
 public:
  static constexpr std::int64_t kPeriod = 5 * kMicrosPerMinute;
  // Beyond it contexts of the period are not remembered and get more index events than one.
  static constexpr std::size_t kContextsMax = 100'000;

  // As the last checkpoint left it; `clock` is the fold's.  `store` must outlive the call only.
  static Result<SeenContexts> open(const pipeline::Store& store, MicrosUtc clock);

  // Moves on to the period of `clock`, which never decreases.
  void advance(MicrosUtc clock);
  // Whether they are seen now for the first time in the period.
  bool take(std::uint64_t environment, std::span<const events::ContextKeyView> contexts);

  // Whether no more contexts are remembered in this period.
  bool is_full() const { return seen_.size() >= kContextsMax; }

  // As the Fold's (pipeline/stage.h).
  void checkpoint(pipeline::Changes& changes);
  std::size_t dirty_bytes() const;

 private:
  std::uint32_t period_ = 0;
  std::unordered_set<Id128> seen_;
  std::vector<Id128> unsaved_;
  bool has_moved_ = false;  // away from entries, since the last checkpoint
};

}  // namespace flagstream::transform
