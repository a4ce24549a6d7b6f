// One connection of the server: reads requests, calls their handlers, writes the answers.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <sys/uio.h>

#include "http/address_counts.h"
#include "http/request_parser.h"
#include "http/router.h"
#include "http/server.h"
#include "http/server_probe.h"
#include "http/tls.h"
#include "http/tls_identity.h"
#include "telemetry/metrics.h"

namespace flagstream::http {

using Socket = io::net::basic_stream_socket<io::net::generic::stream_protocol, io::Executor>;

// What all shards share. Thread-safe.
struct ServerShared {
  ServerShared(ServerSettings s, std::vector<Route> routes, const Clock& c,
               telemetry::Registry& registry)
      : settings(std::move(s)),
        router(std::move(routes)),
        clock(c),
        probe(registry, settings.name) {
    if (settings.tls) tls_probe.emplace(registry, settings.name);
  }

  ServerSettings settings;
  Router router;
  const Clock& clock;
  ServerProbe probe;
  std::optional<TlsProbe> tls_probe;
  std::unique_ptr<TlsIdentity> tls;  // set before the shards run if there is a TLS listener
  AddressCounts addresses;
  std::atomic<std::size_t> connections{0};
  std::atomic<std::size_t> body_bytes_in_flight{0};
  std::atomic<std::size_t> answer_bytes_in_flight{0};
  std::atomic<bool> is_draining{false};
};

// The bytes of a body or a buffer that count against a budget of the server's, given back on
// destruction.
class ByteBudget {
 public:
  ByteBudget(std::atomic<std::size_t>& of_all, std::size_t max) : of_all_(of_all), max_(max) {}
  ~ByteBudget() { of_all_ -= taken_; }
  ByteBudget(const ByteBudget&) = delete;
  ByteBudget& operator=(const ByteBudget&) = delete;
  // Makes it `bytes` in all; false if the budget has no room.
  bool grow_to(std::size_t bytes);
  void give_back() { of_all_ -= std::exchange(taken_, 0); }

 private:
  std::atomic<std::size_t>& of_all_;
  const std::size_t max_;
  std::size_t taken_ = 0;
};

inline constexpr Refusal kStopping{503, "the server is stopping"};

// Used on its shard only. Destroyed after run() has ended.
class Connection final : public StreamWriter {
 public:
  // `handshakes`: not null if the client is to speak TLS; counts it until that is agreed on.
  Connection(ServerShared& shared, Socket socket, std::string client_address,
             AddressCounts::Place place, std::size_t* handshakes);
  ~Connection() override;

  io::Task<> run();

  // TLS is not agreed on yet.
  bool is_in_handshake() const { return phase_ == Phase::Handshake; }
  // Waits for the first byte of a request.
  bool is_idle() const { return phase_ == Phase::Idle; }
  // Waits for the rest of a request's head.
  bool is_in_head() const { return phase_ == Phase::Head; }
  bool is_ended() const { return is_ended_; }
  bool is_streaming() const { return phase_ == Phase::Stream; }
  std::int64_t phase_since() const { return phase_since_; }
  // Ends what waits on the socket if its deadline has passed.
  void check_deadlines(std::int64_t now);
  // Ends a connection that waits for a request or its head, or a stream.
  void end();
  // Ends it if it has waited for a request since before `since`, and none has arrived.
  void end_if_idle(std::int64_t since);
  // Refuses the request that it still receives, if any.
  void refuse_unfinished();
  // Ends whatever it does, a handler too, at its next suspension.
  void abort();
  io::net::cancellation_slot cancellation_slot() { return cancellation_.slot(); }

  io::Task<Result<void>> write(std::string_view bytes) override;
  std::size_t offer(const Chunk& chunk) override;
  io::Task<Result<void>> write_rest(const Chunk& chunk, std::size_t left) override;
  io::Task<void> until_closed() override;
  void notify_closed(std::function<void()> notify) override;

 private:
  enum class Phase { Handshake, Idle, Head, Body, Handler, Stream, Linger };
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

