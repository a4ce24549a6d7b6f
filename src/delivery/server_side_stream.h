// What every stream of a server-side SDK has in common: its header fields, when it ends, its loop.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/id.h"
#include "delivery/server_side.h"
#include "http/message.h"
#include "io/signal.h"
#include "telemetry/metrics.h"

namespace flagstream::delivery {

inline constexpr std::string_view kHeartbeat = ":\n";

inline void name_environment(const environment::FlagSet& flags, http::Response& response) {
  if (!flags.client_side_id.empty()) response.headers.add("X-LD-EnvID", flags.client_side_id);
}

// Without a body: set `stream`.
inline http::Response stream_response(const environment::FlagSet& flags) {
  http::Response response;
  response.headers.add("Content-Type", "text/event-stream; charset=utf-8");
  response.headers.add("Cache-Control", "no-cache");
  response.headers.add("X-Accel-Buffering", "no");
  name_environment(flags, response);
  return response;
}

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

// When a stream ends so that its client spreads over the gateways anew: at `max_age`, up to a fifth
// earlier or later, so that clients that came together do not come back together.
class Lifetime {
 public:
  // 0: never.
  Lifetime(const Clock& clock, std::chrono::milliseconds max_age) : clock_(clock) {
    if (max_age.count() <= 0) return;
    constexpr std::int64_t kSteps = 4'096;
    const auto step = static_cast<std::int64_t>(Id128::random().low % (kSteps + 1));
    const std::int64_t age = max_age.count() * kMicrosPerMilli;
    end_ = clock.monotonic() + age / 5 * 4 + age / 5 * 2 * step / kSteps;
  }
  bool is_over() const { return end_ && clock_.monotonic() >= *end_; }
  // Until the end, or `most` if that is sooner.
  std::chrono::milliseconds left(std::chrono::milliseconds most) const {
    if (!end_) return most;
    const std::int64_t micros = std::max<std::int64_t>(*end_ - clock_.monotonic(), 0);
    return std::min(most, std::chrono::milliseconds(micros / kMicrosPerMilli + 1));
  }

 private:
  const Clock& clock_;
  std::optional<std::int64_t> end_;  // monotonic
};

// What all streams of one server need.
struct Streaming {
  const Settings& settings;
  environment::Environments& environments;
  const Clock& clock;
  telemetry::Counter& aged_out;
};

// Feeds one stream until its client has gone, `feed` says that it is over, its key opens its
// environment no longer, or it is too old.  `feed` has
//   Task<bool> catch_up(writer)  sends what the client lacks; false: over
//   bool wants_look()            look again with the next heartbeat, though nothing has changed
//   Task<void> say_goodbye(writer)  before an end by age
template <class Feed>
io::Task<void> feed_stream(Streaming streaming, const std::string& key, EnvironmentId id,
                           Feed& feed, http::StreamWriter& writer) {
  io::Signal changed(co_await io::net::this_coro::executor);
  const auto subscription = streaming.environments.subscribe(id, [&changed] { changed.notify(); });
  const Lifetime lifetime(streaming.clock, streaming.settings.max_stream_age);
  bool is_closed = false;
  writer.notify_closed([&changed, &is_closed] {
    is_closed = true;
    changed.notify();
  });
  bool has_more = co_await feed.catch_up(writer);
  while (has_more) {
    const bool is_changed = co_await changed.wait(lifetime.left(streaming.settings.heartbeat));
    if (is_closed) break;
    if (streaming.environments.find(environment::CredentialKind::SdkKey, key) != id) break;
    if (lifetime.is_over()) {
      streaming.aged_out.add();
      co_await feed.say_goodbye(writer);
      break;
    }
    if (!is_changed && !co_await writer.write(kHeartbeat)) break;
    if (is_changed || feed.wants_look()) has_more = co_await feed.catch_up(writer);
  }
}

}  // namespace flagstream::delivery
