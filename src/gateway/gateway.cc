#include "gateway/gateway.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <iterator>
#include <thread>

#include <fmt/format.h>

#include "delivery/access.h"
#include "delivery/client_side.h"
#include "delivery/evaluators.h"
#include "delivery/ofrep.h"
#include "delivery/server_side.h"
#include "environment/environments.h"
#include "environment/memberships.h"
#include "gateway/authenticate.h"
#include "gateway/status_page.h"
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

ingest::EventsApi::Collaborators collaborators(log::Appender& payloads, delivery::Access& access,
                                               const Clock& clock, telemetry::Registry& registry) {
  return {.payloads = payloads,
          .clock = clock,
          .registry = registry,
          .authenticate = authenticate_with(access),
          .inflate = [](std::string_view gzip, std::string& out) {
            return http::inflate_gzip(gzip, {}, out);
          }};
}

// A change of a big segment is shown with its memberships; where they cannot be read, late ones are
// better than no changes at all.
std::function<void(std::uint64_t)> read_with(environment::Memberships& memberships,
                                             std::chrono::milliseconds patience) {
  return [&memberships, patience](std::uint64_t through) {
    const auto reached = memberships.wait_for(through, patience);
    if (!reached) telemetry::warn("memberships of big segments are late", {{"through", through}});
  };
}

delivery::Settings counting(delivery::Settings settings, delivery::ConnectedSdks& sdks) {
  settings.sdks = &sdks;
  return settings;
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
        std::unique_ptr<environment::Memberships> memberships,
        std::unique_ptr<environment::Environments> environments, const Clock& clock,
        telemetry::Registry& registry)
      : payloads_(std::move(payloads)),
        memberships_(std::move(memberships)),
        environments_(std::move(environments)),
        access_(*environments_, registry),
        events_api_({.partitions = settings.payloads.partitions,
                     .gateway_id = settings.gateway_id,
                     .limits = settings.events},
                    collaborators(*payloads_, access_, clock, registry)),
        members_(*memberships_),
        evaluators_(&members_),
        connected_sdks_(clock, registry),
        status_page_(*environments_, clock, settings.version),
        server_side_(counting(settings.delivery, connected_sdks_), access_, *environments_, clock,
                     registry),
        client_side_({.heartbeat = settings.delivery.heartbeat,
                      .max_stream_age = settings.delivery.max_stream_age,
                      .sdks = &connected_sdks_},
                     {.access = access_,
                      .evaluators = evaluators_,
                      .environments = *environments_,
                      .clock = clock,
                      .registry = registry}),
        ofrep_({.heartbeat = settings.delivery.heartbeat,
                .max_stream_age = settings.delivery.max_stream_age,
                .sdks = &connected_sdks_},
               access_, evaluators_, *environments_, clock, registry),
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
  void begin_leaving() { is_leaving_ = true; }
  void set_rates(const ingest::Rates& rates) { events_api_.set_rates(rates); }
  void set_retention(std::chrono::microseconds retention, std::uint64_t bytes) {
    payloads_->set_retention(retention, bytes);
  }
  bool is_ready() const { return environments_->has_configuration() && !is_leaving_; }

  std::string status() const {
    return fmt::format(R"({{"role":"gateway","ready":{},"configAgeSeconds":{:.3f}}})", is_ready(),
                       static_cast<double>(environments_->age()) / kMicrosPerSecond);
  }

  std::vector<http::Route> operator_routes() {
    return {
        status_route("/status/environments"),
        fixed("/sdks/{environment}", [this](http::Request& request) -> io::Task<http::Response> {
          const std::string& text = request.captures.at(0);
          const char* const end = text.data() + text.size();
          std::uint64_t number = 0;
          const auto [stop, error] = std::from_chars(text.data(), end, number);
          if (error != std::errc() || stop != end)
            co_return http::error_response(
                Error(ErrorKind::InvalidArgument, "name the environment by its number"));
          co_return http::json_response(200, connected_sdks_.list(EnvironmentId{number}));
        })};
  }

  // Requests end before what they use does.
  void stop(std::chrono::milliseconds patience) {
    begin_leaving();
    server_->stop(patience);
  }

 private:
  http::Route status_route(std::string pattern) {
    return fixed(std::move(pattern), [this](http::Request&) -> io::Task<http::Response> {
      http::Response response = http::json_response(200, status_page_.json());
      response.headers.add("Cache-Control", "no-store");
      co_return response;
    });
  }

  std::vector<http::Route> routes() {
    std::vector<http::Route> all = server_side_.routes();
    std::ranges::move(client_side_.routes(), std::back_inserter(all));
    for (http::Route& route : ofrep_.routes()) all.push_back(std::move(route));
    for (ingest::Endpoint& endpoint : events_api_.endpoints()) {
      http::Route route{.method = std::move(endpoint.method),
                        .pattern = std::move(endpoint.path),
                        .body_bytes_max = endpoint.body_bytes_max,
                        .handler = std::move(endpoint.handler),
                        .admit = std::move(endpoint.admit)};
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
    if (settings_.status_page) all.push_back(status_route("/status"));
    all.push_back(fixed("/livez", [](http::Request&) -> io::Task<http::Response> {
      co_return http::json_response(200, R"({"live":true})");
    }));
    all.push_back(fixed("/readyz", [this](http::Request&) -> io::Task<http::Response> {
      co_return http::json_response(is_ready() ? 200 : 503, status());
    }));
    return all;
  }

  std::unique_ptr<log::Appender> payloads_;
  std::unique_ptr<environment::Memberships> memberships_;
  std::unique_ptr<environment::Environments> environments_;
  delivery::Access access_;
  ingest::EventsApi events_api_;
  delivery::BigSegmentMembers members_;
  delivery::Evaluators evaluators_;
  delivery::ConnectedSdks connected_sdks_;
  StatusPage status_page_;
  delivery::ServerSide server_side_;
  delivery::ClientSide client_side_;
  delivery::Ofrep ofrep_;
  http::Forwarder to_control_;
  Settings settings_;
  std::atomic<bool> is_leaving_{false};
  std::unique_ptr<http::Server> server_;
};

