// Forwards requests to another role's server on a Unix socket.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "http/message.h"
#include "telemetry/metrics.h"

namespace flagstream::http {

struct ForwardSettings {
  std::string socket_path;
  std::string role;               // whose socket it is: the label of its metrics
  std::size_t requests_max = 64;  // at once; over it 503
  std::size_t streams_max =
      256;  // answers of type text/event-stream do not count as requests but as these
  std::chrono::milliseconds answer_deadline{60'000};  // until the header block of the answer
  std::size_t answer_bytes_max = 64u << 20;           // of an answer that is no stream
};

// Any shard.  Hop-by-hop fields are dropped, X-Forwarded-For is set to the client's address, Host
// and Origin pass. Nobody listening, or too many at once: 503 with Retry-After.
class Forwarder {
 public:
  Forwarder(ForwardSettings settings, telemetry::Registry& registry);
  ~Forwarder();
  // Must not outlive the Forwarder.
  Handler handler();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace flagstream::http
