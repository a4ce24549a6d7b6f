#include "app/surroundings.h"

#include <sys/resource.h>
#include <unistd.h>

#include "log/local_log.h"
#include "telemetry/tell.h"

namespace flagstream::app {
namespace {

telemetry::Level level_of(std::string_view text) {
  if (text == "debug") return telemetry::Level::Debug;
  if (text == "warn") return telemetry::Level::Warn;
  if (text == "error") return telemetry::Level::Error;
  return telemetry::Level::Info;
}

// The soft limit of descriptors is for programs that use select(): a stage's stores alone may hold
// more files open.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

StopSignals::StopSignals(bool takes_hangup) {
  sigemptyset(&wanted_);
  sigaddset(&wanted_, SIGINT);
  sigaddset(&wanted_, SIGTERM);
  if (takes_hangup) sigaddset(&wanted_, SIGHUP);
  ::pthread_sigmask(SIG_BLOCK, &wanted_, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

void StopSignals::wait(const std::function<void()>& on_hangup) const {
  for (int signal = SIGHUP; signal == SIGHUP;) {
    ::sigwait(&wanted_, &signal);
    if (signal == SIGHUP && on_hangup) on_hangup();
  }
}

void StopSignals::raise() { ::kill(::getpid(), SIGTERM); }

Surroundings::Surroundings(const ServeOptions& options, std::string_view role)
    : config(options.effective.config),
      folder(data_folder_at(config.data_folder)),
      signals(!config.tls_listen.empty()) {
  telemetry::configure(level_of(config.telemetry_level), role);
  raise_descriptor_limit();
  log = log::open_local_log({.folder = folder.log(),
                             .segment_bytes = config.segment_bytes,
                             .pool_segments = static_cast<std::uint32_t>(config.pool_segments),
                             .reserve_bytes = config.reserve_bytes,
                             .scrub_interval = config.scrub_interval},
                            files, clock, registry);
}

log::TopicOptions Surroundings::event_topics() const {
  return {.partitions = static_cast<log::Partition>(config.partitions),
          .retention = config.retention,
          .retention_bytes = config.retention_bytes,
          .ticks = false,
          .refuse_at = log::DiskMark::Critical};
}

Result<std::unique_ptr<http::Server>> Surroundings::serve_status(const std::string& name,
                                                                 const RoleStatus& status,
                                                                 std::vector<http::Route> more) {
  for (http::Route& route : status_routes("", status, registry)) more.push_back(std::move(route));
  return http::Server::start({.name = "status",
                              .listen = "unix:" + folder.run() + "/" + name + "-status.sock",
                              .shards = 1,
                              .limits = {}},
                             std::move(more), clock, registry);
}

int report(const Error& error) {
  telemetry::error("role cannot go on", {{"error", error}});
  return error.kind == ErrorKind::InvalidArgument ? kExitConfig : 1;
}

}  // namespace flagstream::app
