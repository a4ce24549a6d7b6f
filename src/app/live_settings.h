// The settings in force, and what SIGHUP changes of them.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "app/config.h"
#include "base/error.h"
#include "telemetry/metrics.h"

namespace flagstream::app {

// Who tells what a role under a supervisor would only repeat: settings that cannot be used, and
// those that wait for a start.
enum class Tells { Everything, WhatItAdopts };

// Thread-safe, except that reload() has one caller at a time.
class LiveSettings {
 public:
  using Load = std::function<Result<Effective>()>;
  // Called with the settings in force, those that were adopted included.
  using Apply = std::function<void(const Config&)>;

  LiveSettings(Effective running, Load load, Tells tells, telemetry::Registry& registry);

  // Reads the settings anew from where they came from.  False: they cannot be used, and nothing has
  // changed.
  bool reload(const Apply& apply);
  // As `flagstream config show` would print it.
  std::string show() const;

 private:
  struct Probe {
    explicit Probe(telemetry::Registry& registry);

    telemetry::Counter taken;
    telemetry::Counter refused;
    telemetry::Gauge waiting;
  };

  mutable std::mutex mutex_;
  Effective running_;
  const Load load_;
  const Tells tells_;
  Probe probe_;
};

// Sets what every process has: the level of its telemetry.
void apply_telemetry_level(const Config& config);

}  // namespace flagstream::app
