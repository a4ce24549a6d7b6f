#include <algorithm>
#include <thread>

#include <fmt/format.h>
#include <sys/resource.h>

#include "app/log_sizing.h"
#include "app/roles.h"
#include "app/supervisor.h"
#include "app/surroundings.h"
#include "app/tls_settings.h"
#include "base/id.h"
#include "gateway/gateway.h"
#include "http/forward.h"
#include "telemetry/tell.h"

namespace flagstream::app {
namespace {

constexpr rlim_t kDescriptorsKept = 128;  // for files of the log and the like

// What is left after the log's files bounds the connections.
std::size_t connections_allowed(std::uint64_t configured) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1'000;
  const rlim_t room = limit.rlim_cur > 2 * kDescriptorsKept ? limit.rlim_cur - kDescriptorsKept
                                                            : limit.rlim_cur / 2;
  const auto possible = static_cast<std::size_t>(std::min<rlim_t>(room, 1'000'000));
  if (configured == 0) return possible;
  if (configured > possible) {
    telemetry::warn("descriptor limit allows fewer connections than configured",
                    {{"configured", configured}, {"possible", possible}});
  }
  return std::min<std::size_t>(configured, possible);
}

// Kept in the data folder: a gateway is the same one after a restart.
Result<std::string> gateway_id(io::FileSystem& files, const DataFolder& folder) {
  const std::string path = folder.state() + "/gateway-id";
  if (files.exists(path)) return files.read_file(path);
  const std::string id = random_hex(16);
  FS_TRY(files.replace_file(path, id));
  return id;
}

ingest::Rates rates(const Config& config) {
  return {.bytes_per_second = config.environment_bytes_per_second,
          .events_per_second = config.environment_events_per_second,
          .burst = config.ingest_burst};
}

Result<gateway::Settings> gateway_settings(Surroundings& around) {
  const Config& config = around.config;
  gateway::Settings settings;
  settings.listen = config.listen;
  settings.tls = tls_settings(config);
  FS_TRY(settings.trusted_proxies, http::TrustedProxies::parse(config.trusted_proxies));
  settings.shards = config.shards != 0 ? static_cast<std::uint32_t>(config.shards)
                                       : std::max(1u, std::thread::hardware_concurrency());
  settings.limits.connections_max = connections_allowed(config.connections_max);
  settings.limits.connections_per_address_max = config.connections_per_address;
  settings.events.in_flight_bytes_max = config.in_flight_bytes;
  settings.events.rates = rates(config);
  settings.state_path = around.folder.state() + "/gateway-config";
  settings.control_socket = around.folder.control_socket();
  settings.delivery = {
      .heartbeat = std::chrono::duration_cast<std::chrono::milliseconds>(config.heartbeat),
      .max_stream_age =
          std::chrono::duration_cast<std::chrono::milliseconds>(config.max_stream_age),
      .php_cache_ttl = std::chrono::duration_cast<std::chrono::seconds>(config.php_cache_ttl),
      .has_fdv2 = config.fdv2};
  FS_TRY(settings.gateway_id, gateway_id(around.files, around.folder));
  settings.payloads = around.event_topics();
  settings.payloads.ticks = true;
  settings.payloads.refuse_at = log::DiskMark::Reserve;
  settings.status_page = config.status_page;
  settings.version = FLAGSTREAM_VERSION;
  return settings;
}

// The admin listener: the gateway's own status at the root, every other role's below its name.
class AdminListener {
 public:
  static Result<std::unique_ptr<AdminListener>> start(Surroundings& around,
                                                      const RoleStatus& status,
                                                      std::vector<http::Route> more) {
    auto admin = std::make_unique<AdminListener>();
    std::vector<http::Route> routes = status_routes("", status, around.registry);
    for (http::Route& route : more) routes.push_back(std::move(route));
    routes.push_back({.method = "GET",
                      .pattern = "/settings",
                      .body_bytes_max = 0,
                      .handler = [&live = around.live](http::Request&) -> io::Task<http::Response> {
                        http::Response response;
                        response.headers.add("Content-Type", "text/plain; charset=utf-8");
                        response.body = live.show();
                        co_return response;
                      }});
    for (const char* role : {"control", "processor", "lake"}) {
      admin->others_.push_back(std::make_unique<http::Forwarder>(
          http::ForwardSettings{.socket_path = around.folder.run() + "/" + role + "-status.sock",
                                .role = std::string(role) + "-status"},
          around.registry));
      http::Handler forward = admin->others_.back()->handler();
      for (const char* path : {"/livez", "/readyz", "/status", "/metrics"}) {
        routes.push_back({.method = "GET",
                          .pattern = std::string("/") + role + path,
                          .body_bytes_max = 0,
                          .handler = [forward, path](http::Request& request) {
                            request.target = path;
                            return forward(request);
                          }});
      }
    }
    FS_TRY(admin->server_,
           http::Server::start(
               {.name = "admin", .listen = around.config.admin_listen, .shards = 1, .limits = {}},
               std::move(routes), around.clock, around.registry));
    return admin;
  }
  const std::string& address() const { return server_->address(); }
  void stop() { server_->stop(kPatience); }

 private:
  std::vector<std::unique_ptr<http::Forwarder>> others_;
  std::unique_ptr<http::Server> server_;
};

std::string announcement(const gateway::Gateway& gateway, const std::string& admin_address) {
  const std::string secure =
      gateway.tls_address().empty() ? "" : "https://" + gateway.tls_address();
  const std::string plain = gateway.address().empty() ? secure : "http://" + gateway.address();
  return fmt::format(R"({{"url":"{}","tlsUrl":"{}","adminUrl":"http://{}"}})", plain, secure,
                     admin_address);
}

}  // namespace

int run_gateway(const ServeOptions& options) {
  Surroundings around(options, "gateway");
  auto settings = gateway_settings(around);
  if (!settings) return report(settings.error());
  auto gateway = gateway::Gateway::start(*std::move(settings), *around.log, around.files,
                                         around.clock, around.registry);
  if (!gateway) return report(gateway.error());
  gateway::Gateway& running = **gateway;
  const RoleStatus status{.is_ready = [&running] { return running.is_ready(); },
                          .status = [&running] { return running.status(); }};
  auto admin = AdminListener::start(around, status, running.operator_routes());
  if (!admin) return report(admin.error());
  // Control asks here.
  auto socket = around.serve_status("gateway", status, running.operator_routes());
  if (!socket) return report(socket.error());
  tell_supervisor_ready(announcement(running, (*admin)->address()));
  const Config& config = around.config;
  const auto sizing = size_log(*around.log, around.files, around.folder.log(), config.retention,
                               config.retention_bytes);
  if (sizing) {
    tell_sizing(*sizing, config.retention);
  } else {
    telemetry::warn("what the log needs of the disk cannot be told", {{"error", sizing.error()}});
  }
  around.wait([&running](const Config& config) {
    running.set_rates(rates(config));
    running.set_retention(config.retention, config.retention_bytes);
    running.reload_certificate();
  });
  running.begin_leaving();
  if (around.config.drain_delay.count() > 0) {
    telemetry::info("not ready any more; stops after the drain delay",
                    {{"seconds", static_cast<double>(around.config.drain_delay.count()) / 1e6}});
    std::this_thread::sleep_for(around.config.drain_delay);
  }
  running.stop(kPatience);
  (*admin)->stop();
  (*socket)->stop(kPatience);
  return 0;
}

}  // namespace flagstream::app
