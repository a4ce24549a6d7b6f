#include "gateway/gateway.h"

#include <thread>

#include <fmt/format.h>

#include "delivery/server_side.h"
#include "environment/environments.h"
#include "gateway/authenticate.h"
#include "http/cross_origin.h"
#include "http/forward.h"
#include "http/inflate.h"
#include "ingest/events_api.h"
#include "telemetry/tell.h"

namespace flagstream::gateway {
namespace {

constexpr std::size_t kForwardedBodyBytesMax = 2u << 20;
constexpr std::int64_t kHandOverMicros = 5 * kMicrosPerSecond;

// Another gateway may still be letting go of the topic.
Result<std::unique_ptr<log::Appender>> open_payloads(const Settings& settings, log::Log& log,
                                                     const Clock& clock) {
  const std::int64_t give_up = clock.monotonic() + kHandOverMicros;
  for (;;) {
    auto appender = log.open_appender("payloads", settings.payloads);
    if (appender || appender.error().kind != ErrorKind::Conflict || clock.monotonic() > give_up)
      return appender;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

ingest::EventsApi::Collaborators collaborators(log::Appender& payloads,
                                               environment::Environments& environments,
                                               const Clock& clock, telemetry::Registry& registry) {
  return {.payloads = payloads,
          .clock = clock,
          .registry = registry,
          .authenticate = authenticate_with(environments),
          .inflate = [](std::string_view gzip, std::string& out) {
            return http::inflate_gzip(gzip, {}, out);
          }};
}

http::Route fixed(std::string pattern, http::Handler handler) {
  return {.method = "GET",
          .pattern = std::move(pattern),
          .body_bytes_max = 0,
          .handler = std::move(handler)};
}

}  // namespace

class Gateway::Parts {
 public:
  Parts(Settings settings, std::unique_ptr<log::Appender> payloads,
        std::unique_ptr<environment::Environments> environments, const Clock& clock,
        telemetry::Registry& registry)
      : payloads_(std::move(payloads)),
        environments_(std::move(environments)),
        events_api_({.partitions = settings.payloads.partitions,
                     .gateway_id = settings.gateway_id,
                     .limits = {}},
                    collaborators(*payloads_, *environments_, clock, registry)),
        access_(*environments_, registry),
        server_side_({}, access_, *environments_, registry),
        to_control_({.socket_path = settings.control_socket, .role = "control"}, registry),
        settings_(std::move(settings)) {}

  Result<void> listen(const Clock& clock, telemetry::Registry& registry) {
    FS_TRY(server_, http::Server::start({.name = "public",
                                         .listen = settings_.listen,
                                         .shards = settings_.shards,
                                         .limits = settings_.limits,
                                         .tls = settings_.tls,
                                         .trusted_proxies = settings_.trusted_proxies},
                                        routes(), clock, registry));
    return {};
  }

  const std::string& address() const { return server_->address(); }
  const std::string& tls_address() const { return server_->tls_address(); }
  void reload_certificate() { server_->reload_certificate(); }
  bool is_ready() const { return environments_->has_configuration(); }

  std::string status() const {
    return fmt::format(R"({{"role":"gateway","ready":{},"configAgeSeconds":{:.3f}}})", is_ready(),
                       static_cast<double>(environments_->age()) / kMicrosPerSecond);
  }

  // Requests end before what they use does.
  void stop(std::chrono::milliseconds patience) { server_->stop(patience); }

 private:
  std::vector<http::Route> routes() {
    std::vector<http::Route> all = server_side_.routes();
    for (ingest::Endpoint& endpoint : events_api_.endpoints()) {
      http::Route route{.method = std::move(endpoint.method),
                        .pattern = std::move(endpoint.path),
                        .body_bytes_max = endpoint.body_bytes_max,
                        .handler = std::move(endpoint.handler)};
      if (endpoint.cross_origin) route.complete_error = http::allow_cross_origin;
      all.push_back(std::move(route));
    }
    for (const char* pattern : {"/api/*", "/ui/*"}) {
      all.push_back({.method = "*",
                     .pattern = pattern,
                     .body_bytes_max = kForwardedBodyBytesMax,
                     .handler = to_control_.handler()});
    }
    all.push_back(fixed("/", [](http::Request&) -> io::Task<http::Response> {
      http::Response response;
      response.status = 302;
      response.headers.add("Location", "/ui/");
      co_return response;
    }));
    all.push_back(fixed("/livez", [](http::Request&) -> io::Task<http::Response> {
      co_return http::json_response(200, R"({"live":true})");
    }));
    all.push_back(fixed("/readyz", [this](http::Request&) -> io::Task<http::Response> {
      co_return http::json_response(is_ready() ? 200 : 503, status());
    }));
    return all;
  }

  std::unique_ptr<log::Appender> payloads_;
  std::unique_ptr<environment::Environments> environments_;
  ingest::EventsApi events_api_;
  delivery::Access access_;
  delivery::ServerSide server_side_;
  http::Forwarder to_control_;
  Settings settings_;
  std::unique_ptr<http::Server> server_;
};

Gateway::Gateway(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Gateway::~Gateway() = default;

Result<std::unique_ptr<Gateway>> Gateway::start(Settings settings, log::Log& log,
                                                io::FileSystem& files, const Clock& clock,
                                                telemetry::Registry& registry) {
  FS_TRY(auto payloads, open_payloads(settings, log, clock));
  FS_TRY(auto environments,
         environment::Environments::start(
             {.state_path = settings.state_path, .catch_up_deadline = settings.catch_up_deadline},
             log, files, clock, registry));
  auto parts = std::make_unique<Parts>(std::move(settings), std::move(payloads),
                                       std::move(environments), clock, registry);
  FS_TRY(parts->listen(clock, registry));
  return std::unique_ptr<Gateway>(new Gateway(std::move(parts)));
}

const std::string& Gateway::address() const { return parts_->address(); }
const std::string& Gateway::tls_address() const { return parts_->tls_address(); }
void Gateway::reload_certificate() { parts_->reload_certificate(); }
bool Gateway::is_ready() const { return parts_->is_ready(); }
std::string Gateway::status() const { return parts_->status(); }
void Gateway::stop(std::chrono::milliseconds patience) { parts_->stop(patience); }

}  // namespace flagstream::gateway
