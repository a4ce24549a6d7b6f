#include "app/surroundings.h"

#include <algorithm>

#include <sys/resource.h>
#include <unistd.h>

#include "app/supervisor.h"
#include "log/local_log.h"
#include "telemetry/tell.h"

namespace flagstream::app {
namespace {

// The soft limit of descriptors is for programs that use select(): a stage's stores alone may hold
// more files open.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

StopSignals::StopSignals() {
  sigemptyset(&wanted_);
  sigaddset(&wanted_, SIGINT);
  sigaddset(&wanted_, SIGTERM);
  sigaddset(&wanted_, SIGHUP);
  ::pthread_sigmask(SIG_BLOCK, &wanted_, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

void StopSignals::wait(const std::function<void()>& on_hangup) const {
  for (int signal = SIGHUP; signal == SIGHUP;) {
    ::sigwait(&wanted_, &signal);
    if (signal == SIGHUP) on_hangup();
  }
}

void StopSignals::raise() { ::kill(::getpid(), SIGTERM); }

Surroundings::Surroundings(const ServeOptions& options, std::string_view role)
    : config(options.effective.config),
      folder(data_folder_at(config.data_folder)),
      live(options.effective, options.load,
           has_supervisor() ? Tells::WhatItAdopts : Tells::Everything, registry) {
  telemetry::configure(telemetry::Level::Info, role);
  apply_telemetry_level(config);
  raise_descriptor_limit();
  log = log::open_local_log(
      {.folder = folder.log(),
       .segment_bytes = config.segment_bytes,
       .pool_segments = static_cast<std::uint32_t>(config.pool_segments),
       .reserve_bytes = config.reserve_bytes,
       .scrub_interval = config.scrub_interval,
       // Not the bound of the front door, which shares it out fairly.
       .queue_bytes_max = std::max<std::size_t>(64u << 20, 2 * config.in_flight_bytes),
       .compression = config.compression},
      files, clock, registry);
}

void Surroundings::wait(const LiveSettings::Apply& apply) {
  signals.wait([&] { live.reload(apply); });
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
