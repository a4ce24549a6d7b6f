// Flag delivery to server-side SDKs: streams and polls, with the status policy of
// docs/protocols/delivery.md and docs/protocols/fdv2.md.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "delivery/access.h"
#include "delivery/connected_sdks.h"
#include "environment/environments.h"
#include "http/server.h"
#include "telemetry/metrics.h"

namespace flagstream::delivery {

struct Settings {
  std::chrono::milliseconds heartbeat{30'000};
  std::chrono::milliseconds max_stream_age{0};  // about; 0: as long as the client stays
  std::chrono::seconds php_cache_ttl{0};        // 0: the PHP SDK is told nothing of it
  bool has_fdv2 = true;  // false: SDKs that ask for the newer protocol are sent to the older one
  ConnectedSdks* sdks = nullptr;  // where instances are counted; must outlive it
};

// Thread-safe: handlers run on any shard.  Must outlive the server that has its routes.
class ServerSide {
 public:
  ServerSide(Settings settings, Access& access, environment::Environments& environments,
             const Clock& clock, telemetry::Registry& registry);
  ~ServerSide();

  std::vector<http::Route> routes();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace flagstream::delivery
