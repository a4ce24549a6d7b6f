#include "http/forward.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>
#include <utility>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/request_parser.h"
#include "io/timer.h"

namespace flagstream::http {
namespace {

namespace net = io::net;
using Socket = net::basic_stream_socket<net::generic::stream_protocol, io::Executor>;

constexpr std::size_t kReadBytes = 16 << 10;
constexpr HeadLimits kHeadLimits{8 << 10, 64 << 10, 200};

// RFC 9110, 7.6.1; and what forwarding writes itself.
constexpr std::array<std::string_view, 11> kNotForwarded = {"connection",
                                                            "keep-alive",
                                                            "proxy-connection",
                                                            "proxy-authenticate",
                                                            "te",
                                                            "trailer",
                                                            "upgrade",
                                                            "content-length",
                                                            "expect",
                                                            "transfer-encoding",
                                                            "proxy-authorization"};

// What the other side decides by: a client must not be able to have it taken away by naming it in
// its Connection field.
constexpr std::array<std::string_view, 6> kAlwaysForwarded = {
    "host", "origin", "authorization", "cookie", "content-type", "x-forwarded-for"};

bool is_forwarded(const Headers& all, std::string_view name) {
  const auto is_name = [&](auto other) { return equals_without_case(name, other); };
  if (std::ranges::any_of(kAlwaysForwarded, is_name)) return true;
  return !std::ranges::any_of(kNotForwarded, is_name) && !lists_token(all, "connection", name);
}

std::string write_request(const Request& request) {
  std::string out = fmt::format("{} {} HTTP/1.1\r\n", request.method, request.target);
  std::string forwarded_for;
  bool has_host = false;
  for (const Header& header : request.headers.all()) {
    if (equals_without_case(header.name, "x-forwarded-for")) {
      forwarded_for += header.value + ", ";
    } else if (request.is_secure && equals_without_case(header.name, "x-forwarded-proto")) {
      continue;  // ours stands for it
    } else if (is_forwarded(request.headers, header.name)) {
      has_host = has_host || equals_without_case(header.name, "host");
      fmt::format_to(std::back_inserter(out), "{}: {}\r\n", header.name, header.value);
    }
  }
  if (!has_host) out += "Host: localhost\r\n";
  if (request.is_secure) out += "X-Forwarded-Proto: https\r\n";
  fmt::format_to(std::back_inserter(out),
                 "X-Forwarded-For: {}{}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                 forwarded_for, request.client_address.empty() ? "unknown" : request.client_address,
                 request.body.size());
  return out += request.body;
}

// "HTTP/1.1 200 OK"
std::optional<int> read_status(std::string_view line) {
  if (!line.starts_with("HTTP/1.") || line.size() < 12 || line[8] != ' ') return std::nullopt;
  int status = 0;
  const auto parsed = std::from_chars(line.data() + 9, line.data() + 12, status);
  const bool is_number = parsed.ec == std::errc() && parsed.ptr == line.data() + 12;
  return is_number && status >= 100 ? std::optional(status) : std::nullopt;
}

Response unavailable(std::string_view why) {
  return error_response(Error(ErrorKind::Unavailable, std::string(why)));
}

// One of a bounded number of places, given back on destruction.
class Place {
 public:
  explicit Place(std::atomic<std::size_t>& taken) : taken_(&taken) { ++taken; }
  Place(Place&& other) noexcept : taken_(std::exchange(other.taken_, nullptr)) {}
  Place& operator=(Place&&) = delete;
  ~Place() {
    if (taken_ != nullptr) --*taken_;
  }

 private:
  std::atomic<std::size_t>* taken_;
};

// One request and its answer, on a connection of its own: a Unix socket connects in microseconds,
// and no answer can be mistaken for another's.
class Exchange {
 public:
  Exchange(io::Executor executor, const ForwardSettings& settings)
      : settings_(settings), socket_(executor) {}

  // Sends the request and reads the head of the answer, and its body unless it is_stream().
  io::Task<Result<void>> run(const Request& request);
  // The rest of a stream. False: the other side broke off.
  io::Task<bool> hand_on(StreamWriter& out);

