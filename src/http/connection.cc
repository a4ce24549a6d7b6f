#include "http/connection.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <exception>

#include <boost/asio/post.hpp>
#include <fmt/format.h>
#include <sys/socket.h>

#include "http/response_head.h"
#include "http/trusted_proxies.h"
#include "telemetry/tell.h"

namespace flagstream::http {
namespace {

namespace net = io::net;
using std::chrono::milliseconds;

constexpr std::size_t kBufferBytes = 4 << 10;  // of an idle connection
constexpr std::size_t kLingerBytesMax = 64 << 20;
constexpr std::chrono::milliseconds kLingerTime{5'000};
constexpr std::size_t kStreamBytesInMax = 64 << 10;
constexpr std::size_t kCountedAnswerBytes = 16 << 10;  // less fits into the send buffer
constexpr unsigned kBurstMax = 32;  // requests of one connection before others get their turn

iovec part_of(std::string_view text) { return {const_cast<char*>(text.data()), text.size()}; }

}  // namespace

bool ByteBudget::grow_to(std::size_t bytes) {
  if (bytes <= taken_) return true;
  const std::size_t more = bytes - taken_;
  taken_ = bytes;
  return of_all_.fetch_add(more) + more <= max_;
}

Connection::Connection(ServerShared& shared, Socket socket, std::string client_address,
                       AddressCounts::Place place, std::size_t* handshakes)
    : shared_(shared),
      socket_(std::move(socket)),
      handshakes_(handshakes),
      client_address_(std::move(client_address)),
      place_(std::move(place)),
      is_from_trusted_proxy_(shared.settings.trusted_proxies.contains(client_address_)),
      buffer_budget_(shared.body_bytes_in_flight, shared.settings.limits.body_bytes_in_flight_max),
      phase_since_(shared.clock.monotonic()) {
  if (handshakes_ != nullptr) {
    ++*handshakes_;
    enter(Phase::Handshake, shared_.settings.limits.handshake_deadline);
  }
  ++shared_.connections;
  shared_.probe.connections.add(1);
}

Connection::~Connection() {
  leave_handshake();
  --shared_.connections;
  shared_.probe.connections.add(-1);
}

std::int64_t Connection::after(std::chrono::milliseconds duration) const {
  return shared_.clock.monotonic() + duration.count() * kMicrosPerMilli;
}

void Connection::enter(Phase phase, std::chrono::milliseconds deadline) {
  phase_ = phase;
  phase_since_ = shared_.clock.monotonic();
  read_deadline_ = phase_since_ + deadline.count() * kMicrosPerMilli;
}

void Connection::check_deadlines(std::int64_t now) {
  if (is_over() || (now < read_deadline_ && now < write_deadline_)) return;
  is_expired_ = true;
  if (phase_ != Phase::Idle) shared_.probe.timeouts.add();
  boost::system::error_code ignored;
  socket_.cancel(ignored);
}

void Connection::end() {
  is_ended_ = true;
  boost::system::error_code ignored;
  socket_.cancel(ignored);
  if (on_closed_) on_closed_();
}

void Connection::end_if_idle(std::int64_t since) {
  if (!is_idle() || is_ended_ || phase_since_ > since) return;
  char first = 0;
  const bool has_come = ::recv(socket_.native_handle(), &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
  if (!has_come) end();
}

void Connection::refuse_unfinished() {
  if (phase_ != Phase::Head && phase_ != Phase::Body) return;
  is_expired_ = true;
  boost::system::error_code ignored;
  socket_.cancel(ignored);
}

void Connection::abort() {
  end();
  cancellation_.emit(net::cancellation_type::terminal);
}

bool Connection::grow_buffer(std::size_t bytes) {
  if (!buffer_budget_.grow_to(bytes)) return false;
  buffer_.resize(bytes);
  return true;
}

void Connection::release_buffer(std::size_t bytes_kept) {
  std::string(bytes_kept, '\0').swap(buffer_);  // an assignment would keep the old one's room
  buffer_budget_.give_back();
}

ssize_t Connection::receive(char* to, std::size_t bytes) {
  if (tls_) return tls_->receive(to, bytes);
  return ::recv(socket_.native_handle(), to, bytes, MSG_DONTWAIT);
}

ssize_t Connection::send(std::span<iovec> parts) {
  if (tls_) return tls_->send(parts);
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  return ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

Socket::wait_type Connection::awaited(Socket::wait_type plain) const {
  if (!tls_) return plain;
  return tls_->waits_for_write() ? Socket::wait_write : Socket::wait_read;
}

void Connection::leave_handshake() {
  if (handshakes_ != nullptr) --*std::exchange(handshakes_, nullptr);
}

io::Task<bool> Connection::shake_hands() {
  const HandshakeOutcome outcome = co_await try_handshake();
  leave_handshake();
  shared_.tls_probe->count(outcome);
  if (outcome == HandshakeOutcome::Completed || outcome == HandshakeOutcome::Resumed) {
    co_return true;
  }
  tls_.reset();
  if (outcome == HandshakeOutcome::PlainHttp) {
    co_await refuse({400, "this port speaks TLS: the address begins with https"});
  }
  co_return false;
}

io::Task<HandshakeOutcome> Connection::try_handshake() {
  const auto broken_off = [this] {
    return is_expired_ ? HandshakeOutcome::Timeout : HandshakeOutcome::Closed;
  };
  // Nothing is kept for a client that says nothing.
  const auto [failed] = co_await socket_.async_wait(Socket::wait_read, io::as_value);
  char first = 0;
  if (failed || is_over() ||
      ::recv(socket_.native_handle(), &first, 1, MSG_PEEK | MSG_DONTWAIT) != 1) {
    co_return broken_off();
  }
  if (first >= 'A' && first <= 'Z') co_return HandshakeOutcome::PlainHttp;
  SslPointer ssl = shared_.tls->new_session();
  if (ssl == nullptr) co_return HandshakeOutcome::Closed;
  tls_ = std::make_unique<TlsSession>(std::move(ssl), socket_.native_handle());
  for (;;) {
    const TlsSession::Progress progress = tls_->shake_hands();
    if (progress != TlsSession::Progress::Again) co_return tls_->outcome();
    const auto [broken] = co_await socket_.async_wait(awaited(Socket::wait_read), io::as_value);
    if (broken || is_over()) co_return broken_off();
  }
}

io::Task<std::size_t> Connection::read_some(char* to, std::size_t bytes) {
  if (is_over()) co_return 0;
  // Mostly it has arrived already: one system call and no turn of the loop.  Not after a read that
  // took less than it could have.
  ssize_t at_once = -1;
  if (is_drained_) {
    errno = EAGAIN;
  } else {
    at_once = receive(to, bytes);
  }
  std::size_t later = 0;
  while (at_once < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
    served_without_waiting_ = 0;
    if (!tls_) {
      const auto [failed, got] =
          co_await socket_.async_read_some(net::buffer(to, bytes), io::as_value);
      if (!failed && !is_over()) later = got;
      break;
    }
    const auto [failed] = co_await socket_.async_wait(awaited(Socket::wait_read), io::as_value);
    if (failed || is_over()) break;
    at_once = receive(to, bytes);
  }
  const std::size_t got = at_once > 0 ? static_cast<std::size_t>(at_once) : later;
  // Of TLS there may be more that is decrypted, for which the socket will not become ready.
  is_drained_ = !tls_ && got < bytes;
  shared_.probe.bytes_in.add(got);
  co_return got;
}

io::Task<bool> Connection::write_all(std::span<iovec> parts) {
  const Limits& limits = shared_.settings.limits;
  std::size_t bytes = 0;
  for (const iovec& part : parts) bytes += part.iov_len;
  const milliseconds timeout =
      phase_ == Phase::Stream ? limits.stream_write_timeout : limits.write_timeout;
  // A client that reads a little now and then would otherwise keep these bytes for ever.
  const std::int64_t slowest =
      after(timeout) +
      static_cast<std::int64_t>(static_cast<double>(bytes) * kMicrosPerSecond /
                                static_cast<double>(limits.write_bytes_per_second_min));
  while (!parts.empty()) {
    const ssize_t sent = send(parts);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) co_return false;
      if (is_over()) co_return false;
      write_deadline_ = std::min(after(timeout), slowest);
      const auto [failed] = co_await socket_.async_wait(awaited(Socket::wait_write), io::as_value);
      write_deadline_ = kNever;
      if (failed || is_over()) co_return false;
      continue;
    }
    shared_.probe.bytes_out.add(static_cast<std::uint64_t>(sent));
    auto left = static_cast<std::size_t>(sent);
    while (!parts.empty() && left >= parts.front().iov_len) {
      left -= parts.front().iov_len;
      parts = parts.subspan(1);
    }
    if (!parts.empty()) {
      parts.front().iov_base = static_cast<char*>(parts.front().iov_base) + left;
      parts.front().iov_len -= left;
    }
  }
  co_return true;
}

io::Task<bool> Connection::write_text(std::string_view text) {
  std::array parts = {part_of(text)};
  co_return co_await write_all(parts);
}

void Connection::drop_front(std::size_t bytes) {
  filled_ -= bytes;
  std::copy_n(buffer_.data() + bytes, filled_, buffer_.data());
}

io::Task<> Connection::run() {
  const bool is_served = handshakes_ == nullptr || co_await shake_hands();
  if (is_served) buffer_.resize(kBufferBytes);
  while (is_served && co_await serve_one()) {
    if (++served_without_waiting_ < kBurstMax) continue;
    served_without_waiting_ = 0;
    co_await net::post(socket_.get_executor(), net::use_awaitable_t<io::Executor>());
  }
  if (streamed_) co_await answer_stream();
  if (tls_) tls_->finish();
  boost::system::error_code ignored;
  socket_.shutdown(Socket::shutdown_both, ignored);
  socket_.close(ignored);
}

io::Task<bool> Connection::serve_one() {
  RequestHead head;
  if (!co_await read_head(head)) co_return false;
  tell_origin(head.request);
  auto match = shared_.router.match(head.request.method, head.raw_path);
  const bool has_body = head.is_chunked || head.content_length > 0;
  if (match.route == nullptr) {
    Response response = refusal_response(
        {match.status, match.status == 404 ? "there is nothing at this path"
                                           : "the path does not know this method"});
    if (match.status == 405) response.headers.add("Allow", shared_.router.allowed(head.raw_path));
    if (match.nearest != nullptr && match.nearest->complete_error)
      match.nearest->complete_error(head.request, response);
    if (has_body) head.keeps_alive = false;
    const bool goes_on = co_await answer(head, response);
    if (has_body) co_await linger();
    co_return goes_on;
  }
  head.request.captures = std::move(match.captures);
  bool goes_on = false;
  if (match.route->admit && head.content_length <= match.route->body_bytes_max &&
      !co_await admit(head, *match.route, goes_on)) {
    co_return goes_on;
  }
  const Limits& limits = shared_.settings.limits;
  ByteBudget budget(shared_.body_bytes_in_flight, limits.body_bytes_in_flight_max);
  if (has_body && !co_await read_body(head, *match.route, budget)) co_return false;
  enter(Phase::Handler, {});
  read_deadline_ = kNever;
  Response response = co_await call(*match.route, head.request);
  if (response.stream && head.request.method != "HEAD") {
    // What a stream keeps for hours must be small: it goes on without this frame.
    is_chunking_ = head.minor_version >= 1;
    streamed_ = std::make_unique<Response>(std::move(response));
    co_return false;
  }
  if (is_failing_) head.keeps_alive = false;
  // Whoever asks for much and reads little would otherwise fill the memory.
  ByteBudget unsent(shared_.answer_bytes_in_flight, limits.answer_bytes_in_flight_max);
  const std::size_t bytes = response.body.size();
  const bool is_too_much = bytes >= kCountedAnswerBytes && !unsent.grow_to(bytes);
  if (is_too_much) response = refusal_response({503, "too many answers are being read"});
  if ((is_failing_ || is_too_much) && match.route->complete_error) {
    match.route->complete_error(head.request, response);
  }
  co_return co_await answer(head, response);
}

void Connection::tell_origin(Request& request) const {
  request.is_secure = tls_ != nullptr;
  if (!is_from_trusted_proxy_) {
    request.client_address = client_address_;
    return;
  }
  request.client_address =
      shared_.settings.trusted_proxies.client_of(client_address_, request.headers);
  request.is_secure =
      equals_without_case(request.headers.find("X-Forwarded-Proto").value_or(""), "https");
}

io::Task<bool> Connection::read_head(RequestHead& head) {
  const Limits& limits = shared_.settings.limits;
  HeadParser parser(
      {limits.request_line_bytes_max, limits.header_bytes_max, limits.header_count_max});
  if (filled_ == 0 && buffer_.size() > kBufferBytes) release_buffer(kBufferBytes);
  enter(filled_ == 0 ? Phase::Idle : Phase::Head,
        filled_ == 0 ? limits.idle_timeout : limits.header_deadline);
  request_start_ = phase_since_;
  Progress progress = filled_ == 0 ? Progress::NeedMore : parser.parse({buffer_.data(), filled_});
  while (progress == Progress::NeedMore) {
    if (filled_ == buffer_.size() && !grow_buffer(buffer_.size() * 2)) {
      co_await refuse({503, "too many requests are being received"});
      co_return false;
    }
    const std::size_t got = co_await read_some(buffer_.data() + filled_, buffer_.size() - filled_);
    if (got == 0) {
      if (is_expired_ && filled_ > 0) {
        co_await refuse(shared_.is_draining ? kStopping
                                            : Refusal{408, "the header fields took too long"});
      }
      co_return false;
    }
    if (filled_ == 0) {
      enter(Phase::Head, limits.header_deadline);
      request_start_ = phase_since_;
    }
    filled_ += got;
    progress = parser.parse({buffer_.data(), filled_});
  }
  std::optional<Refusal> refusal;
  if (progress == Progress::Refused) refusal = parser.refusal();
  if (!refusal) {
    refusal = read_request_head(parser.first_line({buffer_.data(), filled_}), parser.take_headers(),
                                head);
  }
  if (refusal) {
    shared_.probe.parse_errors.add();
    co_await refuse(*refusal);
    co_return false;
  }
  drop_front(parser.size());
  co_return true;
}

Response Connection::failed(const Route& route, const std::exception& failure) {
  is_failing_ = true;
  if (!is_ended_) {
    shared_.probe.handler_failures.add();
    telemetry::error("a request handler failed",
                     {{"route", route.pattern}, {"what", failure.what()}});
  }
  return refusal_response({500, "the server failed"});
}

io::Task<Response> Connection::call(const Route& route, Request& request) {
  try {
    co_return co_await route.handler(request);
  } catch (const std::exception& failure) {
    co_return failed(route, failure);
  }
}

void Connection::count(int status) {
  ServerProbe& probe = shared_.probe;
  (status < 300   ? probe.requests_2xx
   : status < 400 ? probe.requests_3xx
   : status < 500 ? probe.requests_4xx
                  : probe.requests_5xx)
      .add();
  probe.request_seconds.observe(static_cast<double>(shared_.clock.monotonic() - request_start_) *
                                1e-6);
}

io::Task<bool> Connection::answer(const RequestHead& head, Response& response) {
  const bool keeps_alive = head.keeps_alive && !shared_.is_draining;
  const std::string_view body =
      response.shared_body ? std::string_view(*response.shared_body) : response.body;
  std::string out;
  append_response_head(out, response, shared_.clock.now());
  if (!has_no_body(response.status) && !response.stream) {
    out += "Content-Length: ";
    out += fmt::format_int(body.size()).str();
    out += "\r\n";
  }
  if (!keeps_alive)
    out += "Connection: close\r\n";
  else if (head.minor_version == 0)
    out += "Connection: keep-alive\r\n";
  out += "\r\n";
  std::array parts = {part_of(out), part_of(body)};
  const bool is_bodiless = head.request.method == "HEAD" || has_no_body(response.status);
  const bool is_sent = co_await write_all(std::span(parts).first(is_bodiless ? 1 : 2));
  count(response.status);
  co_return is_sent&& keeps_alive;
}

io::Task<> Connection::answer_stream() {
  std::string out;
  append_response_head(out, *streamed_, shared_.clock.now());
  if (is_chunking_) out += "Transfer-Encoding: chunked\r\n";
  out += "Connection: close\r\n\r\n";
  enter(Phase::Stream, {});
  read_deadline_ = kNever;
  const int send_buffer = shared_.settings.limits.stream_send_buffer_bytes;
  ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
  release_buffer(0);
  filled_ = 0;
  const bool is_open = co_await write_text(out);
  std::string().swap(out);
  count(streamed_->status);
  auto stream = std::move(streamed_->stream);
  streamed_.reset();
  if (!is_open) co_return;
  shared_.probe.streams.add(1);
  bool has_failed = false;
  try {
    if (!shared_.is_draining) co_await stream(*this);
  } catch (const std::exception& failure) {
    has_failed = true;
    if (!is_ended_) {
      shared_.probe.handler_failures.add();
      telemetry::error("a stream's handler failed", {{"what", failure.what()}});
    }
  }
  on_closed_ = nullptr;
  shared_.probe.streams.add(-1);
  // Without its last chunk the client sees that an answer is incomplete.
  if (is_chunking_ && !has_failed && !is_expired_) co_await write_text("0\r\n\r\n");
}

io::Task<Result<void>> Connection::write(std::string_view bytes) {
  if (bytes.empty()) co_return Result<void>();
  const std::string size = is_chunking_ ? fmt::format("{:x}\r\n", bytes.size()) : std::string();
  std::array parts = {part_of(size), part_of(bytes),
                      part_of(is_chunking_ ? std::string_view("\r\n") : std::string_view())};
  co_return co_await write_to_stream(parts);
}

io::Task<Result<void>> Connection::write_to_stream(std::span<iovec> parts) {
  if (is_over()) co_return fail(ErrorKind::Unavailable, "the stream has ended");
  if (!co_await write_all(parts)) {
    is_ended_ = true;
    co_return fail(ErrorKind::Unavailable, "the client has gone or does not read");
  }
  co_return Result<void>();
}

std::string_view Connection::as_sent(const Chunk& chunk) const {
  return is_chunking_ ? chunk.framed() : chunk.text();
}

std::size_t Connection::offer(const Chunk& chunk) {
  const std::string_view bytes = as_sent(chunk);
  if (is_over()) return bytes.size();
  std::array parts = {part_of(bytes)};
  const ssize_t sent = tls_ ? tls_->send(parts)
                            : ::send(socket_.native_handle(), bytes.data(), bytes.size(),
                                     MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent <= 0) return bytes.size();  // full, or broken: who writes the rest will see
  shared_.probe.bytes_out.add(static_cast<std::uint64_t>(sent));
  return bytes.size() - static_cast<std::size_t>(sent);
}

io::Task<Result<void>> Connection::write_rest(const Chunk& chunk, std::size_t left) {
  const std::string_view bytes = as_sent(chunk);
  std::array parts = {part_of(bytes.substr(bytes.size() - left))};
  co_return co_await write_to_stream(parts);
}

io::Task<void> Connection::until_closed() {
  std::array<char, 256> ignored;
  while (!is_over()) {
    bool has_failed = false;
    std::size_t got = 0;
    if (tls_) {
      // First what is decrypted already: the socket would not become ready for it.
      const ssize_t at_once = receive(ignored.data(), ignored.size());
      const bool must_wait = at_once < 0 && errno == EAGAIN;
      has_failed = at_once <= 0 && !must_wait;
      if (at_once > 0) got = static_cast<std::size_t>(at_once);
      if (must_wait) {
        const auto [failed] = co_await socket_.async_wait(awaited(Socket::wait_read), io::as_value);
        has_failed = static_cast<bool>(failed);
      }
    } else {
      const auto [failed, bytes] =
          co_await socket_.async_read_some(net::buffer(ignored), io::as_value);
      has_failed = static_cast<bool>(failed);
      got = bytes;
    }
    const auto cancellation = co_await net::this_coro::cancellation_state;
    if (cancellation.cancelled() != net::cancellation_type::none) co_return;  // only the wait ends
    stream_bytes_in_ += got;
    if (has_failed || stream_bytes_in_ > kStreamBytesInMax) is_ended_ = true;
  }
}

void Connection::notify_closed(std::function<void()> notify) {
  on_closed_ = std::move(notify);
  if (is_over()) return on_closed_();
  watch_client();
}

void Connection::watch_client() {
  thread_local std::array<char, 4096> ignored;
  while (on_closed_) {
    const ssize_t got = receive(ignored.data(), ignored.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      socket_.async_wait(awaited(Socket::wait_read), [this](boost::system::error_code stopped) {
        // Stopped by end(), which has told, or with the connection, which may be gone.
        if (!stopped) watch_client();
      });
      return;
    }
    stream_bytes_in_ += got > 0 ? static_cast<std::size_t>(got) : 0;
    if (got > 0 && stream_bytes_in_ <= kStreamBytesInMax) continue;
    is_ended_ = true;
    return on_closed_();
  }
}

io::Task<> Connection::refuse(Refusal refusal, const Route* route, const Request* request) {
  Response response = refusal_response(refusal);
  if (route != nullptr && route->complete_error) route->complete_error(*request, response);
  co_await refuse_with(std::move(response), request != nullptr ? request->method : std::string());
}

io::Task<> Connection::refuse_with(Response response, const std::string& method) {
  is_expired_ = false;  // the answer has its own deadline
  // Nothing of the request is kept while a client is waited for that may take its time.
  release_buffer(kBufferBytes);
  filled_ = 0;
  RequestHead head;
  head.keeps_alive = false;
  head.request.method = method;
  read_deadline_ = kNever;
  co_await answer(head, response);
  co_await linger();
}

// A close with unread bytes resets the connection, and the client may lose the answer.
io::Task<> Connection::linger() {
  enter(Phase::Linger, kLingerTime);
  if (tls_) tls_->finish();
  boost::system::error_code failed;
  socket_.shutdown(Socket::shutdown_send, failed);
  for (std::size_t dropped = 0; dropped < kLingerBytesMax && !is_over() && !failed;) {
    const auto [ended, got] = co_await socket_.async_read_some(net::buffer(buffer_), io::as_value);
    if (ended) co_return;
    dropped += got;
  }
}

}  // namespace flagstream::http
