#include "app/role_status.h"

namespace flagstream::app {
namespace {

http::Route get(std::string pattern, std::function<http::Response()> answer) {
  return {.method = "GET",
          .pattern = std::move(pattern),
          .body_bytes_max = 0,
          .handler = [answer = std::move(answer)](http::Request&) -> io::Task<http::Response> {
            co_return answer();
          }};
}

}  // namespace

std::vector<http::Route> status_routes(const std::string& prefix, const RoleStatus& status,
                                       const telemetry::Registry& registry) {
  return {
      get(prefix + "/livez", [] { return http::json_response(200, R"({"live":true})"); }),
      get(prefix + "/readyz",
          [status] { return http::json_response(status.is_ready() ? 200 : 503, status.status()); }),
      get(prefix + "/status", [status] { return http::json_response(200, status.status()); }),
      get(prefix + "/metrics",
          [&registry] {
            http::Response response;
            response.headers.add("Content-Type", "text/plain; version=0.0.4");
            response.body = registry.scrape();
            return response;
          }),
  };
}

}  // namespace flagstream::app