  bool is_stream() const {
    if (has_no_body_) return false;
    return !framing_.content_length ||
           headers_.find("content-type").value_or("").starts_with("text/event-stream");
  }
  int status() const { return status_; }
  const Headers& headers() const { return headers_; }
  std::string take_body() { return std::move(body_); }

 private:
  Result<void> connect();
  io::Task<Result<void>> send(std::string_view bytes);
  io::Task<Result<void>> read_head();
  // Appends to received_; false: the other side has closed.
  io::Task<bool> receive();
  // Appends to `part` what came of the body; false: it is complete.
  io::Task<Result<bool>> read_part(std::string& part);

  const ForwardSettings& settings_;
  Socket socket_;
  std::string received_;
  int status_ = 0;
  Headers headers_;
  Framing framing_;
  ChunkedDecoder decoder_{std::numeric_limits<std::size_t>::max()};
  std::uint64_t body_bytes_ = 0;
  bool has_no_body_ = false;
  bool is_complete_ = false;
  std::string body_;
};

Result<void> Exchange::connect() {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (settings_.socket_path.size() >= sizeof name.sun_path) {
    return fail(ErrorKind::Unavailable, "the socket's path is too long");
  }
  std::memcpy(name.sun_path, settings_.socket_path.data(), settings_.socket_path.size());
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return fail(error_from_errno(errno, "open a socket"));
  boost::system::error_code failed;
  socket_.assign(net::generic::stream_protocol(AF_UNIX, 0), descriptor, failed);
  if (failed) {
    ::close(descriptor);
    return fail(ErrorKind::Unavailable, failed.message());
  }
  // Never waits: a Unix socket connects at once, or its backlog is full.
  if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) {
    return fail(ErrorKind::Unavailable, "nobody serves this path at the moment");
  }
  return {};
}

io::Task<Result<void>> Exchange::send(std::string_view bytes) {
  const auto [failed, sent] =
      co_await net::async_write(socket_, net::buffer(bytes.data(), bytes.size()), io::as_value);
  // A refusal may have come before the request was sent whole: its answer is still to be read.
  if (failed && failed != net::error::broken_pipe) {
    co_return fail(ErrorKind::Unavailable, "the request could not be handed on");
  }
  co_return Result<void>();
}

io::Task<bool> Exchange::receive() {
  const std::size_t before = received_.size();
  received_.resize(before + kReadBytes);
  const auto [failed, got] = co_await socket_.async_read_some(
      net::buffer(received_.data() + before, kReadBytes), io::as_value);
  received_.resize(before + (failed ? 0 : got));
  co_return !failed;
}

io::Task<Result<void>> Exchange::read_head() {
  HeadParser parser(kHeadLimits);
  Progress progress = Progress::NeedMore;
  while (progress == Progress::NeedMore) {
    if (!co_await receive()) co_return fail(ErrorKind::Unavailable, "the answer did not come");
    progress = parser.parse(received_);
  }
  const auto status =
      progress == Progress::Done ? read_status(parser.first_line(received_)) : std::nullopt;
  headers_ = parser.take_headers();
  if (!status || *status < 200 || read_framing(headers_, framing_)) {
    co_return fail(ErrorKind::Unavailable, "the answer is malformed");
  }
  status_ = *status;
  received_.erase(0, parser.size());
  co_return Result<void>();
}

io::Task<Result<bool>> Exchange::read_part(std::string& part) {
  while (!is_complete_) {
    if (framing_.is_chunked) {
      std::size_t consumed = 0;
      const Progress progress = decoder_.decode(received_, consumed, part);
      received_.erase(0, consumed);
      if (progress == Progress::Refused) {
        co_return fail(ErrorKind::Unavailable, "the answer is malformed");
      }
      is_complete_ = progress == Progress::Done;
    } else {
      part += received_;
      body_bytes_ += received_.size();
      received_.clear();
      is_complete_ = framing_.content_length && body_bytes_ >= *framing_.content_length;
      if (is_complete_ && body_bytes_ > *framing_.content_length) {
        co_return fail(ErrorKind::Unavailable, "the answer is malformed");
      }
    }
    if (!part.empty()) co_return true;
    if (!is_complete_ && !co_await receive()) {
      is_complete_ = !framing_.is_chunked && !framing_.content_length;
      if (!is_complete_) co_return fail(ErrorKind::Unavailable, "the answer is cut");
    }
  }
  co_return false;
}

io::Task<Result<void>> Exchange::run(const Request& request) {
  FS_CO_TRY(connect());
  FS_CO_TRY(co_await send(write_request(request)));
  FS_CO_TRY(co_await read_head());
  has_no_body_ = request.method == "HEAD" || status_ == 204 || status_ == 304;
  if (has_no_body_ || is_stream()) co_return Result<void>();
  if (*framing_.content_length > settings_.answer_bytes_max) {
    co_return fail(ErrorKind::Unavailable, "the answer is too large");
  }
  for (bool has_more = true; has_more;) {
    std::string part;
    FS_CO_TRY(has_more, co_await read_part(part));
    body_ += part;
  }
  co_return Result<void>();
}

io::Task<bool> Exchange::hand_on(StreamWriter& out) {
  for (;;) {
    std::string part;
    const auto has_more = co_await read_part(part);
    if (!has_more) co_return false;
    if (!*has_more || !co_await out.write(part)) co_return true;
  }
}

}  // namespace

