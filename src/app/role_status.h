// What every role answers about itself: /livez, /readyz, /status and /metrics, on a Unix socket of
// its own (data/run/ROLE-status.sock); the gateway's admin listener serves its own and forwards to
// the others'.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "http/server.h"
#include "telemetry/metrics.h"

namespace flagstream::app {

struct RoleStatus {
  std::function<bool()> is_ready;
  std::function<std::string()> status;  // one JSON object
};

// `prefix` "" or "/control".  `registry` and what `status` uses must outlive the routes.
std::vector<http::Route> status_routes(const std::string& prefix, const RoleStatus& status,
                                       const telemetry::Registry& registry);

}  // namespace flagstream::app
