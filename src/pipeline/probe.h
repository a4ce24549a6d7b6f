// What a stage counts.
#pragma once

#include <atomic>
#include <string>

#include "telemetry/metrics.h"

namespace flagstream::pipeline {

struct Probe {
  Probe(telemetry::Registry& registry, const std::string& stage);

  telemetry::Counter records;
  telemetry::Counter bytes;
  telemetry::Counter outputs;
  telemetry::Counter output_bytes;
  telemetry::Counter checkpoints;
  telemetry::Counter checkpoint_bytes;
  telemetry::Counter passed_over;
  telemetry::Counter rests;
  telemetry::Counter gap_records;
  telemetry::Counter quarantined_records;
  telemetry::Gauge lag_records;
  telemetry::Gauge dirty_bytes;
  telemetry::Gauge has_failed;
  telemetry::Histogram checkpoint_seconds;
  std::atomic<int> folding_workers{0};  // that have opened their partitions
};

}  // namespace flagstream::pipeline
