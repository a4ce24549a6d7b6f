// Figures of one HTTP server.
#pragma once

#include <string>

#include "telemetry/metrics.h"

namespace flagstream::http {

struct ServerProbe {
  ServerProbe(telemetry::Registry& registry, const std::string& server);

  telemetry::Counter requests_2xx, requests_3xx, requests_4xx, requests_5xx;
  telemetry::Counter connections_refused, address_refused;
  telemetry::Counter parse_errors, timeouts, handler_failures;
  telemetry::Counter bytes_in, bytes_out;
  telemetry::Gauge connections, streams;
  telemetry::Histogram request_seconds;
};

}  // namespace flagstream::http
