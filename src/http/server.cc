#include "http/server.h"

#include <algorithm>
#include <cerrno>
#include <list>
#include <thread>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <fmt/format.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "http/connection.h"
#include "http/listener.h"
#include "io/timer.h"
#include "telemetry/tell.h"

namespace flagstream::http {
namespace {

namespace net = io::net;
using std::chrono::milliseconds;

constexpr milliseconds kAcceptPause{100};  // when no descriptor is free
constexpr milliseconds kHandshakePause{10};
constexpr milliseconds kDoorPause{1};
constexpr int kAcceptBurst = 64;
// More than the kernel's queue holds: a flood from which nothing keeps the door must not keep it
// open.
constexpr int kLastAcceptsMax = 8192;
constexpr int kDrainSteps = 50;
// What a client of a connection just used has for its next request when the server stops.
constexpr milliseconds kDrainGrace{250};
constexpr milliseconds kRefusalTime{250};  // for answers to requests that did not arrive in time
// A head takes its network's round trip; one that takes longer gives way where connections are
// short.
constexpr std::int64_t kHeadGrace = kMicrosPerSecond;

// How often deadlines are looked at: late by a quarter of the shortest at most.
milliseconds tick_of(const Limits& limits) {
  const milliseconds shortest = std::min(
      {limits.handshake_deadline, limits.header_deadline, limits.body_deadline, limits.idle_timeout,
       limits.write_timeout, limits.stream_write_timeout, limits.body_rate_window});
  return std::clamp(shortest / 4, milliseconds(5), milliseconds(250));
}

// A listening socket of a shard.
struct Door {
  Door(ListeningSocket listening, const io::Executor& executor, bool tls)
      : protocol(listening.protocol()), socket(executor, listening.release()), is_tls(tls) {}

  net::generic::stream_protocol protocol;
  net::posix::basic_stream_descriptor<io::Executor> socket;
  bool is_tls;
};

// One thread and everything reachable from its connections.
class Shard {
 public:
  Shard(ServerShared& shared, std::size_t handshakes_max)
      : shared_(shared),
        handshakes_max_(handshakes_max),
        context_(1),
        tick_timer_(context_.get_executor()) {}

  // Before run().
  void add_door(ListeningSocket listening, bool is_tls) {
    doors_.emplace_back(std::move(listening), context_.get_executor(), is_tls);
  }

  void run() {
    doors_open_ = doors_.size();
    for (Door& door : doors_) spawn(accept(door));
    spawn(tick());
    thread_ = std::thread([this] { context_.run(); });
  }

  // Any thread.
  void stop(milliseconds patience) {
    net::post(context_, [this, patience] { spawn(drain(patience)); });
  }
  void join() { thread_.join(); }

 private:
  void spawn(io::Task<> task) {
    net::co_spawn(context_.get_executor(), std::move(task), [](std::exception_ptr failure) {
      FS_ASSERT(failure == nullptr, "a shard's own loops do not throw");
    });
  }

  io::Task<> accept(Door& door) {
    while (!is_closing_) {
      const auto [failed] =
          co_await door.socket.async_wait(net::posix::descriptor_base::wait_read, io::as_value);
      if (failed) break;
      for (int i = 0; i < kAcceptBurst && !is_closing_; ++i) {
        if (door.is_tls && handshakes_ >= handshakes_max_) {
          // They wait in the kernel's queue.
          shared_.tls_probe->handshake_waits.add();
          end_slow_handshake();
          co_await io::sleep_for(kHandshakePause);
          continue;
        }
        std::string client;
        const int socket = accept_one(door.socket.native_handle(), client);
        if (socket >= 0) {
          admit(socket, std::move(client), door);
          continue;
        }
        if (errno == ECONNABORTED || errno == EINTR) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) break;
        telemetry::warn(
            "connections cannot be accepted",
            {{"server", shared_.settings.name}, {"what", error_from_errno(errno, "accept")}});
        co_await io::sleep_for(kAcceptPause);
        break;
      }
    }
    // Closing the door would reset who is in the kernel's queue.
    take_no_more(door.socket.native_handle());
    if (!connections_.empty()) co_await io::sleep_for(kHandshakePause);  // for TCP's handshakes
    for (int i = 0; i < kLastAcceptsMax; ++i) {
      std::string client;
      const int socket = accept_one(door.socket.native_handle(), client);
      if (socket < 0) break;
      admit(socket, std::move(client), door);
    }
    boost::system::error_code ignored;
    door.socket.close(ignored);
    --doors_open_;
  }