  bool is_over() const { return is_expired_ || is_ended_; }
  void enter(Phase phase, std::chrono::milliseconds deadline);
  // Begins a body of so many bytes; nullopt: chunked.
  void enter_body(std::optional<std::uint64_t> bytes);
  // Part of the body has arrived: moves the deadline of the next if there was enough of it.
  void count_body(std::size_t bytes);
  std::int64_t after(std::chrono::milliseconds duration) const;
  // Makes the buffer `bytes` large; false if the server's budget has no room.
  bool grow_buffer(std::size_t bytes);
  void release_buffer(std::size_t bytes_kept);
  // recv(2) and sendmsg(2), or what TLS makes of them.
  ssize_t receive(char* to, std::size_t bytes);
  ssize_t send(std::span<iovec> parts);
  // What must be waited for after one of them answered EAGAIN.
  Socket::wait_type awaited(Socket::wait_type plain) const;
  // False: no session, and the handshake is counted.
  io::Task<bool> shake_hands();
  io::Task<HandshakeOutcome> try_handshake();
  void leave_handshake();
  io::Task<std::size_t> read_some(char* to, std::size_t bytes);
  io::Task<bool> write_all(std::span<iovec> parts);
  io::Task<bool> write_text(std::string_view text);
  io::Task<Result<void>> write_to_stream(std::span<iovec> parts);
  std::string_view as_sent(const Chunk& chunk) const;

  // Who asks, and by which way.
  void tell_origin(Request& request) const;
  // True: go on with the next request.
  io::Task<bool> serve_one();
  // Of the next request, into `head`; false: closed or answered.
  io::Task<bool> read_head(RequestHead& head);
  io::Task<bool> read_body(RequestHead& head, const Route& route, ByteBudget& budget);
  io::Task<std::optional<Refusal>> read_sized(RequestHead& head, ByteBudget& budget);
  io::Task<std::optional<Refusal>> read_chunked(RequestHead& head, std::size_t bytes_max,
                                                ByteBudget& budget);
  // Room for so much of the body: the server's, and the route's.
  std::optional<Refusal> take_room(RequestHead& head, ByteBudget& budget, std::size_t bytes);
  // False: the route has refused the request; `goes_on` says whether the next one may follow.
  io::Task<bool> admit(RequestHead& head, const Route& route, bool& goes_on);
  io::Task<bool> drop_body(std::uint64_t bytes);
  io::Task<Response> call(const Route& route, Request& request);
  // Counts and tells it; what the client is answered.
  Response failed(const Route& route, const std::exception& failure);
  io::Task<bool> answer(const RequestHead& head, Response& response);
  // Writes `streamed_`.
  io::Task<> answer_stream();
  // Answers with an error and closes so that a client that still sends can read it.
  io::Task<> refuse(Refusal refusal, const Route* route = nullptr,
                    const Request* request = nullptr);
  io::Task<> refuse_with(Response response, const std::string& method);
  io::Task<> linger();
  void count(int status);
  void drop_front(std::size_t bytes);
  // Drops what the client sends into its stream, and tells when it has closed.
  void watch_client();

  ServerShared& shared_;
  Socket socket_;
  std::unique_ptr<TlsSession> tls_;  // null: plain
  std::size_t* handshakes_;          // null: no TLS, or agreed on
  std::string client_address_;
  AddressCounts::Place place_;
  bool is_from_trusted_proxy_;
  io::net::cancellation_signal cancellation_;
  std::string buffer_;
  ByteBudget buffer_budget_;  // of what is over the size of an idle connection's
  std::size_t filled_ = 0;    // of buffer_
  Phase phase_ = Phase::Idle;
  std::int64_t phase_since_ = 0;
  std::int64_t read_deadline_ = kNever;
  std::int64_t write_deadline_ = kNever;
  std::int64_t body_deadline_ = kNever;    // of the whole body
  bool has_body_rate_ = false;             // it is large enough
  std::uint64_t body_bytes_in_ = 0;        // of a chunked body that is not; else of the window
  std::unique_ptr<Response> ticket_says_;  // the answer that refuses the body being read
  std::int64_t request_start_ = 0;
  unsigned served_without_waiting_ = 0;
  std::unique_ptr<Response> streamed_;  // the answer that ends this connection, from its head on
  std::function<void()> on_closed_;     // while a stream's handler runs and wants to know
  std::size_t stream_bytes_in_ = 0;     // what the client of a stream has sent, to no purpose
  bool is_drained_ = false;             // the socket had no more than the last read took
  bool is_expired_ = false;
  bool is_ended_ = false;
  bool is_failing_ = false;  // the handler threw: close after the answer
  bool is_chunking_ = false;
};

}  // namespace flagstream::http
