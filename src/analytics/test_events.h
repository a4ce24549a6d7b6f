// Events as transform makes them, in one expression each.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>

#include "analytics/test_results.h"
#include "events/event.pb.h"

namespace flagstream::analytics {

// Every event is of a payload of its own, received at the event's time.
class EventMaker {
 public:
  events::proto::Event event(events::proto::EventKind kind, MicrosUtc time) {
    events::proto::Event event;
    event.mutable_source()->set_log_id(kPayloadsLog.to_bytes());
    event.mutable_source()->set_offset(next_payload_++);
    event.set_kind(kind);
    event.set_environment_id(7);
    event.set_time_us(time);
    event.set_received_us(time);
    return event;
  }
  events::proto::Event summary(MicrosUtc time, std::string flag,
                               std::optional<std::int32_t> variation,
                               std::optional<std::int64_t> version, std::int64_t count) {
    events::proto::Event made = event(events::proto::SUMMARY, time);
    made.set_key(std::move(flag));
    if (variation) made.set_variation(*variation);
    if (version) made.set_version(*version);
    made.set_count(count);
    return made;
  }
  using Contexts = std::initializer_list<std::pair<const char*, const char*>>;
  events::proto::Event seen(events::proto::EventKind kind, MicrosUtc time, Contexts contexts) {
    events::proto::Event made = event(kind, time);
    for (const auto& [context_kind, key] : contexts) {
      auto& context = *made.add_contexts();
      context.set_kind(context_kind);
      context.set_key(key);
    }
    return made;
  }
  events::proto::Event custom(MicrosUtc time, std::string key) {
    events::proto::Event made = event(events::proto::CUSTOM, time);
    made.set_key(std::move(key));
    return made;
  }
  events::proto::Event payload(MicrosUtc time, events::proto::Event::Outcome outcome,
                               std::uint32_t accepted, std::uint32_t rejected) {
    events::proto::Event made = event(events::proto::PAYLOAD, time);
    made.mutable_source()->set_index(accepted + rejected);
    made.set_outcome(outcome);
    made.set_events_accepted(accepted);
    made.set_events_rejected(rejected);
    made.set_sdk_name("Go");
    made.set_sdk_version("7.0");
    return made;
  }

 private:
  std::uint64_t next_payload_ = 100;
};

}  // namespace flagstream::analytics
