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
constexpr int kAcceptBurst = 64;
constexpr int kDrainSteps = 50;
// A head takes its network's round trip; one that takes longer gives way where connections are
// short.
constexpr std::int64_t kHeadGrace = kMicrosPerSecond;

// How often deadlines are looked at: late by a quarter of the shortest at most.
milliseconds tick_of(const Limits& limits) {
  const milliseconds shortest = std::min(
      {limits.header_deadline, limits.body_deadline, limits.idle_timeout, limits.write_timeout});
  return std::clamp(shortest / 4, milliseconds(5), milliseconds(250));
}

// One thread and everything reachable from its connections.
class Shard {
 public:
  Shard(ServerShared& shared, ListeningSocket listening)
      : shared_(shared),
        context_(1),
        protocol_(listening.protocol()),
        listener_(context_.get_executor(), listening.release()),
        tick_timer_(context_.get_executor()) {}

  void run() {
    spawn(accept());
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

  io::Task<> accept() {
    while (!shared_.is_draining) {
      const auto [failed] =
          co_await listener_.async_wait(net::posix::descriptor_base::wait_read, io::as_value);
      if (failed) break;
      for (int i = 0; i < kAcceptBurst && !shared_.is_draining; ++i) {
        std::string client;
        const int socket = accept_one(listener_.native_handle(), client);
        if (socket >= 0) {
          admit(socket, std::move(client));
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
    boost::system::error_code ignored;
    listener_.close(ignored);
  }

  void admit(int descriptor, std::string client) {
    Socket socket(context_.get_executor());
    boost::system::error_code failed;
    socket.assign(protocol_, descriptor, failed);
    if (failed) {
      close_descriptor(descriptor);
      return;
    }
    if (shared_.connections >= shared_.settings.limits.connections_max && !make_room()) {
      shared_.probe.connections_refused.add();
      constexpr std::string_view kAnswer =
          "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
          "Connection: close\r\n\r\n";
      ::send(descriptor, kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      return;
    }
    const auto at =
        connections_.emplace(connections_.end(), shared_, std::move(socket), std::move(client));
    net::co_spawn(
        context_.get_executor(), at->run(),
        net::bind_cancellation_slot(at->cancellation_slot(), [this, at](std::exception_ptr) {
          // Aborted ones end with an exception. The coroutine is still on the stack:
          // its connection goes in the next turn.
          net::post(context_, [this, at] { connections_.erase(at); });
        }));
  }

  // Ends the connection that has been idle longest, else the one that takes longest over a head.
  bool make_room() {
    const std::int64_t late = shared_.clock.monotonic() - kHeadGrace;
    Connection* oldest = nullptr;
    for (Connection& connection : connections_) {
      const bool is_slow = connection.is_in_head() && connection.phase_since() < late;
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
    boost::system::error_code ignored;
    listener_.cancel(ignored);
    std::size_t streams = 0;
    for (Connection& connection : connections_) {
      if (connection.is_idle()) connection.end();
      if (connection.is_streaming()) ++streams;
    }
    // Spread, so that clients do not all come back at once.
    const milliseconds step = std::max(patience / (2 * kDrainSteps), milliseconds(1));
    const std::size_t at_once = streams / kDrainSteps + 1;
    const auto steps = static_cast<std::size_t>(patience / step);
    for (std::size_t i = 0; i < steps && !connections_.empty(); ++i) {
      std::size_t ended = 0;
      for (Connection& connection : connections_) {
        if (ended == at_once) break;
        if (!connection.is_streaming() || connection.is_ended()) continue;
        connection.end();
        ++ended;
      }
      co_await io::sleep_for(step);
    }
    for (Connection& connection : connections_) connection.abort();
    is_over_ = true;
    tick_timer_.cancel();
  }

  ServerShared& shared_;
  net::io_context context_;
  net::generic::stream_protocol protocol_;
  net::posix::basic_stream_descriptor<io::Executor> listener_;
  io::Timer tick_timer_;
  std::list<Connection> connections_;
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
    const bool is_unix = shared_.settings.listen.starts_with("unix:");
    const std::uint32_t count = is_unix ? 1 : std::max(shared_.settings.shards, 1u);
    FS_TRY(auto sockets, listen_on(shared_.settings.listen, count));
    address_ = sockets.front().address();
    for (ListeningSocket& socket : sockets) {
      shards_.push_back(std::make_unique<Shard>(shared_, std::move(socket)));
    }
    for (const auto& shard : shards_) shard->run();
    return {};
  }

  const std::string& address() const { return address_; }

  void stop(milliseconds patience) {
    if (shared_.is_draining.exchange(true)) return;
    for (const auto& shard : shards_) shard->stop(patience);
    for (const auto& shard : shards_) shard->join();
    forget_address(address_);
  }

 private:
  ServerShared shared_;
  std::string address_;
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
void Server::stop(milliseconds patience) { running_->stop(patience); }

}  // namespace flagstream::http
