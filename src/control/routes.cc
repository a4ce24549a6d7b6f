#include "control/routes.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "catalog/json_fields.h"
#include "control/sign_in.h"
#include "json/json.h"

namespace flagstream::control {
namespace {

constexpr std::size_t kChangeBytesMax = 1u << 20;
constexpr std::size_t kQueryBytesMax = 64u << 10;
constexpr std::size_t kNoBodyBytesMax = 4u << 10;  // some clients send {} with everything
constexpr std::int64_t kUsageDaysDefault = 1;
constexpr std::int64_t kUsageDaysMax = 31;
constexpr std::string_view kPageRoot = "/ui/";
constexpr std::string_view kSetupPath = "/ui/setup";

std::unexpected<Error> invalid(std::string what) {
  return fail(ErrorKind::InvalidArgument, std::move(what));
}

http::Response redirect(std::string to) {
  http::Response response;
  response.status = 303;
  response.headers.add("Location", std::move(to));
  return response;
}

Result<std::string> required_parameter(const http::Request& request, std::string_view name) {
  auto value = request.query_value(name);
  if (!value || value->empty()) return invalid("give the parameter " + std::string(name));
  return *std::move(value);
}

// Milliseconds since 1970 as microseconds.
Result<MicrosUtc> time_of(const http::Request& request, std::string_view name, MicrosUtc fallback) {
  constexpr std::int64_t kMillisMax = 253'402'300'800'000;  // the year 10000
  const auto text = request.query_value(name);
  if (!text || text->empty()) return fallback;
  std::int64_t millis = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), millis);
  if (error != std::errc() || end != text->data() + text->size() || millis < 0 ||
      millis > kMillisMax) {
    return invalid(std::string(name) + " must be milliseconds since 1970");
  }
  return millis * kMicrosPerMilli;
}

Result<TimeRange> range_of(const http::Request& request, MicrosUtc now) {
  TimeRange range;
  FS_TRY(range.to, time_of(request, "to", now + kMicrosPerMinute));
  FS_TRY(range.from, time_of(request, "from",
                             std::max<MicrosUtc>(range.to - kUsageDaysDefault * kMicrosPerDay, 0)));
  if (range.from >= range.to) return invalid("from must be before to");
  if (range.to - range.from > kUsageDaysMax * kMicrosPerDay) {
    return invalid("from and to must be at most " + std::to_string(kUsageDaysMax) + " days apart");
  }
  return range;
}

Result<std::string> query_of(std::string_view body) {
  FS_TRY(const json::Value value, json::parse(body));
  if (!value.is_object()) return invalid("the body must be a JSON object");
  FS_TRY(std::string query, catalog::required_text(value.get_object(), "query"));
  if (query.empty()) return invalid("query is empty");
  return query;
}

}  // namespace

std::string setup_path(std::string_view setup_token) {
  return std::string(kSetupPath) + "?token=" + std::string(setup_token);
}

http::Response Routes::finish(Result<http::Response> answer) {
  if (!answer) parts_.probe.count_refusal(answer.error().kind);
  http::Response response = answer ? *std::move(answer) : http::error_response(answer.error());
  // Answers of the page have theirs.
  if (!response.headers.find("Content-Security-Policy")) add_security_headers(response);
  if (!response.headers.find("Cache-Control")) response.headers.add("Cache-Control", "no-store");
  return response;
}

http::Route Routes::route(std::string method, std::string pattern, std::size_t body_bytes_max,
                          Method answer) {
  return {.method = std::move(method),
          .pattern = std::move(pattern),
          .body_bytes_max = body_bytes_max,
          .handler = [this, answer](http::Request& request) -> io::Task<http::Response> {
            co_return finish(co_await (this->*answer)(request));
          }};
}

std::vector<http::Route> Routes::all() {
  std::vector<http::Route> all;
  for (const Api::Route& each : Api::routes()) {
    const bool reads = each.method == "GET" || each.method == "DELETE";
    all.push_back({.method = std::string(each.method),
                   .pattern = std::string(each.pattern),
                   .body_bytes_max = reads ? kNoBodyBytesMax : kChangeBytesMax,
                   .handler = [this, &each](http::Request& request) -> io::Task<http::Response> {
                     co_return finish(co_await parts_.catalog_worker.run(
                         [&] { return parts_.api.answer(each, request); }));
                   }});
  }
  all.push_back(route("GET", "/api/v2/usage/evaluations/{project}/{environment}/{flag}",
                      kNoBodyBytesMax, &Routes::usage));
  all.push_back(route("GET", "/api/v2/projects/{project}/environments/{environment}/sdks",
                      kNoBodyBytesMax, &Routes::sdks));
  all.push_back(route("GET", "/api/internal/health", kNoBodyBytesMax, &Routes::health));
  all.push_back(route("GET", "/api/internal/live", kNoBodyBytesMax, &Routes::live));
  all.push_back(route("POST", "/api/internal/sql", kQueryBytesMax, &Routes::sql));
  all.push_back(
      route("POST", "/api/internal/setup-link", kNoBodyBytesMax, &Routes::make_setup_link));
  all.push_back(route("DELETE", "/api/internal/session", kNoBodyBytesMax, &Routes::sign_out));
  all.push_back(route("GET", std::string(kSetupPath), kNoBodyBytesMax, &Routes::setup));
  all.push_back(route("GET", std::string(kPageRoot) + "*", kNoBodyBytesMax, &Routes::page));
  return all;
}

