// What the events API counts.
#pragma once

#include "base/error.h"
#include "ingest/admission.h"
#include "telemetry/metrics.h"

namespace flagstream::ingest {

// Every request ends in exactly one of the payload counters.
struct Probe {
  explicit Probe(telemetry::Registry& registry);

  telemetry::Counter& refused(ErrorKind kind);
  // Precondition: not Admitted.
  telemetry::Counter& refused(Verdict verdict);

  telemetry::Counter accepted;
  telemetry::Counter unauthenticated;  // unknown SDK and mobile keys
  telemetry::Counter not_found;        // unknown client-side ids
  telemetry::Counter invalid;
  telemetry::Counter too_large;
  telemetry::Counter exhausted;  // the log's queue, its disk, or the memory for payloads
  telemetry::Counter rate_limited;
  telemetry::Counter over_share;
  telemetry::Counter unavailable;  // the log or the configuration
  telemetry::Counter indeterminate;
  telemetry::Counter events;
  telemetry::Counter bytes;
  telemetry::Histogram acknowledge_seconds;
};

}  // namespace flagstream::ingest
