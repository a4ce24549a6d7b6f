#include "log/reader_watch.h"

#include <utility>

#include "telemetry/tell.h"

namespace flagstream::log {
namespace {

constexpr double kHalf = 0.5;
constexpr double kNear = 0.9;

telemetry::MetricName name(const char* what, const char* help, const std::string& topic,
                           const std::string& reader) {
  return {std::string("flagstream_log_reader_") + what, help,
          "topic=\"" + topic + "\",reader=\"" + reader + "\""};
}

}  // namespace

ReaderWatch::Watched::Watched(telemetry::Registry& registry, const std::string& topic,
                              const std::string& reader)
    : records(registry, name("lag_records",
                             "Records that the reader has not read, as it said about a second ago.",
                             topic, reader)),
      bytes(registry,
            name("lag_bytes", "About the bytes of the topic from the first of those records on.",
                 topic, reader)),
      seconds(registry,
              name("lag_seconds", "Since the first of those records was appended.", topic, reader)),
      retention_used(
          registry,
          name("retention_used_ratio",
               "How much of the retention window has passed for the oldest file that the reader "
               "still needs; at 1 that file may go.",
               topic, reader)) {}

ReaderWatch::ReaderWatch(std::string topic, std::string folder, io::FileSystem& files,
                         const Clock& clock, telemetry::Registry& registry)
    : topic_(std::move(topic)),
      folder_(std::move(folder)),
      files_(files),
      clock_(clock),
      registry_(registry) {}

void ReaderWatch::look(const ControlPage& page, const std::vector<SegmentExtent>& extents,
                       const TopicOptions& options) {
  const MicrosUtc now = clock_.now();
  std::map<std::string, std::unique_ptr<Watched>> seen;
  for (const RegisteredReader& reader : list_readers(files_, folder_, page.log_id)) {
    if (now - reader.updated > kRegistrationLifetimeMicros) {
      if (remove_reader(files_, folder_, reader.name)) {
        telemetry::info("a reader has not been there for a day and is not watched any more",
                        {{"topic", topic_}, {"reader", reader.name}});
      }
      continue;
    }
    const ReaderLag lag =
        lag_of(reader, page, extents, options.retention, options.retention_bytes, now);
    auto& watched = seen[reader.name];
    if (const auto known = readers_.find(reader.name); known != readers_.end()) {
      watched = std::move(known->second);
    } else {
      watched = std::make_unique<Watched>(registry_, topic_, reader.name);
    }
    watched->records.set(static_cast<double>(lag.records));
    watched->bytes.set(static_cast<double>(lag.bytes));
    watched->seconds.set(lag.seconds);
    watched->retention_used.set(lag.retention_used);
    raise(reader.name, *watched, lag);
  }
  readers_ = std::move(seen);
}

ReaderWatch::Alarm ReaderWatch::alarm_of(const ReaderLag& lag) {
  if (lag.has_fallen_off) return Alarm::FallenOff;
  if (lag.retention_used >= kNear) return Alarm::Near;
  return lag.retention_used >= kHalf ? Alarm::Half : Alarm::None;
}

// Once at each step up.
void ReaderWatch::raise(const std::string& reader, Watched& watched, const ReaderLag& lag) {
  const Alarm before = std::exchange(watched.alarm, alarm_of(lag));
  if (watched.alarm <= before) return;
  switch (watched.alarm) {
    case Alarm::None:
      return;
    case Alarm::Half:
      telemetry::warn("a reader is half way to losing records to retention",
                      {{"topic", topic_},
                       {"reader", reader},
                       {"retentionUsed", lag.retention_used},
                       {"lagRecords", lag.records},
                       {"lagSeconds", lag.seconds}});
      return;
    case Alarm::Near:
      telemetry::error("a reader is about to lose records to retention",
                       {{"topic", topic_},
                        {"reader", reader},
                        {"retentionUsed", lag.retention_used},
                        {"lagRecords", lag.records},
                        {"lagSeconds", lag.seconds}});
      return;
    case Alarm::FallenOff:
      telemetry::error("retention has taken records that a reader had not read",
                       {{"topic", topic_}, {"reader", reader}, {"lagRecords", lag.records}});
      return;
  }
}

}  // namespace flagstream::log
