// Flag delivery to server-side SDKs: streams and polls, with the status policy of
// docs/protocols/delivery.md.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "environment/environments.h"
#include "http/server.h"
#include "telemetry/metrics.h"

namespace flagstream::delivery {

struct Settings {
  std::chrono::milliseconds heartbeat{30'000};
  std::chrono::milliseconds catch_up_wait{
      2'000};  // a new connection waits so long for the end of `config`
};

// Thread-safe: handlers run on any shard.  Must outlive the server that has its routes.
class ServerSide {
 public:
  ServerSide(Settings settings, environment::Environments& environments, const Clock& clock,
             telemetry::Registry& registry);
  ~ServerSide();

  std::vector<http::Route> routes();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace flagstream::delivery
