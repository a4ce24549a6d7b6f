// What all streams of flag data have in common: their headers, heartbeats, and when they end.
#pragma once

#include <chrono>
#include <string_view>

#include "environment/environments.h"
#include "http/message.h"
#include "http/server.h"
#include "io/task.h"
#include "telemetry/metrics.h"

namespace flagstream::delivery {

inline constexpr std::string_view kHeartbeat = ":\n";

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

// What one stream says.  Each message-sending function returns false once the stream is over.
class StreamContents {
 public:
  virtual ~StreamContents() = default;

  // The first message.  What changes from here on is told by catch_up().
  virtual io::Task<bool> begin(http::StreamWriter& writer) = 0;
  // The environment has changed, once or more often.
  virtual io::Task<bool> catch_up(http::StreamWriter& writer) = 0;
  // Nothing has changed for the time of a heartbeat.
  virtual io::Task<bool> idle(http::StreamWriter& writer);
  // The environment has changed; catch_up() will follow.  Called on the follower's thread.
  virtual void note_change() {}
};

// Whose changes a stream follows, and with what.  Views are of what outlives the stream.
struct Followed {
  EnvironmentId environment{};
  environment::CredentialKind kind = environment::CredentialKind::SdkKey;
  std::string_view credential;
  std::chrono::milliseconds heartbeat{};
};

// Runs a stream until the client is gone, or the credential opens the environment no longer, or
// `contents` ends it.
io::Task<void> follow(environment::Environments& environments, Followed what,
                      StreamContents& contents, http::StreamWriter& writer);

}  // namespace flagstream::delivery
