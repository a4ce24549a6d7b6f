// What control counts of its own; its server counts requests.
#pragma once

#include "base/error.h"
#include "telemetry/metrics.h"

namespace flagstream::control {

struct Probe {
  explicit Probe(telemetry::Registry& registry);

  // The counter for a refusal of that kind; null for kinds that are no refusals.
  void count_refusal(ErrorKind kind);

  telemetry::Counter changes;  // requests that changed the catalog
  telemetry::Counter unauthenticated;
  telemetry::Counter forbidden;
  telemetry::Counter invalid;
  telemetry::Counter busy;      // a worker had no room
  telemetry::Counter failed;    // databases, disks
  telemetry::Counter queries;   // SQL over the lake
  telemetry::Counter sessions;  // made by a setup link
};

// A credential as telemetry may show it: its kind and its last four characters, "sdk-…1a2b".
std::string masked(std::string_view credential);

}  // namespace flagstream::control
