#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flagstream::bench {

enum class Protocol { kHttp, kRedis, kNats };

// What a request says beside its body.
struct RequestHead {
  Protocol protocol = Protocol::kHttp;
  std::string host = {};  // http: "address:port"
  std::string path = {};  // http: of the target; redis: name of the stream; nats: subject
  std::string key = {};   // http: SDK key
  bool chunked = false;   // http: in chunks of 16 KiB, as Node.js sends, instead of Content-Length
};

// A request whose bytes are made once.  Before each sending its holes are filled in place: the
// payload's identity, the dates of the events, and the digits of their users' keys ("u-123456"),
// all of fixed width, so that no two requests are equal and nothing is serialized again.
class RequestTemplate {
 public:
  RequestTemplate(const RequestHead& head, std::string_view body);

  // `identity`: random bits.  `date_ms`: 13 digits.
  void fill(std::uint64_t identity_high, std::uint64_t identity_low, std::uint64_t date_ms,
            std::uint32_t user_shift);

  // nats: where the acknowledgement goes, a subject of the connection's own.
  void reply_to(std::uint32_t inbox);
  // Of an inbox: what a connection subscribes to.
  static std::string inbox_name(std::uint32_t inbox);

  std::string_view bytes() const { return bytes_; }
  std::size_t body_bytes() const { return body_bytes_; }
  std::size_t dates() const { return dates_.size(); }
  std::size_t users() const { return users_.size(); }

 private:
  struct User {
    std::size_t at;
    std::uint32_t number;
  };

  void find_holes();

  std::string bytes_;
  std::size_t body_bytes_ = 0;
  std::size_t body_at_ = 0;
  std::optional<std::size_t> identity_at_;  // http
  std::optional<std::size_t> inbox_at_;     // nats
  std::vector<std::size_t> dates_;
  std::vector<User> users_;
};

struct Answer {
  std::size_t bytes = 0;  // of the buffer that it took
  bool is_accepted = false;
  bool closes = false;  // the server will close the connection
};

// The first answer of the buffer, if it is complete. `status`: of HTTP answers that count as
// accepted.  Lines that NATS sends unasked are part of the answer that follows them.
std::optional<Answer> parse_answer(Protocol protocol, int status, std::string_view buffer);

}  // namespace flagstream::bench
