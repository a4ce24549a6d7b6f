// The contract between a stage and the runtime that folds it over a topic (runner.h).
//
//     input topic ── Reader ──▶ Fold (one per partition) ──▶ Outputs (topics), own publication
//     (results)
//                                  │ changed entries at a cut
//                                  ▼
//                               Store (RocksDB, one per stage and partition): written by
//                               checkpoints only
//
// A fold is deterministic given the log: no wall clock, no randomness, no iteration order of
// unordered containers. It writes RAM only and reads its store on a miss; only what the last
// checkpoint holds may leave RAM.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "log/log.h"
#include "pipeline/store.h"

namespace flagstream::pipeline {

// Takes what a fold makes of the frame at hand.  Appends to a sink partition happen strictly in the
// order of add().
class Outputs {
 public:
  virtual ~Outputs() = default;
  // A record for the topic `Stage::outputs()[sink]`, partition as the input's.
  virtual void add(std::size_t sink, std::string_view record) = 0;
};

// Where a record stands, for a fold that must name its source.
struct RecordPlace {
  Id128 log_id;
  log::Partition partition = 0;
  log::Offset offset = 0;
  MicrosUtc append_time = 0;
};

// One partition of a stage.  All calls come from one thread at a time.
class Fold {
 public:
  virtual ~Fold() = default;

  // Folds one record.  An error stops the stage (DataLoss, InvalidArgument: a newer release); what
  // is wrong with a record itself is an output (a reject), not an error.
  virtual Result<void> fold(const RecordPlace& place, std::string_view record,
                            Outputs& outputs) = 0;
  // Instead of fold(), for a record that has crashed the stage three times: rejects it with reason
  // `crash`.
  virtual Result<void> pass_over(const RecordPlace& place, std::string_view record,
                                 Outputs& outputs) = 0;
  // The records from `begin` to before `end` are lost: retention or damage took them before they
  // were folded.  For a fold that marks its results.
  virtual void lost(log::Offset begin, log::Offset end) { static_cast<void>(begin + end); }
  // Between frames, about every 250 ms while there was input, and before every cut: publishes to a
  // store outside (the results database).  Must be repeatable.
  virtual Result<void> publish() { return {}; }
  // The cut: puts every entry changed since the last one into `changes` (copied; later changes are
  // for the next).
  virtual void checkpoint(Changes& changes) = 0;
  // The changes of the last checkpoint() are in the store: they may leave RAM.
  virtual void checkpointed() {}
  // About the size of what checkpoint() would write, for the trigger.
  virtual std::size_t dirty_bytes() const = 0;
};

// What a fold is opened for.
struct FoldPlace {
  log::Partition partition = 0;
  Id128 input_log_id;
  const Store& store;  // as the last checkpoint left it; outlives the fold
};

// A stage: its names, and how its folds are made.
class Stage {
 public:
  virtual ~Stage() = default;
  virtual std::string name() const = 0;  // also of its folder: data/state/NAME/PARTITION
  virtual std::uint32_t format_version() const = 0;  // of the store's entries
  virtual std::string input() const = 0;             // topic
  virtual std::vector<std::string> outputs()
      const = 0;  // topics, made with the input's partition count
  virtual Result<std::unique_ptr<Fold>> open_fold(const FoldPlace& place) = 0;
};

}  // namespace flagstream::pipeline
