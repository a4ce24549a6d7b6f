// Runs stages over the log: one Runner per process, with a few worker threads for each stage that
// share its partitions.
//
// Per (stage, partition): read frames, fold, append outputs in source order, publish about every
// 250 ms, and at a trigger (time, input bytes, dirty bytes) cut a checkpoint: publish, wait until
// every output of the inputs before the cut is durable, write the changed entries with the input
// position in one synced batch.  A crash anywhere resumes from the last checkpoint; readers of the
// outputs drop repeats by source.
//
// Poison records: docs/architecture.md.  A handler of fatal signals notes the record that the
// faulting thread folds; at the third note of a record its fold gets pass_over() instead of fold().
//
// Failures (a fold's error, a failed append, a store that cannot be written) stop the whole Runner:
// whoever owns it starts anew from the checkpoints.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "log/log.h"
#include "pipeline/stage.h"
#include "telemetry/metrics.h"

namespace flagstream::pipeline {

// What happens when retention has deleted records before a stage read them: it fails, or it goes on
// at the first record kept and tells its folds.
enum class OnGap { Stop, Continue };

struct RunnerSettings {
  std::string state_folder;        // stores: STATE/STAGE/PARTITION
  std::string crash_notes_folder;  // notes: CRASH/STAGE.notes
  std::uint32_t workers = 1;       // threads per stage; more than partitions are of no use
  std::chrono::microseconds checkpoint_interval = std::chrono::seconds(10);
  std::uint64_t checkpoint_input_bytes = 1ull << 30;    // of one stage
  std::uint64_t checkpoint_dirty_bytes = 256ull << 20;  // of one stage
  std::chrono::microseconds publish_interval = std::chrono::milliseconds(250);
  std::size_t output_bytes_in_flight_max = 32u << 20;  // of one stage
  log::TopicOptions output_topics;                     // partitions are the input's
  OnGap on_gap = OnGap::Stop;
  // Down to its reserve: a stage checkpoints every 16 MiB of input.  Critical: it takes no input.
  // Called by every worker again and again, so it must be quick; empty: there are no marks.
  std::function<log::DiskMark()> disk_mark = nullptr;
};

struct StageStatus {
  enum class Phase { Waiting, Folding, Failed };  // for its input; its partitions; see wait()
  std::string name;
  Phase phase = Phase::Waiting;
  std::uint64_t lag_records = 0;  // as last told, about every publish interval
};

class Runner {
 public:
  // Returns at once: a stage begins when its input topic exists.  InvalidArgument: the stages or
  // settings make no sense.  `stages`, `log`, `clock`, `registry` must outlive it.
  static Result<std::unique_ptr<Runner>> start(RunnerSettings settings, std::vector<Stage*> stages,
                                               log::Log& log, const Clock& clock,
                                               telemetry::Registry& registry);
  // stop() if neither it nor abandon() was called.
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Waits until a stage has failed or stop() was called; the first failure.  Any thread.
  Result<void> wait();
  // Any thread.
  std::vector<StageStatus> status() const;
  // Of the topics that stages write, from now on.  Any thread.
  void set_output_retention(std::chrono::microseconds retention, std::uint64_t retention_bytes);
  // Cuts a last checkpoint of every stage that has not failed and joins; the first failure, be it
  // an earlier one.  Any thread.
  Result<void> stop();
  // Joins without a checkpoint: the next start repeats what was folded since the last, as after a
  // crash.
  void abandon();

 private:
  class Running;
  explicit Runner(std::unique_ptr<Running> running);
  std::unique_ptr<Running> running_;
};

}  // namespace flagstream::pipeline
