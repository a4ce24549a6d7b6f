#include "http/cross_origin.h"

namespace flagstream::http {

void allow_cross_origin(const Request& request, Response& response) {
  const auto origin = request.headers.find("Origin");
  response.headers.add("Access-Control-Allow-Origin", std::string(origin.value_or("*")));
  response.headers.add("Vary", "Origin");
  response.headers.add("Access-Control-Allow-Methods", "GET,POST,REPORT,OPTIONS");
  response.headers.add(
      "Access-Control-Allow-Headers",
      "Cache-Control,Content-Type,Content-Length,Content-Encoding,Accept-Encoding,Authorization,"
      "If-None-Match,X-LaunchDarkly-User-Agent,X-LaunchDarkly-Payload-ID,X-LaunchDarkly-Wrapper,"
      "X-LaunchDarkly-Event-Schema,X-LaunchDarkly-Tags,X-LaunchDarkly-Instance-Id,"
      "X-API-Key");
  response.headers.add("Access-Control-Expose-Headers",
                       "Date,ETag,X-LD-EnvID,X-LD-FD-Fallback,X-LD-FD-Fallback-TTL,Retry-After");
  response.headers.add("Access-Control-Allow-Credentials", "false");
  response.headers.add("Access-Control-Max-Age", "300");
}

Response preflight_response(const Request& request) {
  Response response;
  response.status = 204;
  allow_cross_origin(request, response);
  return response;
}

}  // namespace flagstream::http
