#include <algorithm>
#include <atomic>
#include <thread>

#include <fmt/format.h>

#include "analytics/stage.h"
#include "app/roles.h"
#include "app/supervisor.h"
#include "app/surroundings.h"
#include "lake/lake_stage.h"
#include "log/disk_watch.h"
#include "pipeline/runner.h"
#include "processor/processor.h"
#include "telemetry/tell.h"

namespace flagstream::app {
namespace {

bool has(const std::vector<std::string>& stages, std::string_view name) {
  return std::ranges::find(stages, name) != stages.end();
}

// Looks at most once a second, whoever asks.
std::function<log::DiskMark()> disk_mark_of(Surroundings& around) {
  const auto disk = std::make_shared<log::DiskWatch>(
      log::DiskMarks{.reserve_bytes = around.config.reserve_bytes,
                     .critical_bytes = log::critical_bytes(around.config.segment_bytes)},
      around.folder.path, around.files, around.clock);
  return [disk] { return disk->mark(); };
}

pipeline::RunnerSettings runner_settings(Surroundings& around) {
  const Config& config = around.config;
  pipeline::RunnerSettings settings;
  settings.state_folder = around.folder.state();
  settings.crash_notes_folder = around.folder.crash_notes();
  settings.workers = static_cast<std::uint32_t>(config.workers);
  settings.checkpoint_interval = config.checkpoint_interval;
  settings.checkpoint_input_bytes = config.checkpoint_bytes;
  settings.output_topics = around.event_topics();
  settings.on_gap = config.on_gap == "continue" ? pipeline::OnGap::Continue : pipeline::OnGap::Stop;
  settings.disk_mark = disk_mark_of(around);
  return settings;
}

Result<std::unique_ptr<lake::LakeStage>> open_lake(Surroundings& around) {
  const Config& config = around.config;
  FS_TRY(const lake::DuckDb* duckdb, lake::load_duckdb(""));
  lake::LakeSettings settings;
  settings.folder = around.folder.lake() + "/events";
  settings.commit_interval = config.commit_interval;
  settings.commit_bytes = config.commit_bytes;
  settings.on_gap = config.on_gap == "continue" ? lake::OnGap::Continue : lake::OnGap::Stop;
  settings.disk_mark = disk_mark_of(around);
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

// One JSON object; null where the process has no such part.
std::string status_of(const processor::Processor* processor, const lake::LakeStage* lake) {
  std::string lake_status = "null";
  if (lake != nullptr) {
    const lake::LakeProbe& probe = lake->probe();
    lake_status = fmt::format(
        R"({{"version":{:.0f},"committedAtSeconds":{:.0f},"pendingRows":{:.0f},"lagSeconds":{:.3f}}})",
        probe.version.value(), probe.committed_at_seconds.value(), probe.pending_rows.value(),
        probe.lag_seconds.value());
  }
  return fmt::format(R"({{"role":"{}","folded":{},"lake":{}}})",
                     processor == nullptr ? "lake" : "processor",
                     processor == nullptr ? "null" : processor->status(), lake_status);
}

// `processor` and `lake` may be null.
int run_until_stopped(Surroundings& around, processor::Processor* processor,
                      lake::LakeStage* lake) {
  const std::string role = processor == nullptr ? "lake" : "processor";
  auto status = around.serve_status(
      role, {.is_ready = [=] { return processor == nullptr || processor->is_ready(); },
             .status = [=] { return status_of(processor, lake); }});
  if (!status) return report(status.error());
  Outcome outcome;
  {
    std::jthread watcher([&] {
      if (processor == nullptr) return;
      if (const auto ended = processor->wait(); !ended) outcome.failed(ended.error());
    });
    std::jthread lake_thread([&](std::stop_token stop) {
      if (lake == nullptr) return;
      if (const auto ended = lake->run(stop); !ended) outcome.failed(ended.error());
    });
    tell_supervisor_ready(fmt::format(R"({{"role":"{}"}})", role));
    around.wait([processor](const Config& config) {
      if (processor != nullptr)
        processor->set_output_retention(config.retention, config.retention_bytes);
    });
    if (processor != nullptr) (void)processor->stop();  // its failure is what the watcher reports
  }
  (*status)->stop(kPatience);
  return outcome.status();
}

}  // namespace

int run_processor(const ServeOptions& options) {
  const std::vector<std::string> names =
      options.stages.empty() ? std::vector<std::string>{"transform", "analytics", "lake"}
                             : options.stages;
  std::vector<std::string> folded = names;
  std::erase(folded, "lake");
  Surroundings around(options, folded.empty() ? "lake" : "processor");
  std::unique_ptr<lake::LakeStage> lake;
  if (has(names, "lake")) {
    auto opened = open_lake(around);
    if (!opened) return report(opened.error());
    lake = *std::move(opened);
  }
  analytics::AnalyticsStage analytics({.results_path = around.folder.results()}, around.registry);
  std::unique_ptr<processor::Processor> processor;
  if (!folded.empty()) {
    auto started =
        processor::Processor::start({.stages = std::move(folded),
                                     .runner = runner_settings(around),
                                     .dedupe = around.config.dedupe},
                                    {&analytics}, *around.log, around.clock, around.registry);
    if (!started) return report(started.error());
    processor = *std::move(started);
  }
  return run_until_stopped(around, processor.get(), lake.get());
}

}  // namespace flagstream::app
