// Runs stages over the log: one Runner per process, its worker threads share the partitions of
// every stage.
//
// Per (stage, partition): read frames, fold, append outputs in source order, publish about every
// 250 ms, and at a trigger (time, input bytes, dirty bytes) cut a checkpoint: publish, wait until
// every output of the inputs before the cut is durable, write the changed entries with the input
// position in one synced batch.  A crash anywhere resumes from the last checkpoint; readers of the
// outputs drop repeats by source.
//
// Poison records: docs/architecture.md.  A handler of fatal signals notes (stage, partition,
// offset) of the folding thread; at the third note of a record its fold gets pass_over() instead of
// fold().
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "log/log.h"
#include "pipeline/stage.h"
#include "telemetry/metrics.h"

namespace flagstream::pipeline {

enum class OnGap { Stop, Continue };

struct RunnerSettings {
  std::string state_folder;        // stores: STATE/STAGE/PARTITION
  std::string crash_notes_folder;  // notes: CRASH/STAGE.notes
  std::uint32_t workers = 1;
  std::chrono::microseconds checkpoint_interval = std::chrono::seconds(10);
  std::uint64_t checkpoint_input_bytes = 1ull << 30;
  std::uint64_t checkpoint_dirty_bytes = 256ull << 20;
  std::chrono::microseconds publish_interval = std::chrono::milliseconds(250);
  log::TopicOptions output_topics;  // partitions are the input's
  OnGap on_gap = OnGap::Stop;
};

class Runner {
 public:
  // Waits for the input topics to exist.  `stages`, `log`, `clock`, `registry` must outlive it.
  static Result<std::unique_ptr<Runner>> start(RunnerSettings settings, std::vector<Stage*> stages,
                                               log::Log& log, const Clock& clock,
                                               telemetry::Registry& registry);
  // stop() if it was not called.
  ~Runner();

  // Waits until a worker has failed or stop() was called; the first error.
  Result<void> wait();
  // Cuts a last checkpoint of everything and joins.  Any thread.
  void stop();

 private:
  class Running;
  explicit Runner(std::unique_ptr<Running> running);
  std::unique_ptr<Running> running_;
};

}  // namespace flagstream::pipeline
