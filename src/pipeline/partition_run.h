// One partition of a running stage: its store, its fold, its place in the input and the queues of
// its outputs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "log/log.h"
#include "pipeline/crash_notes.h"
#include "pipeline/probe.h"
#include "pipeline/sink.h"
#include "pipeline/stage.h"
#include "pipeline/store.h"

namespace flagstream::pipeline {

// What all partitions of a running stage share.
struct StageRun {
  Stage& stage;
  std::string folder;  // of its stores
  Id128 input_log_id;
  log::Partition partitions = 0;
  std::vector<std::unique_ptr<log::Appender>> sinks;
  std::unique_ptr<CrashNotes> notes;
  std::unique_ptr<log::ReaderRegistration> registration;  // may be null
  Probe& probe;
};

// Belongs to one thread.
class PartitionRun {
 public:
  // Opens the store and the fold as the last checkpoint left them; without one the fold begins at
  // `range.begin`.  Conflict: the checkpoint is of another log than the input.  DataLoss: it is
  // ahead of the input.  InvalidArgument: written by a newer release.
  static Result<std::unique_ptr<PartitionRun>> open(const StageRun& run, SinkGroup& group,
                                                    log::Partition partition,
                                                    const log::PartitionRange& range);
  ~PartitionRun();

  // How many bytes of records that were.
  Result<std::uint64_t> fold(const log::Frame& frame);
  // Goes on at `to`; what lies before it is lost.
  void skip_to(log::Offset to);
  void flush(bool all);
  bool has_held_back() const;
  Result<void> publish();

  // Whether a checkpoint would say more than the last one.
  bool has_news() const { return next_ != checkpointed_; }
  // Whether that is more than that time passed in an idle partition.
  bool is_dirty() const { return has_data_ || fold_->dirty_bytes() > 0; }
  // Precondition: the outputs of everything folded are durable.
  Result<void> checkpoint();

  log::Partition partition() const { return partition_; }
  log::Offset next() const { return next_; }
  log::Offset checkpointed() const { return checkpointed_; }
  MicrosUtc read_until() const { return read_until_; }  // append time of what was folded last
  std::size_t dirty_bytes() const { return fold_->dirty_bytes(); }

 private:
  class Sinks;

  PartitionRun(const StageRun& run, SinkGroup& group, log::Partition partition);
  Result<void> restore(const log::PartitionRange& range);
  Result<void> pass_over(const RecordPlace& place, std::string_view record);

  const StageRun& run_;
  const log::Partition partition_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Sinks> sinks_;
  std::unique_ptr<Fold> fold_;
  log::Offset next_ = 0;          // the first record not folded
  log::Offset checkpointed_ = 0;  // as the store has it
  bool has_data_ = false;         // since then
  MicrosUtc read_until_ = 0;
  bool has_notes_ = false;
};

}  // namespace flagstream::pipeline
