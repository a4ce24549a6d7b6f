// What a handler sees of an HTTP request and what it answers: plain data, no sockets, no
// third-party types.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "io/task.h"

namespace flagstream::http {

struct Response;

struct Header {
  std::string name;
  std::string value;
};

// In the order received or to be sent.  Names compare without case.
class Headers {
 public:
  void add(std::string name, std::string value) {
    all_.push_back({std::move(name), std::move(value)});
  }
  // The first of that name; nullopt if there is none.
  std::optional<std::string_view> find(std::string_view name) const;
  const std::vector<Header>& all() const { return all_; }

 private:
  std::vector<Header> all_;
};

// What a route has taken for a request before its body is read; goes with the request.
class BodyTicket {
 public:
  virtual ~BodyTicket() = default;
  // Before the body takes `bytes` of memory in all.  An answer: it may not, and is refused with it.
  virtual std::optional<Response> grow_to(std::size_t bytes) = 0;
};

struct Request {
  std::string method;
  std::string target;  // as received: path and query, percent-encoded
  std::string path;    // percent-decoded, a run of '/' at its front made one
  std::string query;   // what follows '?', as received
  Headers headers;
  std::string body;            // whole and unchunked; its size is within the route's limit
  std::string client_address;  // textual IP address; empty on a Unix socket. Behind a trusted
                               // proxy, of whom that asks for
  bool is_secure = false;      // came by TLS, to us or to a trusted proxy
  std::vector<std::string>
      captures;  // what the route's {placeholders} matched, percent-decoded, in order
  std::unique_ptr<BodyTicket> ticket;  // what Route::admit has taken for it

  // Percent-decoded value of the first such query parameter.
  std::optional<std::string> query_value(std::string_view name) const;
};

// Bytes for many streams, framed once.  Immutable.
class Chunk {
 public:
  // Precondition: `text` is not empty.
  explicit Chunk(std::string_view text);

  // With its size, as chunked bodies carry it.
  std::string_view framed() const { return framed_; }
  std::string_view text() const {
    return std::string_view(framed_).substr(text_begin_, text_size_);
  }

 private:
  std::string framed_;
  std::size_t text_begin_ = 0;
  std::size_t text_size_ = 0;
};
using SharedChunk = std::shared_ptr<const Chunk>;

// Writes to one open response whose length is not known beforehand (SSE, proxied bodies).
class StreamWriter {
 public:
  virtual ~StreamWriter() = default;
  // Suspends while the client does not read; Unavailable once it is gone, too slow or the server
  // drains.
  virtual io::Task<Result<void>> write(std::string_view bytes) = 0;
  // Sends what the client takes at once, and returns how many bytes are left.  They must go to
  // write_rest() before anything else is written.  For who may not suspend.
  virtual std::size_t offer(const Chunk& chunk) = 0;
  // Like write(), the last `left` bytes of what was offered.
  virtual io::Task<Result<void>> write_rest(const Chunk& chunk, std::size_t left) = 0;
  // Suspends until the client closes or the server drains.  At most one at a time.
  virtual io::Task<void> until_closed() = 0;
  // The same for a coroutine that has more to wait for, without a second one beside it: calls
  // `notify` on the stream's shard, at least once, when the client has closed or the server drains,
  // and never after the handler's coroutine has ended.  Instead of until_closed().
  virtual void notify_closed(std::function<void()> notify) = 0;
};

struct Response {
  int status = 200;
  Headers headers;  // Date, Content-Length and Connection are the server's
  std::string body;
  std::shared_ptr<const std::string> shared_body;  // instead of `body`, for what many clients get
  // If set, the body is what this writes, sent chunked until it returns; the header block goes out
  // at once.  The request is gone by then.
  std::move_only_function<io::Task<void>(StreamWriter&)> stream;
};

using Handler = std::function<io::Task<Response>(Request&)>;

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7).
std::string date_text(MicrosUtc at);

// The one error shape: {"code":"not_found","message":"..."} with the status of the kind
// (InvalidArgument 400, Unauthenticated 401, PermissionDenied 403, NotFound 404, Conflict 409,
// TooLarge 413, ResourceExhausted 429, Unavailable and Indeterminate 503 with Retry-After, DataLoss
// 500).
Response error_response(const Error& error);
Response json_response(int status, std::string json);

}  // namespace flagstream::http
