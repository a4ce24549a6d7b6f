#include "app/roles.h"

#include <algorithm>
#include <iostream>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/data_folder.h"
#include "app/role_status.h"
#include "app/supervisor.h"
#include "base/clock.h"
#include "base/id.h"
#include "gateway/gateway.h"
#include "http/forward.h"
#include "http/server.h"
#include "io/file_system.h"
#include "log/local_log.h"
#include "telemetry/metrics.h"
#include "telemetry/tell.h"

namespace flagstream::app {
namespace {

constexpr int kExitConfig = 78;  // EX_CONFIG of sysexits.h
constexpr std::chrono::milliseconds kPatience{5'000};
constexpr rlim_t kDescriptorsKept = 128;  // for files of the log and the like

telemetry::Level level_of(std::string_view text) {
  if (text == "debug") return telemetry::Level::Debug;
  if (text == "warn") return telemetry::Level::Warn;
  if (text == "error") return telemetry::Level::Error;
  return telemetry::Level::Info;
}

// Blocks the signals that end a role, so that every thread started later leaves them to wait().
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&wanted_);
    sigaddset(&wanted_, SIGINT);
    sigaddset(&wanted_, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &wanted_, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
  }
  void wait() const {
    int signal = 0;
    ::sigwait(&wanted_, &signal);
  }

 private:
  sigset_t wanted_;
};

// What every role begins with.
struct Surroundings {
  explicit Surroundings(const ServeOptions& options, std::string_view role)
      : config(options.effective.config), folder(data_folder_at(config.data_folder)) {
    telemetry::configure(level_of(config.telemetry_level), role);
    log = log::open_local_log({.folder = folder.log(),
                               .segment_bytes = config.segment_bytes,
                               .pool_segments = static_cast<std::uint32_t>(config.pool_segments),
                               .reserve_bytes = config.reserve_bytes},
                              files, clock, registry);
  }

  log::TopicOptions event_topics() const {
    return {.partitions = static_cast<log::Partition>(config.partitions),
            .retention = config.retention,
            .retention_bytes = config.retention_bytes,
            .ticks = false,
            .leave_reserve = false};
  }

  // Its own status, on data/run/NAME.sock.
  Result<std::unique_ptr<http::Server>> serve_status(const std::string& name,
                                                     const RoleStatus& status) {
    return http::Server::start({.name = "status",
                                .listen = "unix:" + folder.run() + "/" + name + ".sock",
                                .shards = 1,
                                .limits = {}},
                               status_routes("", status, registry), clock, registry);
  }

  const Config& config;
  DataFolder folder;
  const StopSignals signals;
  SystemClock clock;
  telemetry::Registry registry;
  io::FileSystem& files = io::posix_file_system();
  std::unique_ptr<log::Log> log;
};

int report(const Error& error) {
  telemetry::error("role cannot go on", {{"error", error}});
  return error.kind == ErrorKind::InvalidArgument ? kExitConfig : 1;
}

// The soft limit is raised to the hard one; what is left after the log's files bounds the
// connections.
std::size_t connections_allowed(std::uint64_t configured) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1'000;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
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

Result<gateway::Settings> gateway_settings(Surroundings& around) {
  const Config& config = around.config;
  gateway::Settings settings;
  settings.listen = config.listen;
  settings.shards = config.shards != 0 ? static_cast<std::uint32_t>(config.shards)
                                       : std::max(1u, std::thread::hardware_concurrency());
  settings.limits.connections_max = connections_allowed(config.connections_max);
  settings.state_path = around.folder.state() + "/gateway-config";
  settings.control_socket = around.folder.control_socket();
  FS_TRY(settings.gateway_id, gateway_id(around.files, around.folder));
  settings.payloads = around.event_topics();
  settings.payloads.ticks = true;
  settings.payloads.leave_reserve = true;
  return settings;
}

// The admin listener: the gateway's own status at the root, every other role's below its name.
class AdminListener {
 public:
  static Result<std::unique_ptr<AdminListener>> start(Surroundings& around,
                                                      const RoleStatus& status) {
    auto admin = std::make_unique<AdminListener>();
    std::vector<http::Route> routes = status_routes("", status, around.registry);
    for (const char* role : {"control"}) {
      admin->others_.push_back(std::make_unique<http::Forwarder>(
          http::ForwardSettings{.socket_path = around.folder.run() + "/" + role + ".sock"},
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

}  // namespace

int run_gateway(const ServeOptions& options) {
  Surroundings around(options, "gateway");
  auto settings = gateway_settings(around);
  if (!settings) return report(settings.error());
  auto gateway = gateway::Gateway::start(*std::move(settings), *around.log, around.files,
                                         around.clock, around.registry);
  if (!gateway) return report(gateway.error());
  gateway::Gateway& running = **gateway;
  auto admin = AdminListener::start(around, {.is_ready = [&running] { return running.is_ready(); },
                                             .status = [&running] { return running.status(); }});
  if (!admin) return report(admin.error());
  tell_supervisor_ready(fmt::format(R"({{"url":"http://{}","adminUrl":"http://{}"}})",
                                    running.address(), (*admin)->address()));
  around.signals.wait();
  running.stop(kPatience);
  (*admin)->stop();
  return 0;
}

}  // namespace flagstream::app
