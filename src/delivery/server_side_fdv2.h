// The newer protocol over HTTP: polls and streams.
#pragma once

#include <optional>
#include <string>

#include "delivery/access.h"
#include "delivery/connected_sdks.h"
#include "delivery/fdv2.h"
#include "delivery/hub.h"
#include "http/message.h"
#include "telemetry/metrics.h"

namespace flagstream::delivery {

// Thread-safe.  What `streaming` names must outlive it.
class ServerSideFdv2 {
 public:
  // `sdks` may be null.
  ServerSideFdv2(Streaming streaming, Access& access, ConnectedSdks* sdks,
                 telemetry::Registry& registry);

  io::Task<http::Response> poll(http::Request& request);
  io::Task<http::Response> stream(http::Request& request);

 private:
  class TransferFeed;
  struct Probe {
    explicit Probe(telemetry::Registry& registry);

    telemetry::Gauge streams;
    telemetry::Counter full, changes, none;
    telemetry::Counter not_modified;
    telemetry::Counter ahead;
  };

  // A transfer for a client, with the flag set that it brings.  Null: the key opens nothing more.
  struct Planned {
    Flags flags;
    fdv2::Transfer transfer;
  };
  io::Task<Planned> plan(Flags flags, std::optional<fdv2::Basis> basis);
  // Reads `config` to its end; false: it cannot be read, and the client that is ahead is counted.
  io::Task<bool> read_to_end();
  void count(fdv2::Intent intent);
  io::Task<void> follow(EnvironmentId id, environment::Credential credential,
                        std::optional<fdv2::Basis> basis, http::StreamWriter& writer);

  Streaming streaming_;
  Access& access_;
  ConnectedSdks* sdks_;
  Probe probe_;
  fdv2::Transfers transfers_;
  Hubs<Hub> hubs_;
};

}  // namespace flagstream::delivery
