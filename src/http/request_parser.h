// HTTP/1.1 syntax (RFC 9112), strict: pure functions and small state machines over bytes, no
// sockets.
//
// What is not exactly HTTP is refused with the status that docs/protocols/http.md gives: bare LF,
// obs-fold, blanks before a colon, two Content-Lengths, Content-Length beside Transfer-Encoding,
// control bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace flagstream::http {

bool equals_without_case(std::string_view a, std::string_view b);

enum class PlusMeans { Plus, Space };
// nullopt: an escape that is none.
std::optional<std::string> percent_decode(std::string_view text, PlusMeans plus = PlusMeans::Plus);

// Why a message is refused.
struct Refusal {
  int status;
  std::string_view why;  // constant text
};

enum class Progress { NeedMore, Done, Refused };

struct HeadLimits {
  std::size_t first_line_bytes_max;
  std::size_t header_bytes_max;
  std::size_t header_count_max;
};

// Reads a first line and header fields, up to the empty line. Each byte is looked at once, however
// the head is cut into reads.
class HeadParser {
 public:
  explicit HeadParser(const HeadLimits& limits) : limits_(limits) {}

  // `bytes` is everything received since the head's first byte; it grows from call to call, and may
  // move.
  Progress parse(std::string_view bytes);

  // Once Done: the bytes of the head.
  std::size_t size() const { return line_start_; }
  std::string_view first_line(std::string_view bytes) const {
    return bytes.substr(first_start_, first_size_);
  }
  Headers take_headers() { return std::move(headers_); }
  const Refusal& refusal() const { return refusal_; }  // once Refused

 private:
  Progress refuse(int status, std::string_view why);
  Progress check_open_line(std::string_view bytes);
  Progress take_field(std::string_view line);

  HeadLimits limits_;
  std::size_t line_start_ = 0;
  std::size_t searched_ = 0;
  bool has_first_line_ = false;
  std::size_t first_start_ = 0;
  std::size_t first_size_ = 0;
  Headers headers_;
  Refusal refusal_{400, ""};
};

struct RequestHead {
  Request request;       // without body, client_address and captures
  std::string raw_path;  // percent-encoded, a run of '/' at its front made one
  int minor_version = 1;
  bool keeps_alive = true;
  bool expects_continue = false;
  bool is_chunked = false;
  std::uint64_t content_length = 0;  // if not chunked
};

// The meaning of a head: its first line and fields.
std::optional<Refusal> read_request_head(std::string_view first_line, Headers headers,
                                         RequestHead& head);

// How the body of a message is delimited by its fields; also for answers.
struct Framing {
  bool is_chunked = false;
  std::optional<std::uint64_t> content_length;
};
std::optional<Refusal> read_framing(const Headers& headers, Framing& framing);
// Whether a field with a comma-separated list holds this token, without case.
bool lists_token(const Headers& headers, std::string_view name, std::string_view token);

// Undoes the chunked coding. Extensions are skipped and trailers dropped, both within limits.
class ChunkedDecoder {
 public:
  explicit ChunkedDecoder(std::size_t body_bytes_max) : body_bytes_max_(body_bytes_max) {}

  // Appends to `body` what `bytes` holds of it and sets `consumed`. Refused with 413 as soon as a
  // chunk's size says that the body will be too large.
  Progress decode(std::string_view bytes, std::size_t& consumed, std::string& body);
  const Refusal& refusal() const { return refusal_; }

 private:
  enum class State { Size, Data, DataEnd, Trailer };
  Progress refuse(int status, std::string_view why);
  Progress take_line();
  Progress take_size();

  std::size_t body_bytes_max_;
  std::size_t body_bytes_ = 0;
  State state_ = State::Size;
  std::string line_;  // of a chunk size or a trailer, as far as received
  std::size_t trailer_bytes_ = 0;
  std::uint64_t left_ = 0;  // of the chunk
  Refusal refusal_{400, ""};
};

}  // namespace flagstream::http