Gateway::Gateway(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Gateway::~Gateway() = default;

Result<std::unique_ptr<Gateway>> Gateway::start(Settings settings, log::Log& log,
                                                io::FileSystem& files, const Clock& clock,
                                                telemetry::Registry& registry) {
  FS_TRY(auto payloads, open_payloads(settings, log, clock));
  auto memberships = environment::Memberships::start(log, clock, registry);
  FS_TRY(auto environments,
         environment::Environments::start(
             {.state_path = settings.state_path,
              .catch_up_deadline = settings.catch_up_deadline,
              .read_memberships = read_with(*memberships, settings.catch_up_deadline)},
             log, files, clock, registry));
  auto parts =
      std::make_unique<Parts>(std::move(settings), std::move(payloads), std::move(memberships),
                              std::move(environments), clock, registry);
  FS_TRY(parts->listen(clock, registry));
  return std::unique_ptr<Gateway>(new Gateway(std::move(parts)));
}

const std::string& Gateway::address() const { return parts_->address(); }
const std::string& Gateway::tls_address() const { return parts_->tls_address(); }
void Gateway::reload_certificate() { parts_->reload_certificate(); }
void Gateway::begin_leaving() { parts_->begin_leaving(); }
void Gateway::set_rates(const ingest::Rates& rates) { parts_->set_rates(rates); }
void Gateway::set_retention(std::chrono::microseconds retention, std::uint64_t retention_bytes) {
  parts_->set_retention(retention, retention_bytes);
}
bool Gateway::is_ready() const { return parts_->is_ready(); }
std::string Gateway::status() const { return parts_->status(); }
std::vector<http::Route> Gateway::operator_routes() { return parts_->operator_routes(); }
void Gateway::stop(std::chrono::milliseconds patience) { parts_->stop(patience); }

}  // namespace flagstream::gateway
