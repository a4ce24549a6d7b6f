// All streams of one kind that one shard has of one environment.
//
// A change wakes the hub, not each stream: it then goes from stream to stream and sends each what
// it lacks, without waiting for any.  Only a stream whose socket is full goes on in a coroutine of
// its own.  docs/protocols/delivery.md, docs/decisions/0020-stream-hubs.md.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <utility>

#include <boost/intrusive/list.hpp>

#include "base/clock.h"
#include "delivery/access.h"
#include "environment/environments.h"
#include "http/message.h"
#include "io/pause.h"
#include "io/task.h"
#include "io/timer.h"
#include "telemetry/metrics.h"

namespace flagstream::delivery {

// What all streams of one gateway need.
struct Streaming {
  std::chrono::milliseconds heartbeat{};
  std::chrono::milliseconds max_age{};  // about; 0: as long as the client stays
  environment::Environments& environments;
  const Clock& clock;
  telemetry::Counter& aged_out;
};

// When a stream ends so that its client spreads over the gateways anew: at `max_age`, up to a fifth
// earlier or later, so that clients that came together do not come back together.  Monotonic; in
// the far future if `max_age` is 0.
std::int64_t end_of_stream(const Clock& clock, std::chrono::milliseconds max_age);

// What one client is told.  Used on its shard only.
class Feed {
 public:
  virtual ~Feed() = default;

  // What to send next of what the client lacks.  Null: it lacks nothing.  nullopt: the stream is
  // over.  Must not wait, and should keep nothing that is large.
  virtual std::optional<http::SharedChunk> next() = 0;
  // Whether next() needs prepare() first, which may wait.
  virtual bool must_prepare() const { return false; }
  virtual io::Task<void> prepare() { co_return; }
  // What is said before an end by age; null: nothing.
  virtual http::SharedChunk goodbye() { return nullptr; }
};

// Used on its shard only.
class Hub : public std::enable_shared_from_this<Hub> {
 public:
  Hub(const Streaming& streaming, io::Executor executor, EnvironmentId environment);
  virtual ~Hub();
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  // Begins to follow the environment.  Once, before everything else.
  void start();

  // Feeds one stream until its client has gone, `feed` says that it is over, its credential opens
  // the environment no longer, or it is too old.  What is referred to must outlive that, this too.
  io::Task<void> run(environment::Credential credential, Feed& feed, http::StreamWriter& writer);

  // As of the last look(); null: the environment has gone.  Looks never go back.
  const Flags& flags() const { return flags_; }
  void look() { flags_ = streaming_.environments.flag_set(environment_); }
  // Rises with every wake-up: after changes, and when a key has expired.
  std::uint64_t wakes() const { return wakes_; }

 protected:
  const Streaming& streaming() const { return streaming_; }
  EnvironmentId environment() const { return environment_; }

 private:
  // Told by how many more streams (or fewer) wait for their turn after a change.
  virtual void count_waiting(std::ptrdiff_t /*more*/) {}

  struct CredentialOrder {
    bool operator()(const environment::Credential& a, const environment::Credential& b) const {
      return std::tie(a.kind, a.name) < std::tie(b.kind, b.name);
    }
  };
  struct KeyState {
    std::size_t streams = 0;
    std::uint64_t looked_at_wake = 0;  // 0: never
    bool is_open = false;
  };
  using Keys = std::map<environment::Credential, KeyState, CredentialOrder>;

  // Of one stream; lives in its coroutine.
  struct Place : boost::intrusive::list_base_hook<> {
    Place(Hub& h, environment::Credential credential, Feed& f, http::StreamWriter& w)
        : hub(h), feed(f), writer(w) {
      hub.join(*this, std::move(credential));
    }
    ~Place() { hub.leave(*this); }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    Hub& hub;
    Feed& feed;
    http::StreamWriter& writer;
    Keys::iterator key;
    io::Pause pause;  // while it has all that there is
    std::int64_t ends_at = 0;
    std::int64_t sent_at = 0;
    std::uint64_t round = 0;  // the last one that has come by
    std::uint64_t turn = 0;   // the wake whose changes it has taken
    http::SharedChunk unsent;
    std::size_t left = 0;  // of `unsent`
    bool is_closed = false;
    bool is_finished = false;
  };

  void join(Place& place, environment::Credential credential);
  void leave(Place& place);
  bool opens(Keys::iterator key);
  bool is_over(Place& place, std::int64_t now);

  // Sends what the client lacks; false: its coroutine must go on.
  bool advance(Place& place, std::int64_t now);
  bool offer(Place& place, http::SharedChunk chunk, std::int64_t now);
  io::Task<bool> write_unsent(Place& place);
  void take_turn(Place& place);
  void change_waiting(std::ptrdiff_t more);

  void wake();  // any thread
  void begin_round();
  void walk();
  void visit(Place& place, std::int64_t now);
  void arm(std::int64_t now);

  const Streaming streaming_;
  const io::Executor executor_;
  const EnvironmentId environment_;
  const std::int64_t beat_;  // between two rounds at most, so that no stream is silent too long

  Flags flags_;
  Keys keys_;
  // From `cursor_` on, around the end: first those that this round has not come by yet.
  boost::intrusive::list<Place> places_;
  boost::intrusive::list<Place>::iterator cursor_ = places_.end();
  std::uint64_t round_ = 0;
  std::uint64_t wakes_ = 1;
  std::ptrdiff_t waiting_ = 0;
  std::int64_t soonest_end_ = std::numeric_limits<std::int64_t>::max();  // of a stream
  std::int64_t next_beat_ = 0;
  std::int64_t armed_for_ = 0;
  bool is_walking_ = false;
  io::Timer timer_;
  std::atomic<bool> is_woken_{false};
  std::unique_ptr<environment::Environments::Subscription> subscription_;
};

// The hubs of one kind, on all shards.  Thread-safe.
template <class KindOfHub>
class Hubs {
 public:
  // The one of this shard and environment, which `make(executor, id)` makes for its first stream.
  template <class Make>
  std::shared_ptr<KindOfHub> get(const io::Executor& executor, EnvironmentId id, Make make) {
    const std::lock_guard lock(mutex_);
    const std::pair place(&executor.context(), id);
    if (const auto found = hubs_.find(place); found != hubs_.end()) {
      if (auto hub = found->second.lock()) return hub;
    }
    std::erase_if(hubs_, [](const auto& each) { return each.second.expired(); });
    std::shared_ptr<KindOfHub> hub = make(executor, id);
    hub->start();
    hubs_[place] = hub;
    return hub;
  }

 private:
  std::mutex mutex_;
  std::map<std::pair<io::net::io_context*, EnvironmentId>, std::weak_ptr<KindOfHub>> hubs_;
};

}  // namespace flagstream::delivery
