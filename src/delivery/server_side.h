// Flag delivery to server-side SDKs: streams and polls, with the status policy of
// docs/protocols/delivery.md.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "delivery/access.h"
#include "delivery/connected_sdks.h"
#include "environment/environments.h"
#include "http/server.h"
#include "telemetry/metrics.h"

namespace flagstream::delivery {

struct Settings {
  std::chrono::milliseconds heartbeat{30'000};
  ConnectedSdks* sdks = nullptr;  // where instances are counted; must outlive it
};

// Thread-safe: handlers run on any shard.  Must outlive the server that has its routes.
class ServerSide {
 public:
  ServerSide(Settings settings, Access& access, environment::Environments& environments,
             telemetry::Registry& registry);
  ~ServerSide();

  std::vector<http::Route> routes();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace flagstream::delivery
