#include <algorithm>
#include <atomic>
#include <thread>

#include <fmt/format.h>

#include "analytics/stage.h"
#include "app/roles.h"
#include "app/supervisor.h"
#include "app/surroundings.h"
#include "http/inflate.h"
#include "lake/lake_stage.h"
#include "pipeline/runner.h"
#include "telemetry/tell.h"
#include "transform/transform_stage.h"

namespace flagstream::app {
namespace {

bool has(const std::vector<std::string>& stages, std::string_view name) {
  return std::ranges::find(stages, name) != stages.end();
}

// The stages that the pipeline's runtime folds.
class Folded {
 public:
  Folded(Surroundings& around, const std::vector<std::string>& names) {
    if (has(names, "transform")) {
      stages_.push_back(std::make_unique<transform::TransformStage>(
          transform::TransformSettings{
              .dedupe = around.config.dedupe,
              .inflate = [](std::string_view gzip,
                            std::string& out) { return http::inflate_gzip(gzip, {}, out); }},
          around.registry));
    }
    if (has(names, "analytics")) {
      stages_.push_back(std::make_unique<analytics::AnalyticsStage>(
          analytics::Settings{.results_path = around.folder.results()}, around.registry));
    }
  }

  Result<void> start(Surroundings& around) {
    if (stages_.empty()) return {};
    std::vector<pipeline::Stage*> stages;
    stages.reserve(stages_.size());
    for (const auto& each : stages_) stages.push_back(each.get());
    const Config& config = around.config;
    FS_TRY(runner_, pipeline::Runner::start(
                        {.state_folder = around.folder.state(),
                         .crash_notes_folder = around.folder.crash_notes(),
                         .workers = static_cast<std::uint32_t>(config.workers),
                         .checkpoint_interval = config.checkpoint_interval,
                         .checkpoint_input_bytes = config.checkpoint_bytes,
                         .output_topics = around.event_topics(),
                         .on_gap = config.on_gap == "continue" ? pipeline::OnGap::Continue
                                                               : pipeline::OnGap::Stop},
                        std::move(stages), *around.log, around.clock, around.registry));
    return {};
  }

  // The first failure of a stage; returns when stop() was called, too.
  Result<void> wait() { return runner_ == nullptr ? Result<void>() : runner_->wait(); }
  Result<void> stop() { return runner_ == nullptr ? Result<void>() : runner_->stop(); }
  bool is_empty() const { return runner_ == nullptr; }

 private:
  std::vector<std::unique_ptr<pipeline::Stage>> stages_;
  std::unique_ptr<pipeline::Runner> runner_;
};

Result<std::unique_ptr<lake::LakeStage>> open_lake(Surroundings& around) {
  const Config& config = around.config;
  FS_TRY(const lake::DuckDb* duckdb, lake::load_duckdb(""));
  lake::LakeSettings settings;
  settings.folder = around.folder.lake() + "/events";
  settings.commit_interval = config.commit_interval;
  settings.commit_bytes = config.commit_bytes;
  settings.on_gap = config.on_gap == "continue" ? lake::OnGap::Continue : lake::OnGap::Stop;
  return lake::LakeStage::open(std::move(settings), *duckdb, *around.log, around.files,
                               around.clock, around.registry);
}

// What failed first, of several threads.
class Outcome {
 public:
  void failed(const Error& error) {
    const int status = report(error);
    int none = 0;
    status_.compare_exchange_strong(none, status);
    StopSignals::raise();
  }
  int status() const { return status_; }

 private:
  std::atomic<int> status_{0};
};

}  // namespace

int run_processor(const ServeOptions& options) {
  const std::vector<std::string> names =
      options.stages.empty() ? std::vector<std::string>{"transform", "analytics", "lake"}
                             : options.stages;
  const std::string role = names == std::vector<std::string>{"lake"} ? "lake" : "processor";
  Surroundings around(options, role);
  Folded folded(around, names);
  std::unique_ptr<lake::LakeStage> lake;
  if (has(names, "lake")) {
    auto opened = open_lake(around);
    if (!opened) return report(opened.error());
    lake = *std::move(opened);
  }
  if (const auto started = folded.start(around); !started) return report(started.error());
  const std::string about =
      fmt::format(R"({{"role":"{}","stages":["{}"]}})", role, fmt::join(names, "\",\""));
  auto status = around.serve_status(
      role, {.is_ready = [] { return true; }, .status = [&about] { return about; }});
  if (!status) return report(status.error());
  Outcome outcome;
  {
    std::jthread watcher([&] {
      if (folded.is_empty()) return;
      if (const auto ended = folded.wait(); !ended) outcome.failed(ended.error());
    });
    std::jthread lake_thread([&](std::stop_token stop) {
      if (lake == nullptr) return;
      if (const auto ended = lake->run(stop); !ended) outcome.failed(ended.error());
    });
    tell_supervisor_ready(about);
    around.signals.wait();
    (void)folded.stop();  // its failure is what the watcher reports
  }
  (*status)->stop(kPatience);
  return outcome.status();
}

}  // namespace flagstream::app
