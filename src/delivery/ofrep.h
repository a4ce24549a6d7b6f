// The OpenFeature Remote Evaluation Protocol 0.3.0: one flag for server providers, all of them for
// client providers, and a stream that says when to ask again.  docs/protocols/ofrep.md.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "delivery/access.h"
#include "delivery/connected_sdks.h"
#include "delivery/evaluators.h"
#include "environment/environments.h"
#include "http/server.h"
#include "telemetry/metrics.h"

namespace flagstream::delivery {

struct OfrepSettings {
  std::chrono::milliseconds heartbeat{30'000};
  std::chrono::milliseconds max_stream_age{0};  // about; 0: as long as the client stays
  ConnectedSdks* sdks = nullptr;                // where instances are counted; must outlive it
};

// Thread-safe: handlers run on any shard.  Must outlive the server that has its routes; everything
// that it is given must outlive it.
class Ofrep {
 public:
  Ofrep(OfrepSettings settings, Access& access, Evaluators& evaluators,
        environment::Environments& environments, const Clock& clock, telemetry::Registry& registry);
  ~Ofrep();

  std::vector<http::Route> routes();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace flagstream::delivery
