// Flag delivery to client-side SDKs (browsers, mobile applications): evaluations of all flags for
// one context, as answers and as streams.  Routes and statuses: docs/protocols/client-side.md.
#pragma once

#include <chrono>
#include <cstddef>
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

struct ClientSideSettings {
  std::chrono::milliseconds heartbeat{30'000};
  std::chrono::milliseconds max_stream_age{0};  // about; 0: as long as the client stays
  ConnectedSdks* sdks = nullptr;                // where instances are counted; must outlive it
  // Streams that wait for their evaluation after a change.  While there are more, the one whose
  // turn it is is told to ask by itself instead, and gets everything once there are fewer.
  std::size_t waiting_streams_max = 20'000;
  // Contexts that open streams keep, of all streams together; over it a new one is answered 503.
  std::size_t stream_context_bytes_max = 256u << 20;
  // Messages that wait until their clients read them, of all streams together; over it a stream is
  // told to ask by itself, as above.
  std::size_t unsent_bytes_max = 256u << 20;
};

// Thread-safe: handlers run on any shard.  Must outlive the server that has its routes.
class ClientSide {
 public:
  struct Collaborators {
    Access& access;
    Evaluators& evaluators;
    environment::Environments& environments;
    const Clock& clock;
    telemetry::Registry& registry;
  };

  ClientSide(ClientSideSettings settings, Collaborators collaborators);
  ~ClientSide();

  std::vector<http::Route> routes();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace flagstream::delivery
