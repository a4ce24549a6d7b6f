// How answers that are streams of flag data begin, and how they are counted.
#pragma once

#include "environment/environments.h"
#include "http/message.h"
#include "telemetry/metrics.h"

namespace flagstream::delivery {

// Names the environment where it has a name that is not secret.
void name_environment(const environment::FlagSet& flags, http::Response& response);

// 200 with the headers of server-sent events; its `stream` is still to be set.
http::Response stream_response(const environment::FlagSet& flags);

// Counts a stream for as long as it lives, however it ends.
class OpenStream {
 public:
  explicit OpenStream(telemetry::Gauge& streams) : streams_(streams) { streams_.add(1); }
  ~OpenStream() { streams_.add(-1); }
  OpenStream(const OpenStream&) = delete;
  OpenStream& operator=(const OpenStream&) = delete;

 private:
  telemetry::Gauge& streams_;
};

}  // namespace flagstream::delivery