struct Forwarder::State {
  State(ForwardSettings s, telemetry::Registry& registry)
      : settings(std::move(s)),
        forwarded(registry, counted("answered")),
        failed(registry, counted("unavailable")) {}

  telemetry::MetricName counted(const char* outcome) const {
    return {"flagstream_http_forwarded_total", "Requests handed to another role.",
            "role=\"" + settings.role + "\",outcome=\"" + outcome + "\""};
  }

  io::Task<Response> forward(Request& request);

  ForwardSettings settings;
  std::atomic<std::size_t> requests{0};
  std::atomic<std::size_t> streams{0};
  telemetry::Counter forwarded;
  telemetry::Counter failed;
};

io::Task<Response> Forwarder::State::forward(Request& request) {
  using namespace net::experimental::awaitable_operators;
  const Place place(requests);
  if (requests > settings.requests_max) {
    failed.add();
    co_return unavailable("too many requests at once");
  }
  auto exchange = std::make_unique<Exchange>(co_await net::this_coro::executor, settings);
  auto outcome = co_await (exchange->run(request) || io::sleep_for(settings.answer_deadline));
  if (outcome.index() == 1 || !std::get<0>(outcome)) {
    failed.add();
    co_return outcome.index() == 1 ? unavailable("the answer takes too long")
                                   : error_response(std::get<0>(outcome).error());
  }
  Response response;
  response.status = exchange->status();
  for (const Header& header : exchange->headers().all()) {
    if (is_forwarded(exchange->headers(), header.name)) {
      response.headers.add(header.name, header.value);
    }
  }
  if (request.method == "HEAD") {
    response.stream = [](StreamWriter&) -> io::Task<void> { co_return; };  // of unknown length
  } else if (exchange->is_stream()) {
    auto stream_place = std::make_unique<Place>(streams);
    if (streams > settings.streams_max) {
      failed.add();
      co_return unavailable("too many streams at once");
    }
    response.stream = [exchange = std::move(exchange),
                       held = std::move(stream_place)](StreamWriter& out) -> io::Task<void> {
      const auto outcome = co_await (exchange->hand_on(out) || out.until_closed());
      // A cut answer has to look cut: after a failure the server sends no last chunk.
      if (outcome.index() == 0 && !std::get<0>(outcome)) {
        throw std::runtime_error("the role that answers broke off");
      }
    };
  } else {
    response.body = exchange->take_body();
  }
  forwarded.add();
  co_return response;
}

Forwarder::Forwarder(ForwardSettings settings, telemetry::Registry& registry)
    : state_(std::make_unique<State>(std::move(settings), registry)) {}
Forwarder::~Forwarder() = default;

Handler Forwarder::handler() {
  return [state = state_.get()](Request& request) { return state->forward(request); };
}

}  // namespace flagstream::http
