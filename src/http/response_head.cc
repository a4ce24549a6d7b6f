#include "http/response_head.h"

#include <cstdint>
#include <string_view>

#include <fmt/format.h>

namespace flagstream::http {
namespace {

std::string_view reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

std::string_view code_of(int status) {
  switch (status) {
    case 404:
      return "not_found";
    case 405:
      return "method_not_allowed";
    case 408:
      return "timeout";
    case 413:
      return "request_entity_too_large";
    case 500:
      return "internal_error";
    case 501:
      return "not_implemented";
    case 503:
      return "unavailable";
    default:
      return "invalid_request";
  }
}

// Kept for the second it names.
std::string_view date_of_answer(MicrosUtc now) {
  thread_local std::int64_t second = -1;
  thread_local std::string text;
  if (now / kMicrosPerSecond == second) return text;
  second = now / kMicrosPerSecond;
  return text = date_text(now);
}

bool is_servers_own(std::string_view name) {
  return equals_without_case(name, "date") || equals_without_case(name, "content-length") ||
         equals_without_case(name, "connection") || equals_without_case(name, "transfer-encoding");
}

}  // namespace

bool has_no_body(int status) { return status == 204 || status == 304; }

void append_response_head(std::string& out, const Response& response, MicrosUtc now) {
  out.reserve(512);
  // Each answer has it: no format string is read for these.
  const fmt::format_int status(response.status);
  for (const std::string_view part :
       {std::string_view("HTTP/1.1 "), std::string_view(status.data(), status.size()),
        std::string_view(" "), reason_of(response.status), std::string_view("\r\nDate: "),
        date_of_answer(now), std::string_view("\r\n")}) {
    out += part;
  }
  for (const Header& header : response.headers.all()) {
    // A line break from a handler's data must not begin a field of its own.
    if (is_servers_own(header.name) ||
        header.value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
      continue;
    }
    out += header.name;
    out += ": ";
    out += header.value;
    out += "\r\n";
  }
}

Response refusal_response(const Refusal& refusal) {
  Response response = json_response(
      refusal.status,
      fmt::format(R"({{"code":"{}","message":"{}"}})", code_of(refusal.status), refusal.why));
  if (refusal.status == 503) response.headers.add("Retry-After", "1");
  return response;
}

}  // namespace flagstream::http
