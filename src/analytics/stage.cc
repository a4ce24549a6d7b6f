#include "analytics/stage.h"

#include <utility>

namespace flagstream::analytics {

AnalyticsStage::AnalyticsStage(Settings settings, telemetry::Registry& registry)
    : settings_(std::move(settings)), registry_(registry), probe_(registry) {}

Result<ResultsWriter*> AnalyticsStage::writer() {
  const std::lock_guard lock(writer_mutex_);
  if (!writer_) {
    FS_TRY(writer_, ResultsWriter::open(settings_.results_path, settings_.generation, registry_));
  }
  return writer_.get();
}

Result<std::unique_ptr<pipeline::Fold>> AnalyticsStage::open_fold(
    const pipeline::FoldPlace& place) {
  FS_TRY(ResultsWriter* const writer, this->writer());
  FS_TRY(auto fold, AnalyticsFold::open(place, settings_.limits, *writer, probe_));
  return std::unique_ptr<pipeline::Fold>(std::move(fold));
}

}  // namespace flagstream::analytics
