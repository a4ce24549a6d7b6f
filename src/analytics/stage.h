// The stage `analytics`: from `events` to the results database.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "analytics/fold.h"
#include "analytics/probe.h"
#include "analytics/results_writer.h"
#include "pipeline/stage.h"
#include "telemetry/metrics.h"

namespace flagstream::analytics {

struct Settings {
  std::string results_path;      // made if needed; all partitions of the process write it
  std::uint64_t generation = 1;  // what readers see is another matter: ResultsWriter
  Limits limits = {};
};

// Its folds must not outlive it.
class AnalyticsStage final : public pipeline::Stage {
 public:
  // `registry` must outlive it.
  AnalyticsStage(Settings settings, telemetry::Registry& registry);

  std::string name() const override { return "analytics"; }
  std::uint32_t format_version() const override { return 1; }
  std::string input() const override { return "events"; }
  std::vector<std::string> outputs() const override { return {"rejects.analytics"}; }
  // Opens the results database with the first.  Any thread.
  Result<std::unique_ptr<pipeline::Fold>> open_fold(const pipeline::FoldPlace& place) override;

 private:
  Result<ResultsWriter*> writer();

  const Settings settings_;
  telemetry::Registry& registry_;
  Probe probe_;
  std::mutex writer_mutex_;
  std::unique_ptr<ResultsWriter> writer_;
};

}  // namespace flagstream::analytics
