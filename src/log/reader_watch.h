// The topic's writer watches its readers: their lag as metrics, and an alarm when retention is
// about to take what one of them has not read.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/clock.h"
#include "io/file_system.h"
#include "log/log.h"
#include "log/topic_survey.h"
#include "telemetry/metrics.h"

namespace flagstream::log {

// Not thread-safe.  All must outlive it.
class ReaderWatch {
 public:
  ReaderWatch(std::string topic, std::string folder, io::FileSystem& files, const Clock& clock,
              telemetry::Registry& registry);

  // Reads the registrations, renews the metrics and tells what has become worse.  Removes
  // registrations that nobody has renewed for a day.  `options`: by which retention goes now.
  void look(const ControlPage& page, const std::vector<SegmentExtent>& extents,
            const TopicOptions& options);

 private:
  enum class Alarm { None, Half, Near, FallenOff };
  struct Watched {
    Watched(telemetry::Registry& registry, const std::string& topic, const std::string& reader);
    telemetry::Gauge records;
    telemetry::Gauge bytes;
    telemetry::Gauge seconds;
    telemetry::Gauge retention_used;
    Alarm alarm = Alarm::None;
  };

  static Alarm alarm_of(const ReaderLag& lag);
  void raise(const std::string& reader, Watched& watched, const ReaderLag& lag);

  const std::string topic_;
  const std::string folder_;
  io::FileSystem& files_;
  const Clock& clock_;
  telemetry::Registry& registry_;
  std::map<std::string, std::unique_ptr<Watched>> readers_;
};

}  // namespace flagstream::log
