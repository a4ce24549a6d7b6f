#include "control/sign_in.h"

#include <algorithm>

namespace flagstream::control {
namespace {

constexpr std::string_view kBearer = "Bearer ";

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

std::string_view cookie(const http::Request& request, std::string_view name) {
  for (const http::Header& header : request.headers.all()) {
    if (!equal_ignoring_case(header.name, "Cookie")) continue;
    const std::string_view all = header.value;
    for (std::size_t at = 0; at < all.size();) {
      const std::size_t end = std::min(all.find(';', at), all.size());
      const std::string_view pair = trimmed(all.substr(at, end - at));
      if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=') {
        return pair.substr(name.size() + 1);
      }
      at = end + 1;
    }
  }
  return {};
}

bool only_reads(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS";
}

// Browsers send Origin with every request that is not a plain read, and no page can set or remove
// it.
Result<void> check_origin(const http::Request& request) {
  const std::string_view origin = request.headers.find("Origin").value_or("");
  const std::string_view host = request.headers.find("Host").value_or("");
  const std::size_t scheme = origin.find("://");
  if (scheme != std::string_view::npos && !host.empty() &&
      equal_ignoring_case(origin.substr(scheme + 3), host)) {
    return {};
  }
  return fail(ErrorKind::PermissionDenied,
              "a change by session must come from this server's own page");
}

}  // namespace

Result<catalog::Identity> authenticate(const http::Request& request, catalog::Access access) {
  if (const auto header = request.headers.find("Authorization")) {
    std::string_view token = *header;
    if (token.size() >= kBearer.size() &&
        equal_ignoring_case(token.substr(0, kBearer.size()), kBearer)) {
      token.remove_prefix(kBearer.size());
    }
    FS_TRY(auto identity, access.find_token(trimmed(token)));
    if (identity) return *std::move(identity);
    return fail(ErrorKind::Unauthenticated, "the access token is not known");
  }
  const std::string_view session = session_of(request);
  if (session.empty())
    return fail(ErrorKind::Unauthenticated, "an access token or a session is needed");
  FS_TRY(auto identity, access.find_session(session));
  if (!identity) return fail(ErrorKind::Unauthenticated, "the session has ended");
  if (!only_reads(request.method)) FS_TRY(check_origin(request));
  return *std::move(identity);
}

Result<void> require(const catalog::Identity& identity, catalog::Role least) {
  if (identity.role <= least) return {};
  return fail(ErrorKind::PermissionDenied, "this needs the role " + std::string(to_string(least)));
}

std::string_view session_of(const http::Request& request) {
  return cookie(request, kSessionCookie);
}

std::string expired_session_cookie() {
  return std::string(kSessionCookie) + "=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0";
}

std::string session_cookie(std::string_view session, bool secure) {
  return std::string(kSessionCookie) + "=" + std::string(session) +
         "; Path=/; HttpOnly; SameSite=Lax; Max-Age=" +
         std::to_string(catalog::Access::kSessionDays * 24 * 60 * 60) + (secure ? "; Secure" : "");
}

}  // namespace flagstream::control
