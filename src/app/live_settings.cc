#include "app/live_settings.h"

#include <utility>

#include "telemetry/tell.h"

namespace flagstream::app {
namespace {

telemetry::MetricName reloads(std::string labels) {
  return {.name = "flagstream_app_settings_reloads_total",
          .help = "Times that the settings were read anew on SIGHUP, by outcome.",
          .labels = std::move(labels)};
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

}  // namespace

LiveSettings::Probe::Probe(telemetry::Registry& registry)
    : taken(registry, reloads(R"(outcome="taken")")),
      refused(registry, reloads(R"(outcome="refused")")),
      waiting(registry, {"flagstream_app_settings_waiting",
                         "Settings that have changed and count at the next start.", ""}) {}

LiveSettings::LiveSettings(Effective running, Load load, Tells tells, telemetry::Registry& registry)
    : running_(std::move(running)), load_(std::move(load)), tells_(tells), probe_(registry) {}

bool LiveSettings::reload(const Apply& apply) {
  const auto wanted = load_();
  if (!wanted) {
    probe_.refused.add();
    if (tells_ == Tells::Everything) {
      telemetry::error("the new settings cannot be used; nothing was changed",
                       {{"error", wanted.error()}});
    }
    return false;
  }
  Difference difference;
  {
    const std::lock_guard lock(mutex_);
    difference = adopt(running_, *wanted);
  }
  apply_telemetry_level(running_.config);
  apply(running_.config);
  probe_.taken.add();
  probe_.waiting.set(static_cast<double>(difference.waits_for_start.size()));
  if (!difference.adopted.empty())
    telemetry::info("settings were changed", {{"keys", joined(difference.adopted)}});
  if (tells_ == Tells::Everything && !difference.waits_for_start.empty()) {
    telemetry::warn("changed settings need a restart",
                    {{"keys", joined(difference.waits_for_start)}});
  }
  return true;
}

std::string LiveSettings::show() const {
  const std::lock_guard lock(mutex_);
  return app::show(running_);
}

void apply_telemetry_level(const Config& config) {
  const std::string& text = config.telemetry_level;
  telemetry::set_level(text == "debug"   ? telemetry::Level::Debug
                       : text == "warn"  ? telemetry::Level::Warn
                       : text == "error" ? telemetry::Level::Error
                                         : telemetry::Level::Info);
}

}  // namespace flagstream::app
