// The stage's metrics, of all its partitions together.
#pragma once

#include "telemetry/metrics.h"

namespace flagstream::analytics {

struct PanesProbe {
  explicit PanesProbe(telemetry::Registry& registry);
  telemetry::Gauge entries;
  telemetry::Counter loads;
  telemetry::Counter evictions;
};

struct Probe {
  explicit Probe(telemetry::Registry& registry);

  // Every record of `events` ends in exactly one of these.
  telemetry::Counter counted;
  telemetry::Counter not_counted;
  telemetry::Counter repeats;
  telemetry::Counter ticks;
  telemetry::Counter unknown_kinds;
  telemetry::Counter rejected;

  telemetry::Counter moved_to_receipt;
  telemetry::Counter flag_overflow;
  telemetry::Counter custom_overflow;
  telemetry::Counter kind_overflow;
  telemetry::Counter sdk_overflow;

  telemetry::Counter republished_rows;

  PanesProbe panes;
};

}  // namespace flagstream::analytics
