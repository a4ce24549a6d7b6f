#include "http/router.h"

#include <algorithm>

#include "http/request_parser.h"

namespace flagstream::http {
namespace {

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> segments;
  path.remove_prefix(1);
  for (;;) {
    const std::size_t slash = path.find('/');
    segments.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

bool is_placeholder(std::string_view segment) { return segment.starts_with('{'); }

// Literal before placeholder before rest.
int rank(std::string_view segment) { return segment == "*" ? 2 : is_placeholder(segment) ? 1 : 0; }

bool is_more_exact(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (rank(a[i]) != rank(b[i])) return rank(a[i]) < rank(b[i]);
  }
  return a.size() > b.size();
}

bool fits(const std::vector<std::string>& pattern, const std::vector<std::string_view>& segments) {
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == "*") return true;
    if (i >= segments.size()) return false;
    if (is_placeholder(pattern[i])) {
      if (segments[i].empty()) return false;
    } else if (pattern[i] != segments[i]) {
      const bool is_escaped = segments[i].find('%') != std::string_view::npos;
      if (!is_escaped || percent_decode(segments[i]) != pattern[i]) return false;
    }
  }
  return pattern.size() == segments.size();
}

bool serves(const Route& route, std::string_view method) {
  return route.method == "*" || route.method == method ||
         (method == "HEAD" && route.method == "GET");
}

}  // namespace

Router::Router(std::vector<Route> routes) {
  for (Route& route : routes) {
    Compiled compiled;
    for (const std::string_view segment : split(route.pattern)) {
      compiled.segments.emplace_back(segment);
    }
    compiled.route = std::move(route);
    routes_.push_back(std::move(compiled));
  }
  std::stable_sort(routes_.begin(), routes_.end(), [](const Compiled& a, const Compiled& b) {
    return is_more_exact(a.segments, b.segments);
  });
}

Router::Match Router::match(std::string_view method, std::string_view raw_path) const {
  const auto segments = split(raw_path);
  Match match;
  for (const Compiled& compiled : routes_) {
    if (!fits(compiled.segments, segments)) continue;
    match.status = 405;
    if (match.nearest == nullptr) match.nearest = &compiled.route;
    if (!serves(compiled.route, method)) continue;
    match.route = &compiled.route;
    for (std::size_t i = 0; i < compiled.segments.size(); ++i) {
      if (!is_placeholder(compiled.segments[i])) continue;
      match.captures.push_back(percent_decode(segments[i]).value_or(std::string()));
    }
    break;
  }
  return match;
}

std::string Router::allowed(std::string_view raw_path) const {
  const auto segments = split(raw_path);
  std::string all;
  for (const Compiled& compiled : routes_) {
    if (!fits(compiled.segments, segments)) continue;
    if (!all.empty()) all += ", ";
    all += compiled.route.method == "GET" ? "GET, HEAD" : compiled.route.method;
  }
  return all;
}

}  // namespace flagstream::http
