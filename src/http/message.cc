#include "http/message.h"

#include <array>
#include <chrono>

#include <fmt/format.h>

#include "base/assert.h"
#include "http/request_parser.h"
#include "json/json.h"

namespace flagstream::http {
namespace {

struct Shape {
  int status;
  std::string_view code;
};

Shape shape_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::InvalidArgument:
      return {400, "invalid_request"};
    case ErrorKind::Unauthenticated:
      return {401, "unauthorized"};
    case ErrorKind::PermissionDenied:
      return {403, "forbidden"};
    case ErrorKind::NotFound:
      return {404, "not_found"};
    case ErrorKind::Conflict:
      return {409, "conflict"};
    case ErrorKind::TooLarge:
      return {413, "request_entity_too_large"};
    case ErrorKind::ResourceExhausted:
      return {429, "rate_limited"};
    case ErrorKind::Unavailable:
    case ErrorKind::Indeterminate:
      return {503, "unavailable"};
    case ErrorKind::DataLoss:
      return {500, "internal_error"};
  }
  return {500, "internal_error"};
}

}  // namespace

Chunk::Chunk(std::string_view text) : text_size_(text.size()) {
  FS_ASSERT(!text.empty(), "an empty chunk is the end of a body");
  const std::string size = fmt::format("{:x}\r\n", text.size());
  text_begin_ = size.size();
  framed_.reserve(size.size() + text.size() + 2);
  framed_.append(size).append(text).append("\r\n");
}

std::string date_text(MicrosUtc at) {
  constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::int64_t second = at / kMicrosPerSecond;
  const std::int64_t rest = second % 86'400;
  const std::chrono::sys_days day{std::chrono::days(second / 86'400)};
  const std::chrono::year_month_day date(day);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
                     kDays[std::chrono::weekday(day).c_encoding()], unsigned(date.day()),
                     kMonths[unsigned(date.month()) - 1], int(date.year()), rest / 3600,
                     rest / 60 % 60, rest % 60);
}

std::optional<std::string_view> Headers::find(std::string_view name) const {
  for (const Header& header : all_) {
    if (equals_without_case(header.name, name)) return header.value;
  }
  return std::nullopt;
}

std::optional<std::string> Request::query_value(std::string_view name) const {
  std::string_view rest(query);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    const std::size_t equals = pair.find('=');
    const auto key = percent_decode(pair.substr(0, equals), PlusMeans::Space);
    if (!key || *key != name) continue;
    if (equals == std::string_view::npos) return std::string();
    return percent_decode(pair.substr(equals + 1), PlusMeans::Space);
  }
  return std::nullopt;
}

Response json_response(int status, std::string json) {
  Response response;
  response.status = status;
  response.headers.add("Content-Type", "application/json");
  response.body = std::move(json);
  return response;
}

Response error_response(const Error& error) {
  const Shape shape = shape_of(error.kind);
  Response response = json_response(
      shape.status,
      fmt::format(R"({{"code":"{}","message":{}}})", shape.code, json::quoted(error.what)));
  if (shape.status == 429 || shape.status == 503) response.headers.add("Retry-After", "1");
  return response;
}

}  // namespace flagstream::http
