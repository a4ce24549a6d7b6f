// The analytics fold: from the records of one partition of `events` to the panes, and from these to
// the results database and the stage's store.
//
// Everything is a sum, a minimum, a maximum or a set, so that within the limits neither the order
// of records nor their partitions change a merged result.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "analytics/panes.h"
#include "analytics/probe.h"
#include "analytics/results_writer.h"
#include "base/clock.h"
#include "base/error.h"
#include "events/event_view.h"
#include "events/source_guard.h"
#include "pipeline/stage.h"

namespace flagstream::analytics {

// All of one partition of `events`.  Keys come from the network: what goes over a limit is counted
// under the empty key (and no variation and version), which no flag, event or kind has.
struct Limits {
  std::uint64_t flag_rows_max = 20'000;     // pairs of flag and variation, of an environment
  std::uint64_t minute_rows_max = 5'000;    // flag, variation, version, of environment and minute
  std::uint64_t custom_keys_max = 5'000;    // of an environment
  std::uint64_t custom_minute_max = 2'000;  // of an environment and minute
  std::uint64_t context_kinds_max = 100;    // of an environment
  std::uint64_t sdks_max = 500;             // of an environment
  std::size_t key_bytes_max = 256;          // of each key that becomes a row
  std::size_t entries_in_memory = 100'000;  // kept after a checkpoint
};

// An event whose own time is further before its receipt than this counts at its receipt.
inline constexpr std::int64_t kLatenessMax = 30 * kMicrosPerDay;
// As far may it be ahead.
inline constexpr std::int64_t kAheadMax = 5 * kMicrosPerMinute;
// How long the store and the results keep minutes, before the fold clock: longer than an event may
// be late, for received times of one partition are not in order.
inline constexpr std::int64_t kMinutesKept = kLatenessMax + kMicrosPerDay;

class AnalyticsFold final : public pipeline::Fold {
 public:
  // `place.store`, `writer` and `probe` must outlive it.  Publishes first what the store holds and
  // the results database has lost.
  static Result<std::unique_ptr<AnalyticsFold>> open(const pipeline::FoldPlace& place,
                                                     const Limits& limits, ResultsWriter& writer,
                                                     Probe& probe);

  Result<void> fold(const pipeline::RecordPlace& place, std::string_view record,
                    pipeline::Outputs& outputs) override;
  Result<void> pass_over(const pipeline::RecordPlace& place, std::string_view record,
                         pipeline::Outputs& outputs) override;
  Result<void> publish() override;
  void checkpoint(pipeline::Changes& changes) override;
  void checkpointed() override;
  void lost(log::Offset begin, log::Offset end) override;
  std::size_t dirty_bytes() const override { return panes_.dirty_bytes(); }

 private:
  // Two tables that count the same: by minute, and ever.
  struct Counted {
    Table minutes;
    Table totals;
    std::uint64_t minute_rows_max;
    std::uint64_t total_rows_max;
    telemetry::Counter& overflow;
  };

  // A context seen a moment ago, which the events of one payload repeat; until checkpointed().
  struct SeenContext {
    KeyedEntry* entry = nullptr;  // nullptr: none was seen
    std::uint64_t environment = 0;
    std::string kind;
    std::string key;
  };

  AnalyticsFold(const pipeline::FoldPlace& place, const Limits& limits, ResultsWriter& writer,
                Probe& probe);

  Result<void> restore();
  Result<void> republish();
  Result<void> count(const events::EventView& event);
  Result<void> count_evaluations(const events::EventView& event);
  Result<void> count_custom(const events::EventView& event);
  Result<void> count_contexts(const events::EventView& event);
  // The entry of the context's kind, and whether the context is new in it.
  struct Counting {
    KeyedEntry* entry = nullptr;
    bool is_new = false;
  };
  Result<Counting> count_context(Pane& pane, std::uint64_t environment,
                                 const events::ContextKeyView& context, SeenContext& seen);
  Result<void> count_payload(const events::EventView& event);
  Result<void> count_sdk(const events::EventView& event);
  Result<void> note_gaps();
  Result<void> note_progress(const events::EventView& event);
  // Of `minute_key_` and `total_key_`; `is_bounded`: they may be added only within the limits.
  Result<bool> try_add(const Counted& counted, const events::EventView& event, std::int64_t count,
                       bool is_bounded);
  // The entry of `key`, made if there is room for it; nullptr: there is none.
  Result<KeyedEntry*> admit(Pane& pane, std::string_view key, std::uint64_t entries_max);
  MicrosUtc time_of(const events::EventView& event) const;
  MicrosUtc oldest_minute() const;
  void reject(const pipeline::RecordPlace& place, std::string_view record, std::string_view reason,
              std::uint32_t tries, pipeline::Outputs& outputs);

  const log::Partition partition_;
  const Id128 log_id_;
  const pipeline::Store& store_;
  const Limits limits_;
  ResultsWriter& writer_;
  Probe& probe_;

  events::SourceGuard guard_;
  MicrosUtc clock_ = 0;           // highest received time folded
  log::Offset changed_ = 0;       // behind the last record that changed an entry
  log::Offset published_ = 0;     // `changed_` of the last publish()
  MicrosUtc removed_before_ = 0;  // minutes that the store has no more
  Panes panes_;
  std::vector<std::pair<log::Offset, log::Offset>> gaps_;  // not yet in the panes

  // Of the record at hand.
  log::Offset position_ = 0;  // behind it
  MicrosUtc time_ = 0;        // at which it counts
  events::EventViewReader reader_;
  std::array<SeenContext, 4> seen_;  // by their place in the event, modulo
  std::string minute_key_;
  std::string total_key_;
};

}  // namespace flagstream::analytics
