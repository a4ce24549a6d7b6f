#include "http/request_parser.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace flagstream::http {
namespace {

constexpr std::size_t kChunkLineBytesMax = 256;
constexpr std::size_t kTrailerBytesMax = 8 << 10;

constexpr std::array<bool, 256> kIsToken = [] {
  std::array<bool, 256> is{};
  for (int c = '0'; c <= '9'; ++c) is[c] = true;
  for (int c = 'a'; c <= 'z'; ++c) is[c] = is[c - 'a' + 'A'] = true;
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) is[static_cast<unsigned char>(c)] = true;
  return is;
}();

bool is_token_byte(char c) { return kIsToken[static_cast<unsigned char>(c)]; }
bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_byte);
}
// HTAB, visible ASCII, space and anything above 0x7f.
bool is_field_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= 0x20 && byte != 0x7f) || byte == '\t';
}
bool is_target_byte(char c) { return c > 0x20 && c < 0x7f; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

std::string_view without_blanks(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char l = lower(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

// Without scheme and authority if the target has them; nullopt if it is neither a path nor that.
std::optional<std::string_view> path_and_query(std::string_view target) {
  if (target.starts_with('/')) return target;
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (target.size() <= scheme.size() ||
        !equals_without_case(target.substr(0, scheme.size()), scheme)) {
      continue;
    }
    const std::size_t path = target.find_first_of("/?", scheme.size());
    if (path == scheme.size()) return std::nullopt;
    if (path == std::string_view::npos) return "/";
    if (target[path] == '/') return target.substr(path);
  }
  return std::nullopt;
}

// Nobody who means well sends these, and whoever serves files must not be given them.
bool climbs(std::string_view path) {
  for (bool has_more = true; has_more;) {
    path.remove_prefix(1);
    const std::size_t slash = path.find('/');
    const std::string_view segment = path.substr(0, slash);
    if (segment == "." || segment == "..") return true;
    has_more = slash != std::string_view::npos;
    if (has_more) path.remove_prefix(slash);
  }
  return false;
}

std::optional<Refusal> read_target(RequestHead& head) {
  Request& request = head.request;
  if (!std::all_of(request.target.begin(), request.target.end(), is_target_byte)) {
    return Refusal{400, "the target holds a byte that must be percent-encoded"};
  }
  const auto local = path_and_query(request.target);
  if (!local) return Refusal{400, "the target is no path"};
  const std::size_t question = local->find('?');
  std::string_view path = local->substr(0, question);
  if (question != std::string_view::npos) request.query = local->substr(question + 1);
  path.remove_prefix(std::min(path.find_first_not_of('/'), path.size()) - 1);
  head.raw_path = path;
  auto decoded = percent_decode(path);
  if (!decoded) return Refusal{400, "the path holds an escape that is none"};
  if (decoded->find('\0') != std::string::npos) return Refusal{400, "the path holds a NUL"};
  if (climbs(*decoded)) return Refusal{404, "the path holds a segment of dots"};
  request.path = *std::move(decoded);
  return std::nullopt;
}

std::optional<Refusal> read_host(const Headers& headers, int minor_version) {
  int count = 0;
  for (const Header& header : headers.all()) {
    if (!equals_without_case(header.name, "host")) continue;
    ++count;
    if (header.value.find_first_of(" \t,/@") != std::string::npos) {
      return Refusal{400, "the Host field is malformed"};
    }
  }
  if (count > 1) return Refusal{400, "there are two Host fields"};
  if (count == 0 && minor_version >= 1) return Refusal{400, "the Host field is missing"};
  return std::nullopt;
}

}  // namespace

bool equals_without_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i] && lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

std::optional<std::string> percent_decode(std::string_view text, PlusMeans plus) {
  const std::string_view special = plus == PlusMeans::Space ? "%+" : "%";
  std::string out;
  out.reserve(text.size());
  for (;;) {
    // Mostly there is nothing to decode in hundreds of bytes: a context in a path.
    const std::size_t plain = std::min(text.find_first_of(special), text.size());
    out += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) return out;
    if (text.front() == '+') {
      out += ' ';
      text.remove_prefix(1);
      continue;
    }
    if (text.size() < 3) return std::nullopt;
    const int high = hex_digit(text[1]);
    const int low = hex_digit(text[2]);
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    text.remove_prefix(3);
  }
}

Progress HeadParser::refuse(int status, std::string_view why) {
  refusal_ = {status, why};
  return Progress::Refused;
}

