// An event as it lies in its record: text is viewed where it is, nothing is copied.
//
// Reads the same Protobuf as events::decode_event() and accepts exactly the same bytes (a test
// compares the two), several times faster: a lake row needs each field once and keeps none.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "events/event.h"

namespace flagstream::lake {

struct ContextKeyView {
  std::string_view kind;
  std::string_view key;
};

// The fields of events::proto::Event that rows need, under the same names.  Views are into the
// record.
struct EventView {
  std::string_view source_log;  // bytes of the log id
  std::uint64_t source_offset = 0;
  std::uint32_t source_index = 0;
  std::uint32_t source_part = 0;
  events::proto::EventKind kind = events::proto::EVENT_UNKNOWN;
  std::uint64_t environment_id = 0;
  std::int64_t received_us = 0;
  std::int64_t time_us = 0;
  std::string_view key;
  std::optional<std::int32_t> variation;
  std::optional<std::int64_t> version;
  std::string_view value_json;
  std::string_view default_json;
  std::string_view reason_json;
  std::string_view prereq_of;
  std::string_view data_json;
  std::optional<std::int64_t> metric_micros;
  std::string_view url;
  std::string_view selector;
  std::optional<std::int64_t> sampling_ratio;
  std::vector<ContextKeyView> contexts;
  std::string_view context_json;
  std::vector<std::string_view> context_kinds;
  std::int64_t count = 0;
  bool unknown_flag = false;
  std::int64_t start_us = 0;
  std::string_view sdk_name;
  std::string_view sdk_version;
  std::string_view application_id;
  std::string_view application_version;
  std::uint32_t noise = 0;
  std::string_view raw_json;
  bool in_experiment = false;
  std::int64_t dropped_events = 0;

  // Everything as in an empty message; keeps memory.
  void clear();
};

// Replaces the contents of `event`.  Errors as of events::decode_event().
Result<void> view_event(std::string_view record, EventView& event);

}  // namespace flagstream::lake
