// Live data for the page: server-sent events of one environment (docs/protocols/rest.md).
//
// All streams of an environment share one feed: whoever comes first asks again, the others send
// what it got.  So the database is asked at most twice a second for an environment, however many
// tabs watch.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/clock.h"
#include "control/insight.h"
#include "control/worker.h"
#include "http/message.h"
#include "telemetry/metrics.h"

namespace flagstream::control {

// Used on the server's one shard only.
class Live {
 public:
  static constexpr std::size_t kStreamsMax = 200;

  // `insight` is used on `worker` only.
  Live(Insight& insight, Worker& worker, const Clock& clock, telemetry::Registry& registry);
  ~Live();

  // Sends until the client goes, the server drains, or an hour has passed: then clients come again,
  // and their session is looked at again.
  io::Task<void> serve(http::StreamWriter& writer, catalog::Environment environment,
                       std::string project);
  bool is_full() const { return count_ >= kStreamsMax; }

 private:
  enum Kind : std::size_t { Health, Evaluations, Flags, Sdk, kKinds };
  struct Message {
    std::string text;  // of the wire
    std::uint64_t sequence = 0;
  };
  struct Feed {
    std::array<Message, kKinds> newest;
    std::int64_t next_look = 0;  // monotonic microseconds
    std::int64_t next_health = 0;
    std::uint64_t change_counter = 0;
    bool has_looked = false;
    bool is_looking = false;
  };
  struct Look;
  class Counted;

  std::shared_ptr<Feed> feed_of(EnvironmentId id);
  io::Task<void> refresh(Feed& feed, const catalog::Environment& environment,
                         const std::string& project);
  static Result<Look> look(Insight& insight, const Look& wanted,
                           const catalog::Environment& environment, const std::string& project);
  void take(Feed& feed, Look looked);

  Insight& insight_;
  Worker& worker_;
  const Clock& clock_;
  telemetry::Gauge streams_;
  telemetry::Counter failures_;
  std::size_t count_ = 0;
  std::map<EnvironmentId, std::weak_ptr<Feed>> feeds_;
};

}  // namespace flagstream::control
