#include "http/server_probe.h"

#include <fmt/format.h>

namespace flagstream::http {
namespace {

telemetry::MetricName named(const std::string& server, const char* what, const char* help,
                            const char* more = "") {
  return {std::string("flagstream_http_") + what, help,
          fmt::format("server=\"{}\"{}", server, more)};
}

}  // namespace

ServerProbe::ServerProbe(telemetry::Registry& r, const std::string& s)
    : requests_2xx(r, named(s, "requests_total", "Requests answered.", ",status=\"2xx\"")),
      requests_3xx(r, named(s, "requests_total", "Requests answered.", ",status=\"3xx\"")),
      requests_4xx(r, named(s, "requests_total", "Requests answered.", ",status=\"4xx\"")),
      requests_5xx(r, named(s, "requests_total", "Requests answered.", ",status=\"5xx\"")),
      connections_refused(r, named(s, "connections_refused_total",
                                   "Connections refused because there were too many.")),
      address_refused(r, named(s, "address_refused_total",
                               "Connections refused because their address had too many.")),
      parse_errors(r, named(s, "parse_errors_total", "Requests that were not HTTP.")),
      timeouts(r, named(s, "timeouts_total", "Connections closed because a deadline passed.")),
      handler_failures(r, named(s, "handler_failures_total", "Handlers that threw.")),
      bytes_in(r, named(s, "received_bytes_total", "Bytes received.")),
      bytes_out(r, named(s, "sent_bytes_total", "Bytes sent.")),
      connections(r, named(s, "connections", "Open connections.")),
      streams(r, named(s, "streams", "Open streams.")),
      request_seconds(r, named(s, "request_seconds",
                               "From the first byte of a request to its written answer.")) {}

}  // namespace flagstream::http
