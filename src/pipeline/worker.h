// One thread's share of a running stage: some of its partitions, behind one reader.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "log/log.h"
#include "pipeline/partition_run.h"
#include "pipeline/runner.h"
#include "pipeline/sink.h"

namespace flagstream::pipeline {

enum class Ending { None, Checkpoint, Abandon };

// Belongs to one thread.
class Worker {
 public:
  // All must outlive it.
  struct With {
    const RunnerSettings& settings;
    const StageRun& run;
    log::Log& log;
    const Clock& clock;
  };

  // Takes the partitions whose number modulo settings.workers is `index`.
  static Result<std::unique_ptr<Worker>> open(const With& with, std::uint32_t index);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Folds until `ending` says otherwise.
  Result<void> work(const std::atomic<Ending>& ending);

 private:
  Worker(const With& with, std::uint32_t index);
  Result<void> open_partitions(const log::TopicInfo& info);

  bool is_disk_at(log::DiskMark mark) const;
  Result<log::Fetched> fetch();
  Result<void> take(const log::Fetched& fetched);
  Result<void> step_over(const log::Fetched& fetched);
  PartitionRun& partition(log::Partition number);
  void flush(bool all);
  Result<void> tend();
  Result<void> publish();
  void tell_lag();
  void tell_positions();
  bool is_cut_due(std::int64_t now) const;
  // Checkpoints of all partitions with news; without `with_idle`, of those where more than time has
  // passed.
  Result<void> cut(bool with_idle);
  std::uint64_t share(std::uint64_t of_stage) const;

  const With with_;
  const std::uint32_t index_;
  SinkGroup sinks_;
  std::vector<std::unique_ptr<PartitionRun>> partitions_;
  std::unique_ptr<log::Reader> reader_;
  bool is_held_back_ = false;
  bool is_rest_due_ = false;
  bool has_input_ = false;         // since the last publish()
  std::uint64_t input_bytes_ = 0;  // since the last cut
  std::int64_t published_ = 0;     // monotonic time
  std::int64_t cut_ = 0;
  std::int64_t fetched_ = 0;  // when the topic could last be read
  MicrosUtc at_end_ = 0;      // when it was last read to its end
  std::uint32_t cuts_without_idle_ = 0;
  double lag_told_ = 0;
  double dirty_told_ = 0;
};

}  // namespace flagstream::pipeline
