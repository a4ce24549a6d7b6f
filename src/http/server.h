// The HTTP/1.1 server: one thread with one io_context and one SO_REUSEPORT acceptor per shard (a
// Unix socket has one shard), keep-alive, chunked bodies, streams with backpressure, limits on
// every dimension, graceful drain; with or without TLS, or both on two addresses.
//
// What it refuses, and with which status: docs/protocols/http.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "http/message.h"
#include "http/tls.h"
#include "http/trusted_proxies.h"
#include "telemetry/metrics.h"

namespace flagstream::http {

struct Limits {
  std::size_t request_line_bytes_max =
      64 << 10;                             // method, target and version: contexts travel in paths
  std::size_t header_bytes_max = 32 << 10;  // all fields together
  std::size_t header_count_max = 100;
  std::size_t connections_max =
      10'000;  // of all shards; over it the oldest idle one goes, else 503
  // Of one client, by its address (IPv6: its /64), trusted proxies excepted; over it 429.  0: none.
  std::size_t connections_per_address_max = 0;
  // Bodies, and heads over 4 KiB, of all connections together; over it 503.
  std::size_t body_bytes_in_flight_max = 512u << 20;
  // Bodies of answers that their clients are still reading, unless many share them and those under
  // 16 KiB; over it 503.
  std::size_t answer_bytes_in_flight_max = 512u << 20;
  std::chrono::milliseconds handshake_deadline{10'000};  // from accepting to the end of TLS's
  // TLS handshakes at once, of all shards; over it new connections wait in the kernel's queue, and
  // one that has taken over 1 s gives way.
  std::size_t handshakes_max = 1'000;
  std::chrono::milliseconds header_deadline{
      10'000};  // from the first byte of a request to its last header
  std::chrono::milliseconds body_deadline{60'000};  // for the whole body
  // Bodies over 64 KiB arrive no slower than this on average over each `body_rate_window`.
  std::size_t body_bytes_per_second_min = 10'000;
  std::chrono::milliseconds body_rate_window{10'000};
  std::chrono::milliseconds idle_timeout{75'000};          // between requests
  std::chrono::milliseconds write_timeout{10'000};         // without progress, of an answer
  std::chrono::milliseconds stream_write_timeout{20'000};  // the same of a stream
  // And no slower than this on top of the timeout: each answer or message keeps its bytes in
  // memory.
  std::size_t write_bytes_per_second_min = 16 << 10;
  int stream_send_buffer_bytes = 256 << 10;  // SO_SNDBUF of a connection once it streams
};

// `pattern` is matched segment by segment: "/bulk", "/events/bulk/{env}"; a last segment "*" takes
// any rest, also an empty one.  More exact patterns win.  A known path with another method gets
// 405, an unknown path 404.
struct Route {
  std::string method;  // "*": any
  std::string pattern;
  std::size_t body_bytes_max = 64 << 10;
  Handler handler;  // called on any shard; runs as a coroutine of that shard
  // Called with the head of each request whose body is not too large, before that is read: an
  // answer refuses it.  `body_bytes` is what Content-Length says; nullopt: chunked.  May set the
  // request's ticket.  May be empty.
  std::function<io::Task<std::optional<Response>>(Request&,
                                                  std::optional<std::uint64_t> body_bytes)>
      admit = {};
  // Completes answers that the server itself gives on this route (413, 408, 503 ...), such as CORS
  // headers; may be empty.
  std::function<void(const Request&, Response&)> complete_error = {};
};

struct ServerSettings {
  std::string name = "http";  // label `server` of its metrics: "public", "admin", "control"
  // "127.0.0.1:8080", port 0 for a free one, "[::1]:80", or "unix:/path"; empty: with TLS only
  std::string listen;
  std::uint32_t shards = 1;
  Limits limits;
  // Its metrics are there wherever it is set, also without an address.
  std::optional<TlsSettings> tls = {};
  TrustedProxies trusted_proxies = {};
};

// Start, then serves until stop().
class Server {
 public:
  // Conflict: an address is taken.  InvalidArgument: no address, or a TLS certificate that cannot
  // be served.  A Unix socket left by a dead process is replaced.
  static Result<std::unique_ptr<Server>> start(ServerSettings settings, std::vector<Route> routes,
                                               const Clock& clock, telemetry::Registry& registry);
  // stop() if it was not called.
  ~Server();

  // "127.0.0.1:43121" with the real port, or "unix:/path"; empty: none.
  const std::string& address() const;
  // The same of the TLS listener.
  const std::string& tls_address() const;
  // Looks at once whether the TLS certificate's files have changed (by itself it looks every few
  // seconds).  Any thread.
  void reload_certificate();
  // Takes who is connecting just now, then stops accepting; answers requests in flight and those
  // that come within a quarter of a second on connections just used, each with `Connection: close`,
  // until `patience` has passed; ends streams (spread over half of it); answers 503 to whoever
  // still sends; closes the rest, joins the threads.
  void stop(std::chrono::milliseconds patience);

 private:
  class Running;
  explicit Server(std::unique_ptr<Running> running);
  std::unique_ptr<Running> running_;
};

}  // namespace flagstream::http