// What can be said about a line whose end has not come yet.
Progress HeadParser::check_open_line(std::string_view bytes) {
  const std::size_t open = bytes.size() - line_start_;
  if (has_first_line_) {
    // The line end of the first line, and the CR of the empty line that may be beginning.
    constexpr std::size_t kNotFields = 3;
    if (bytes.size() - first_start_ - first_size_ > limits_.header_bytes_max + kNotFields) {
      return refuse(431, "the header fields are too large");
    }
  } else if (open > limits_.first_line_bytes_max + 2) {
    return refuse(414, "the request line is too long");
  } else if (open > 0 && !is_token_byte(bytes[line_start_]) && bytes[line_start_] != '\r') {
    return refuse(400, "this is not HTTP");
  }
  return Progress::NeedMore;
}

Progress HeadParser::take_field(std::string_view line) {
  if (headers_.all().size() >= limits_.header_count_max) {
    return refuse(431, "there are too many header fields");
  }
  if (line.front() == ' ' || line.front() == '\t') return refuse(400, "a header field is folded");
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return refuse(400, "a header field has no colon");
  const std::string_view name = line.substr(0, colon);
  if (!is_token(name)) return refuse(400, "the name of a header field is malformed");
  const std::string_view value = without_blanks(line.substr(colon + 1));
  if (!std::all_of(value.begin(), value.end(), is_field_byte)) {
    return refuse(400, "a header field holds a control character");
  }
  headers_.add(std::string(name), std::string(value));
  return Progress::NeedMore;
}

Progress HeadParser::parse(std::string_view bytes) {
  for (;;) {
    const std::size_t end = bytes.find('\n', std::max(searched_, line_start_));
    if (end == std::string_view::npos) {
      searched_ = bytes.size();
      return check_open_line(bytes);
    }
    if (end == line_start_ || bytes[end - 1] != '\r') {
      return refuse(400, "a line does not end in CR LF");
    }
    const std::string_view line = bytes.substr(line_start_, end - 1 - line_start_);
    const std::size_t start = line_start_;
    line_start_ = end + 1;
    if (!has_first_line_) {
      if (line.empty() && start == 0) continue;  // RFC 9112, 2.2: an empty line before a request
      if (line.size() > limits_.first_line_bytes_max) {
        return refuse(414, "the request line is too long");
      }
      if (line.empty() || !is_token_byte(line.front())) return refuse(400, "this is not HTTP");
      has_first_line_ = true;
      first_start_ = start;
      first_size_ = line.size();
      continue;
    }
    if (line.empty()) return Progress::Done;
    if (line_start_ - first_start_ - first_size_ - 2 > limits_.header_bytes_max) {
      return refuse(431, "the header fields are too large");
    }
    if (const Progress taken = take_field(line); taken != Progress::NeedMore) return taken;
  }
}

bool lists_token(const Headers& headers, std::string_view name, std::string_view token) {
  for (const Header& header : headers.all()) {
    if (!equals_without_case(header.name, name)) continue;
    std::string_view rest(header.value);
    while (!rest.empty()) {
      const std::string_view item = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), item.size() + 1));
      if (equals_without_case(without_blanks(item), token)) return true;
    }
  }
  return false;
}

std::optional<Refusal> read_framing(const Headers& headers, Framing& framing) {
  for (const Header& header : headers.all()) {
    if (equals_without_case(header.name, "content-length")) {
      if (framing.content_length) return Refusal{400, "there are two Content-Length fields"};
      const std::string& text = header.value;
      if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos) {
        return Refusal{400, "the Content-Length is no number"};
      }
      std::uint64_t length = 0;
      if (std::from_chars(text.data(), text.data() + text.size(), length).ec != std::errc()) {
        return Refusal{413, "the body is too large"};
      }
      framing.content_length = length;
    } else if (equals_without_case(header.name, "transfer-encoding")) {
      if (framing.is_chunked) return Refusal{400, "there are two Transfer-Encoding fields"};
      if (!equals_without_case(header.value, "chunked")) {
        return Refusal{501, "the Transfer-Encoding is not supported"};
      }
      framing.is_chunked = true;
    }
  }
  if (framing.is_chunked && framing.content_length) {
    return Refusal{400, "Content-Length and Transfer-Encoding exclude each other"};
  }
  return std::nullopt;
}

