#include "request.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>
#include <strings.h>

namespace flagstream::bench {
namespace {

constexpr std::size_t kChunkBytes = 16 << 10;
constexpr std::size_t kIdentityDigits = 36;
constexpr std::size_t kDateDigits = 13;
constexpr std::size_t kUserDigits = 6;
constexpr std::uint32_t kUsers = 1'000'000;

bool are_digits(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// The last `count` digits of a number.
void put_digits(char* at, std::uint64_t number, std::size_t count) {
  for (std::size_t n = count; n-- > 0; number /= 10) at[n] = static_cast<char>('0' + number % 10);
}

std::string in_chunks(std::string_view body) {
  std::string out;
  while (!body.empty()) {
    const std::string_view chunk = body.substr(0, kChunkBytes);
    out += fmt::format("{:x}\r\n{}\r\n", chunk.size(), chunk);
    body.remove_prefix(chunk.size());
  }
  return out + "0\r\n\r\n";
}

// The value of a header line, whatever the case of its name.
std::optional<std::string_view> header(std::string_view head, std::string_view name) {
  for (std::size_t at = head.find("\r\n"); at != std::string_view::npos;
       at = head.find("\r\n", at)) {
    at += 2;
    if (head.size() - at > name.size() && head[at + name.size()] == ':' &&
        ::strncasecmp(head.data() + at, name.data(), name.size()) == 0) {
      std::string_view value = head.substr(at + name.size() + 1);
      value = value.substr(0, value.find("\r\n"));
      value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
      return value;
    }
  }
  return std::nullopt;
}

std::optional<std::size_t> number(std::string_view text) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

std::optional<Answer> parse_http(int status, std::string_view buffer) {
  const std::size_t end = buffer.find("\r\n\r\n");
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view head = buffer.substr(0, end + 2);
  Answer answer{.bytes = end + 4};
  const int code = head.size() > 12 ? static_cast<int>(number(head.substr(9, 3)).value_or(0)) : 0;
  answer.is_accepted = code == status;
  const auto connection = header(head, "Connection");
  answer.closes = connection && ::strncasecmp(connection->data(), "close", 5) == 0;
  if (code == 204 || code == 304) return answer;
  if (header(head, "Transfer-Encoding")) {
    const std::size_t last = buffer.find("0\r\n\r\n", end + 4);
    if (last == std::string_view::npos) return std::nullopt;
    answer.bytes = last + 5;
    return answer;
  }
  if (const auto length = header(head, "Content-Length"))
    answer.bytes += number(*length).value_or(0);
  if (buffer.size() < answer.bytes) return std::nullopt;
  return answer;
}

// The id of an XADD's entry, or an error.
std::optional<Answer> parse_redis(std::string_view buffer) {
  std::size_t end = buffer.find("\r\n");
  if (end == std::string_view::npos) return std::nullopt;
  const bool is_text = buffer.starts_with('$');
  if (is_text) end = buffer.find("\r\n", end + 2);
  if (end == std::string_view::npos) return std::nullopt;
  return Answer{.bytes = end + 2, .is_accepted = is_text};
}

// The acknowledgement of a stream: a message to the inbox that the payload named.
std::optional<Answer> parse_nats(std::string_view buffer) {
  std::size_t at = 0;
  for (;;) {
    const std::size_t end = buffer.find("\r\n", at);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view line = buffer.substr(at, end - at);
    at = end + 2;
    if (line.starts_with("-ERR")) return Answer{.bytes = at};
    if (!line.starts_with("MSG ")) continue;
    const std::size_t bytes = number(line.substr(line.rfind(' ') + 1)).value_or(0);
    if (buffer.size() < at + bytes + 2) return std::nullopt;
    return Answer{
        .bytes = at + bytes + 2,
        .is_accepted = buffer.substr(at, bytes).find("\"seq\"") != std::string_view::npos};
  }
}

}  // namespace

RequestTemplate::RequestTemplate(const RequestHead& head, std::string_view body)
    : body_bytes_(body.size()) {
  switch (head.protocol) {
    case Protocol::kHttp: {
      bytes_ = fmt::format(
          "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\n"
          "Content-Type: application/json\r\nX-LaunchDarkly-Event-Schema: 4\r\n"
          "User-Agent: NodeJSClient/9.9.2\r\nX-LaunchDarkly-Payload-ID: ",
          head.path, head.host, head.key);
      identity_at_ = bytes_.size();
      bytes_ += "00000000-0000-4000-8000-000000000000\r\n";
      bytes_ += head.chunked ? "Transfer-Encoding: chunked\r\n\r\n"
                             : fmt::format("Content-Length: {}\r\n\r\n", body.size());
      body_at_ = bytes_.size();
      bytes_ += head.chunked ? in_chunks(body) : std::string(body);
      break;
    }
    case Protocol::kRedis:
      // The stream keeps its last thousands of entries: it lives in memory, its log on the disk.
      bytes_ = fmt::format(
          "*8\r\n$4\r\nXADD\r\n${}\r\n{}\r\n$6\r\nMAXLEN\r\n$1\r\n~\r\n$4\r\n5000\r\n$1\r\n*\r\n"
          "$4\r\nbody\r\n${}\r\n",
          head.path.size(), head.path, body.size());
      body_at_ = bytes_.size();
      bytes_ += fmt::format("{}\r\n", body);
      break;
    case Protocol::kNats:
      bytes_ = fmt::format("PUB {} ", head.path);
      inbox_at_ = bytes_.size();
      bytes_ += fmt::format("{} {}\r\n", inbox_name(0), body.size());
      body_at_ = bytes_.size();
      bytes_ += fmt::format("{}\r\n", body);
      break;
  }
  find_holes();
}

void RequestTemplate::find_holes() {
  const std::string_view all = bytes_;
  constexpr std::string_view kDate = "Date\":";
  constexpr std::string_view kUser = "\"key\":\"u-";
  for (std::size_t at = body_at_; (at = all.find(kDate, at)) != std::string_view::npos;) {
    at += kDate.size();
    if (at + kDateDigits <= all.size() && are_digits(all.substr(at, kDateDigits)))
      dates_.push_back(at);
  }
  for (std::size_t at = body_at_; (at = all.find(kUser, at)) != std::string_view::npos;) {
    at += kUser.size();
    if (at + kUserDigits <= all.size() && are_digits(all.substr(at, kUserDigits)))
      users_.push_back(
          {at, static_cast<std::uint32_t>(number(all.substr(at, kUserDigits)).value_or(0))});
  }
}

void RequestTemplate::fill(std::uint64_t identity_high, std::uint64_t identity_low,
                           std::uint64_t date_ms, std::uint32_t user_shift) {
  if (identity_at_) {
    std::array<char, kIdentityDigits> text;
    fmt::format_to_n(text.data(), text.size(), "{:08x}-{:04x}-4{:03x}-8000-{:012x}",
                     identity_high >> 32, identity_high >> 16 & 0xffff, identity_high & 0xfff,
                     identity_low & 0xffffffffffff);
    std::ranges::copy(text, bytes_.begin() + static_cast<std::ptrdiff_t>(*identity_at_));
  }
  std::array<char, kDateDigits> date;
  put_digits(date.data(), date_ms, date.size());
  for (const std::size_t at : dates_)
    std::ranges::copy(date, bytes_.begin() + static_cast<std::ptrdiff_t>(at));
  for (const User& user : users_)
    put_digits(bytes_.data() + user.at, (user.number + user_shift) % kUsers, kUserDigits);
}

std::string RequestTemplate::inbox_name(std::uint32_t inbox) {
  return fmt::format("inbox.{:06}", inbox);
}

void RequestTemplate::reply_to(std::uint32_t inbox) {
  if (inbox_at_) bytes_.replace(*inbox_at_, inbox_name(inbox).size(), inbox_name(inbox));
}

std::optional<Answer> parse_answer(Protocol protocol, int status, std::string_view buffer) {
  switch (protocol) {
    case Protocol::kHttp:
      return parse_http(status, buffer);
    case Protocol::kRedis:
      return parse_redis(buffer);
    case Protocol::kNats:
      return parse_nats(buffer);
  }
  return std::nullopt;
}

}  // namespace flagstream::bench