io::Task<Result<void>> Routes::admit(const http::Request& request, catalog::Role least) {
  co_return co_await parts_.catalog_worker.run([&]() -> Result<void> {
    FS_TRY(const catalog::Identity identity, authenticate(request, parts_.catalog.access()));
    return require(identity, least);
  });
}

io::Task<Result<catalog::Environment>> Routes::environment_of(const http::Request& request) {
  FS_CO_TRY(const std::string project, required_parameter(request, "project"));
  FS_CO_TRY(const std::string key, required_parameter(request, "environment"));
  co_return co_await parts_.insight_worker.run(
      [&] { return parts_.insight.environment(project, key); });
}

Routes::Answer Routes::usage(http::Request& request) {
  FS_CO_TRY(co_await admit(request, catalog::Role::Reader));
  FS_CO_TRY(const TimeRange range, range_of(request, parts_.clock.now()));
  co_return co_await parts_.insight_worker.run([&]() -> Result<http::Response> {
    const auto& names = request.captures;
    FS_TRY(const catalog::Environment environment, parts_.insight.environment(names[0], names[1]));
    FS_TRY(std::string shape, parts_.insight.usage(environment, names[2], range));
    return http::json_response(200, std::move(shape));
  });
}

// Only the gateway knows who is connected to it.
Routes::Answer Routes::sdks(http::Request& request) {
  FS_CO_TRY(co_await admit(request, catalog::Role::Reader));
  FS_CO_TRY(const catalog::Environment environment, co_await parts_.insight_worker.run([&] {
    return parts_.insight.environment(request.captures[0], request.captures[1]);
  }));
  request.target = "/sdks/" + std::to_string(to_number(environment.id));
  co_return co_await parts_.gateway(request);
}

Routes::Answer Routes::health(http::Request& request) {
  FS_CO_TRY(co_await admit(request, catalog::Role::Reader));
  FS_CO_TRY(const catalog::Environment environment, co_await environment_of(request));
  co_return co_await parts_.insight_worker.run([&]() -> Result<http::Response> {
    FS_TRY(std::string shape, parts_.insight.health(environment.id));
    return http::json_response(200, std::move(shape));
  });
}

Routes::Answer Routes::live(http::Request& request) {
  FS_CO_TRY(co_await admit(request, catalog::Role::Reader));
  FS_CO_TRY(catalog::Environment environment, co_await environment_of(request));
  if (parts_.live.is_full())
    co_return fail(ErrorKind::Unavailable, "too many pages follow live data");
  http::Response response;
  response.headers.add("Content-Type", "text/event-stream");
  response.headers.add("X-Accel-Buffering", "no");  // a proxy in front must not hold messages back
  if (request.method == "HEAD") co_return response;
  response.stream = [&serves = parts_.live, environment = std::move(environment),
                     project = *request.query_value("project")](http::StreamWriter& writer) {
    return serves.serve(writer, environment, project);
  };
  co_return response;
}

Routes::Answer Routes::sql(http::Request& request) {
  FS_CO_TRY(co_await admit(request, catalog::Role::Admin));
  FS_CO_TRY(const std::string query, query_of(request.body));
  if (!parts_.sql) co_return fail(ErrorKind::Unavailable, "this server has no lake to query");
  parts_.probe.queries.add();
  co_return co_await parts_.sql_worker.run([&]() -> Result<http::Response> {
    FS_TRY(std::string rows, parts_.sql(query));
    return http::json_response(200, std::move(rows));
  });
}

Routes::Answer Routes::setup(http::Request& request) {
  // A HEAD of a link checker must not use the link up.
  if (request.method != "GET") co_return http::Response();
  FS_CO_TRY(const std::string token, required_parameter(request, "token"));
  FS_CO_TRY(const std::string session, co_await parts_.catalog_worker.run([&] {
    return parts_.catalog.access().redeem_setup_token(token);
  }));
  parts_.probe.sessions.add();
  const bool is_secure = request.headers.find("X-Forwarded-Proto").value_or("") == "https";
  http::Response response = redirect(std::string(kPageRoot));
  response.headers.add("Set-Cookie", session_cookie(session, is_secure));
  co_return response;
}

Routes::Answer Routes::make_setup_link(http::Request& request) {
  FS_CO_TRY(co_await admit(request, catalog::Role::Admin));
  FS_CO_TRY(const std::string token, co_await parts_.catalog_worker.run([&] {
    return parts_.catalog.access().create_setup_token();
  }));
  catalog::ObjectText out;
  out.text("setupPath", setup_path(token));
  co_return http::json_response(201, std::move(out).done());
}

Routes::Answer Routes::sign_out(http::Request& request) {
  FS_CO_TRY(co_await admit(request, catalog::Role::Reader));
  FS_CO_TRY(co_await parts_.catalog_worker.run(
      [&] { return parts_.catalog.access().end_session(session_of(request)); }));
  http::Response response;
  response.status = 204;
  response.headers.add("Set-Cookie", expired_session_cookie());
  co_return response;
}

Routes::Answer Routes::page(http::Request& request) {
  std::string_view path = request.path;
  path.remove_prefix(std::min(path.size(), kPageRoot.size()));
  co_return parts_.files.answer(path, request);
}

}  // namespace flagstream::control
