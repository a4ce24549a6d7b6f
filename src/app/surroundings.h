// What every role begins with: settings, the data folder, the log, signals and metrics.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <signal.h>

#include "app/data_folder.h"
#include "app/exit_status.h"
#include "app/live_settings.h"
#include "app/role_status.h"
#include "app/serve.h"
#include "base/clock.h"
#include "http/server.h"
#include "io/file_system.h"
#include "log/log.h"
#include "telemetry/metrics.h"

namespace flagstream::app {

// What a listener gives requests that run when it is asked to stop.
inline constexpr std::chrono::milliseconds kPatience{5'000};

// Blocks the signals that end a role, so that every thread started later leaves them to wait().
class StopSignals {
 public:
  StopSignals();
  // Until one of them comes.  SIGHUP ends nothing: it calls `on_hangup`.
  void wait(const std::function<void()>& on_hangup) const;
  // Makes wait() return, from any thread: a role that cannot go on ends as if it had been asked to.
  static void raise();

 private:
  sigset_t wanted_;
};

// Members are public and in the order of their use.  One per process.
struct Surroundings {
  Surroundings(const ServeOptions& options, std::string_view role);

  log::TopicOptions event_topics() const;
  // Until the role is asked to stop.  On SIGHUP the settings are read anew and handed to `apply`.
  void wait(const LiveSettings::Apply& apply);
  // The role's own status, and `more`, on data/run/NAME-status.sock.
  Result<std::unique_ptr<http::Server>> serve_status(const std::string& name,
                                                     const RoleStatus& status,
                                                     std::vector<http::Route> more = {});

  const Config& config;  // at the start
  DataFolder folder;
  const StopSignals signals;
  SystemClock clock;
  telemetry::Registry registry;
  io::FileSystem& files = io::posix_file_system();
  LiveSettings live;
  std::unique_ptr<log::Log> log;
};

// Tells why the role ends; returns its exit status.
int report(const Error& error);

}  // namespace flagstream::app
