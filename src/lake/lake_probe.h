// Figures of the stage `lake`.
#pragma once

#include "telemetry/metrics.h"

namespace flagstream::lake {

struct LakeProbe {
  explicit LakeProbe(telemetry::Registry& registry);

  telemetry::Counter rows;
  telemetry::Counter files;
  telemetry::Counter file_bytes;
  telemetry::Counter commits;
  telemetry::Counter commits_lost;
  telemetry::Histogram commit_seconds;
  telemetry::Counter input_bytes;
  telemetry::Counter event_records;
  telemetry::Counter payload_records;
  telemetry::Counter ticks;
  telemetry::Counter repeated;
  telemetry::Counter unknown_records;
  telemetry::Counter damaged_records;
  telemetry::Counter gap_records;
  telemetry::Counter orphans_removed;
  telemetry::Gauge pending_rows;
  telemetry::Gauge version;
  telemetry::Gauge committed_at_seconds;
  telemetry::Gauge lag_seconds;
};

}  // namespace flagstream::lake
