// What all streams of flag data have in common: their headers, heartbeats, and when they end.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "environment/environments.h"
#include "http/message.h"
#include "http/server.h"
#include "io/signal.h"
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

// When a stream ends so that its client spreads over the gateways anew: at `max_age`, up to a fifth
// earlier or later, so that clients that came together do not come back together.
class Lifetime {
 public:
  // 0: never.
  Lifetime(const Clock& clock, std::chrono::milliseconds max_age);

  bool is_over() const { return end_ && clock_.monotonic() >= *end_; }
  // Until the end, or `most` if that is sooner.
  std::chrono::milliseconds left(std::chrono::milliseconds most) const;

 private:
  const Clock& clock_;
  std::optional<std::int64_t> end_;  // monotonic
};

// What all streams of one gateway need.
struct Streaming {
  std::chrono::milliseconds heartbeat{};
  std::chrono::milliseconds max_age{};  // about; 0: as long as the client stays
  environment::Environments& environments;
  const Clock& clock;
  telemetry::Counter& aged_out;
};

// Whose changes a stream follows, and by what right.
struct Followed {
  EnvironmentId environment{};
  environment::Credential credential;
};

// What one stream says: catch_up(writer) sends what the client lacks, and is called at the
// beginning and after changes; false: the stream is over.  The rest may be left as it is here.
struct StreamFeed {
  // Look again with the next heartbeat, though nothing has changed.
  bool wants_look() const { return false; }
  // Before an end by age.
  io::Task<void> say_goodbye(http::StreamWriter&) { co_return; }
  // The environment has changed; catch_up() will follow.  Called on the follower's thread.
  void note_change() {}
};

// Feeds one stream until its client has gone, `feed` says that it is over, its credential opens its
// environment no longer, or it is too old.  `what` and `feed` outlive the stream.
template <class Feed>
io::Task<void> feed_stream(Streaming streaming, const Followed& what, Feed& feed,
                           http::StreamWriter& writer) {
  io::Signal changed(co_await io::net::this_coro::executor);
  const auto subscription = streaming.environments.subscribe(what.environment, [&] {
    feed.note_change();
    changed.notify();
  });
  const Lifetime lifetime(streaming.clock, streaming.max_age);
  bool is_closed = false;
  writer.notify_closed([&changed, &is_closed] {
    is_closed = true;
    changed.notify();
  });
  bool has_more = co_await feed.catch_up(writer);
  while (has_more) {
    const bool is_changed = co_await changed.wait(lifetime.left(streaming.heartbeat));
    if (is_closed || streaming.environments.find(what.credential) != what.environment) break;
    if (lifetime.is_over()) {
      streaming.aged_out.add();
      co_await feed.say_goodbye(writer);
      break;
    }
    if (!is_changed && !(co_await writer.write(kHeartbeat)).has_value()) break;
    if (is_changed || feed.wants_look()) has_more = co_await feed.catch_up(writer);
  }
}

}  // namespace flagstream::delivery
