// The role `processor`: runs some of the product's stages over the log.  May crash, lag or be
// upgraded at any time; nothing is lost.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "log/log.h"
#include "pipeline/runner.h"
#include "pipeline/stage.h"
#include "telemetry/metrics.h"

namespace flagstream::processor {

struct Settings {
  std::vector<std::string> stages;  // names, each once
  pipeline::RunnerSettings runner;
  bool dedupe = true;  // transform/transform_stage.h
};

class Processor {
 public:
  // Runs the stages that `settings` names: transform is made here, the others are taken from
  // `others` by their name (those that are not named are left alone).  Returns at once; a stage
  // begins when its input topic exists.  InvalidArgument: there is no such stage.  All arguments
  // must outlive it.
  static Result<std::unique_ptr<Processor>> start(Settings settings,
                                                  std::vector<pipeline::Stage*> others,
                                                  log::Log& log, const Clock& clock,
                                                  telemetry::Registry& registry);
  // stop() if it was not called.
  ~Processor();

  // Whether every stage has an input and has not failed.  Any thread.
  bool is_ready() const;
  // One JSON object: {"stages":[{"name","phase","lagRecords"}]}.  Any thread.
  std::string status() const;
  // Of the topics that stages write, from now on.  Any thread.
  void set_output_retention(std::chrono::microseconds retention, std::uint64_t retention_bytes);
  // Waits until a stage has failed or stop() was called; the first failure.  Any thread.
  Result<void> wait();
  // Cuts a last checkpoint and joins.  Any thread.
  Result<void> stop();

 private:
  class Parts;
  explicit Processor(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace flagstream::processor