std::optional<Refusal> read_request_head(std::string_view first_line, Headers headers,
                                         RequestHead& head) {
  Request& request = head.request;
  const std::size_t first = first_line.find(' ');
  const std::size_t last = first_line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return Refusal{400, "the request line is malformed"};
  }
  request.method = first_line.substr(0, first);
  request.target = first_line.substr(first + 1, last - first - 1);
  const std::string_view version = first_line.substr(last + 1);
  if (!is_token(request.method)) return Refusal{400, "the method is malformed"};
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const bool is_http = version.size() == 8 && version.starts_with("HTTP/") && version[6] == '.' &&
                       is_digit(version[5]) && is_digit(version[7]);
  if (!is_http) return Refusal{400, "the HTTP version is malformed"};
  if (version[5] != '1') return Refusal{505, "only HTTP/1.1 and HTTP/1.0 are spoken here"};
  head.minor_version = version[7] == '0' ? 0 : 1;
  if (auto refusal = read_target(head)) return refusal;
  if (auto refusal = read_host(headers, head.minor_version)) return refusal;
  Framing framing;
  if (auto refusal = read_framing(headers, framing)) return refusal;
  if (framing.is_chunked && head.minor_version == 0) {
    return Refusal{400, "HTTP/1.0 knows no Transfer-Encoding"};
  }
  head.is_chunked = framing.is_chunked;
  head.content_length = framing.content_length.value_or(0);
  head.keeps_alive = head.minor_version == 0 ? lists_token(headers, "connection", "keep-alive")
                                             : !lists_token(headers, "connection", "close");
  if (const auto expect = headers.find("expect"); expect && head.minor_version >= 1) {
    if (!equals_without_case(*expect, "100-continue")) {
      return Refusal{417, "the expectation is not known"};
    }
    head.expects_continue = true;
  }
  request.headers = std::move(headers);
  return std::nullopt;
}

Progress ChunkedDecoder::refuse(int status, std::string_view why) {
  refusal_ = {status, why};
  return Progress::Refused;
}

Progress ChunkedDecoder::take_size() {
  std::string_view text(line_);
  text = text.substr(0, text.find(';'));
  // Blanks may stand before an extension (RFC 9112, 7.1.1); before the size nobody agrees on them.
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  if (!std::all_of(line_.begin(), line_.end(), is_field_byte)) {
    return refuse(400, "a chunk's extension holds a control character");
  }
  if (text.empty() ||
      !std::all_of(text.begin(), text.end(), [](char c) { return hex_digit(c) >= 0; })) {
    return refuse(400, "the size of a chunk is no number");
  }
  std::uint64_t size = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), size, 16);
  if (parsed.ec != std::errc() || size > body_bytes_max_ - body_bytes_) {
    return refuse(413, "the body is too large");
  }
  left_ = size;
  state_ = size == 0 ? State::Trailer : State::Data;
  return Progress::NeedMore;
}

Progress ChunkedDecoder::take_line() {
  line_.pop_back();  // the LF
  if (line_.empty() || line_.back() != '\r') return refuse(400, "a line does not end in CR LF");
  line_.pop_back();
  if (state_ == State::Size) return take_size();
  if (state_ == State::DataEnd) {
    if (!line_.empty()) return refuse(400, "a chunk is longer than its size says");
    state_ = State::Size;
    return Progress::NeedMore;
  }
  if (line_.empty()) return Progress::Done;
  trailer_bytes_ += line_.size() + 2;
  return trailer_bytes_ > kTrailerBytesMax ? refuse(431, "the trailers are too large")
                                           : Progress::NeedMore;
}

Progress ChunkedDecoder::decode(std::string_view bytes, std::size_t& consumed, std::string& body) {
  consumed = 0;
  while (consumed < bytes.size()) {
    const std::string_view rest = bytes.substr(consumed);
    if (state_ == State::Data) {
      const std::size_t part = std::min<std::uint64_t>(rest.size(), left_);
      body.append(rest.substr(0, part));
      body_bytes_ += part;
      consumed += part;
      left_ -= part;
      if (left_ == 0) state_ = State::DataEnd;
      continue;
    }
    const std::size_t end = rest.find('\n');
    const std::size_t part = end == std::string_view::npos ? rest.size() : end + 1;
    const std::size_t line_max = state_ == State::DataEnd ? 2
                                 : state_ == State::Size  ? kChunkLineBytesMax
                                                          : kTrailerBytesMax;
    if (line_.size() + part > line_max)
      return refuse(400, "a line of the chunked body is too long");
    line_.append(rest.substr(0, part));
    consumed += part;
    if (end == std::string_view::npos) return Progress::NeedMore;
    const Progress taken = take_line();
    line_.clear();
    if (taken != Progress::NeedMore) return taken;
  }
  return Progress::NeedMore;
}

}  // namespace flagstream::http