  void admit(int descriptor, std::string client, const Door& door) {
    Socket socket(context_.get_executor());
    boost::system::error_code failed;
    socket.assign(door.protocol, descriptor, failed);
    if (failed) {
      close_descriptor(descriptor);
      return;
    }
    auto place = take_place(client);
    if (!place) {
      shared_.probe.address_refused.add();
      return turn_away(descriptor, door, "429 Too Many Requests");
    }
    if (shared_.connections >= shared_.settings.limits.connections_max && !make_room()) {
      shared_.probe.connections_refused.add();
      return turn_away(descriptor, door, "503 Service Unavailable");
    }
    const auto at =
        connections_.emplace(connections_.end(), shared_, std::move(socket), std::move(client),
                             std::move(*place), door.is_tls ? &handshakes_ : nullptr);
    net::co_spawn(
        context_.get_executor(), at->run(),
        net::bind_cancellation_slot(at->cancellation_slot(), [this, at](std::exception_ptr) {
          // Aborted ones end with an exception. The coroutine is still on the stack:
          // its connection goes in the next turn.
          net::post(context_, [this, at] { connections_.erase(at); });
        }));
  }

  static void turn_away(int descriptor, const Door& door, std::string_view status) {
    if (door.is_tls) return;  // nothing can be said
    const std::string answer = fmt::format(
        "HTTP/1.1 {}\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status);
    ::send(descriptor, answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  // nullopt: the address has as many connections as it may.
  std::optional<AddressCounts::Place> take_place(const std::string& client) {
    const std::size_t most = shared_.settings.limits.connections_per_address_max;
    if (most == 0 || client.empty() || shared_.settings.trusted_proxies.contains(client))
      return AddressCounts::Place();
    return shared_.addresses.take(client, most);
  }

  void end_slow_handshake() {
    const std::int64_t late = shared_.clock.monotonic() - kHeadGrace;
    Connection* oldest = nullptr;
    for (Connection& connection : connections_) {
      if (!connection.is_in_handshake() || connection.is_ended()) continue;
      if (connection.phase_since() >= late) continue;
      if (oldest == nullptr || connection.phase_since() < oldest->phase_since())
        oldest = &connection;
    }
    if (oldest != nullptr) oldest->end();
  }

  // Ends the connection that has been idle longest, else the one that takes longest over a head or
  // a handshake.
  bool make_room() {
    const std::int64_t late = shared_.clock.monotonic() - kHeadGrace;
    Connection* oldest = nullptr;
    for (Connection& connection : connections_) {
      const bool is_slow = (connection.is_in_head() || connection.is_in_handshake()) &&
                           connection.phase_since() < late;
      if (connection.is_ended() || (!connection.is_idle() && !is_slow)) continue;
      const bool is_better = oldest == nullptr || (connection.is_idle() && !oldest->is_idle()) ||
                             (connection.is_idle() == oldest->is_idle() &&
                              connection.phase_since() < oldest->phase_since());
      if (is_better) oldest = &connection;
    }
    if (oldest == nullptr) return false;
    oldest->end();
    return true;
  }

  io::Task<> tick() {
    const milliseconds interval = tick_of(shared_.settings.limits);
    while (!is_over_) {
      tick_timer_.expires_after(interval);
      co_await tick_timer_.async_wait(io::as_value);
      const std::int64_t now = shared_.clock.monotonic();
      for (Connection& connection : connections_) connection.check_deadlines(now);
    }
  }

  io::Task<> drain(milliseconds patience) {
    const std::int64_t began = shared_.clock.monotonic();
    const std::int64_t grace = kMicrosPerMilli * std::min(kDrainGrace, patience / 4).count();
    std::size_t streams = 0;
    bool is_in_use = false;
    for (Connection& connection : connections_) {
      if (connection.is_streaming())
        ++streams;
      else
        is_in_use = is_in_use || !connection.is_idle() || connection.phase_since() > began - grace;
    }
    if (!is_in_use) co_await close_doors();
    // Spread, so that clients do not all come back at once.
    const milliseconds step = std::max(patience / (2 * kDrainSteps), milliseconds(1));
    const std::size_t at_once = streams / kDrainSteps + 1;
    const auto steps = static_cast<std::size_t>(patience / step);
    for (std::size_t i = 0; i < steps && !(is_closing_ && connections_.empty()); ++i) {
      const std::int64_t now = shared_.clock.monotonic();
      if (now >= began + grace) co_await close_doors();
      for (Connection& connection : connections_) connection.end_if_idle(now - grace);
      std::size_t ended = 0;
      for (Connection& connection : connections_) {
        if (ended == at_once) break;
        if (!connection.is_streaming() || connection.is_ended()) continue;
        connection.end();
        ++ended;
      }
      co_await io::sleep_for(step);
    }
    co_await close_doors();
    for (Connection& connection : connections_) connection.refuse_unfinished();
    for (auto left = std::min(kRefusalTime, patience); left.count() > 0 && !connections_.empty();
         left -= kHandshakePause) {
      co_await io::sleep_for(kHandshakePause);
    }
    for (Connection& connection : connections_) connection.abort();
    is_over_ = true;
    tick_timer_.cancel();
  }

  // Until everybody who is to be taken has been: whoever came after the end would be forgotten.
  io::Task<> close_doors() {
    if (std::exchange(is_closing_, true)) co_return;
    boost::system::error_code ignored;
    for (Door& door : doors_) door.socket.cancel(ignored);
    while (doors_open_ > 0) co_await io::sleep_for(kDoorPause);
  }

  ServerShared& shared_;
  std::size_t handshakes_max_;
  std::size_t handshakes_ = 0;
  net::io_context context_;
  std::list<Door> doors_;
  io::Timer tick_timer_;
  std::list<Connection> connections_;
  std::size_t doors_open_ = 0;
  bool is_closing_ = false;  // the doors
  bool is_over_ = false;
  std::thread thread_;
};

}  // namespace

class Server::Running {
 public:
  Running(ServerSettings settings, std::vector<Route> routes, const Clock& clock,
          telemetry::Registry& registry)
      : shared_(std::move(settings), std::move(routes), clock, registry) {}
  ~Running() { stop(milliseconds(0)); }

  Result<void> start() {
    const ServerSettings& settings = shared_.settings;
    const bool is_unix = settings.listen.starts_with("unix:");
    const std::uint32_t count = is_unix ? 1 : std::max(settings.shards, 1u);
    const bool has_tls = settings.tls && !settings.tls->listen.empty();
    if (settings.listen.empty() && !has_tls) {
      return fail(ErrorKind::InvalidArgument, "a server needs an address to listen on");
    }
    if (has_tls) {
      if (settings.tls->listen.starts_with("unix:")) {
        return fail(ErrorKind::InvalidArgument, "TLS is not spoken on Unix sockets");
      }
      FS_TRY(shared_.tls, TlsIdentity::open(*settings.tls, shared_.clock, *shared_.tls_probe));
    }
    const std::size_t handshakes_max = std::max(settings.limits.handshakes_max / count, 1ul);
    for (std::uint32_t i = 0; i < count; ++i) {
      shards_.push_back(std::make_unique<Shard>(shared_, handshakes_max));
    }
    if (!settings.listen.empty()) {
      FS_TRY(address_, open_doors(settings.listen, false));
    }
    if (has_tls) {
      FS_TRY(tls_address_, open_doors(settings.tls->listen, true));
    }
    for (const auto& shard : shards_) shard->run();
    is_running_ = true;
    if (shared_.tls != nullptr) shared_.tls->watch();
    return {};
  }

  const std::string& address() const { return address_; }
  const std::string& tls_address() const { return tls_address_; }
  void reload_certificate() {
    if (shared_.tls != nullptr) shared_.tls->reload();
  }

  void stop(milliseconds patience) {
    if (!is_running_ || shared_.is_draining.exchange(true)) return;
    for (const auto& shard : shards_) shard->stop(patience);
    for (const auto& shard : shards_) shard->join();
    forget_address(address_);
  }

 private:
  // One on each shard; the address with its real port.
  Result<std::string> open_doors(const std::string& listen, bool is_tls) {
    FS_TRY(auto sockets, listen_on(listen, static_cast<std::uint32_t>(shards_.size())));
    std::string address = sockets.front().address();
    for (std::size_t i = 0; i < sockets.size(); ++i) {
      shards_[i]->add_door(std::move(sockets[i]), is_tls);
    }
    return address;
  }

  ServerShared shared_;
  std::string address_;
  std::string tls_address_;
  bool is_running_ = false;
  std::vector<std::unique_ptr<Shard>> shards_;
};

Server::Server(std::unique_ptr<Running> running) : running_(std::move(running)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::start(ServerSettings settings, std::vector<Route> routes,
                                              const Clock& clock, telemetry::Registry& registry) {
  auto running = std::make_unique<Running>(std::move(settings), std::move(routes), clock, registry);
  FS_TRY(running->start());
  return std::unique_ptr<Server>(new Server(std::move(running)));
}

const std::string& Server::address() const { return running_->address(); }
const std::string& Server::tls_address() const { return running_->tls_address(); }
void Server::reload_certificate() { running_->reload_certificate(); }
void Server::stop(milliseconds patience) { running_->stop(patience); }

}  // namespace flagstream::http
