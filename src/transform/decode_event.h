// One SDK event as records of kind Event.
#pragma once

#include <vector>

#include "events/event_view.h"
#include "transform/decode_context.h"
#include "transform/decode_value.h"

namespace flagstream::transform {

// Bounds on what one payload may become: names and defaults of a summary are repeated in each of
// its records.
inline constexpr std::size_t kRecordsPerPayloadMax = 65'536;
inline constexpr std::size_t kRepeatedBytesPerPayloadMax = 32 << 20;

using EventList = std::vector<events::EventView>;

// What a feature event says of its own use.  Only where the SDK left it to us to summarize: in
// other payloads it did what these members ask for, and they are not looked at.
struct FeatureUse {
  std::optional<bool> track_events = {};
  std::optional<bool> exclude_from_summaries = {};
  std::optional<std::int64_t> debug_until_us = {};
};

// Reused from event to event.  Not thread-safe.
class EventReader {
 public:
  // Forgets what the payload before took of the bounds.  `is_unsummarized`: FeatureUse is read.
  void begin_payload(bool is_unsummarized) {
    repeated_bytes_ = 0;
    is_unsummarized_ = is_unsummarized;
    contexts_.begin_payload();
  }

  // Whether a careful reader may see no fault where this one, who was not, has seen one.
  bool is_in_doubt() const { return contexts_.is_in_doubt(); }

  // What names and defaults of the payload's summaries took by repetition.
  std::size_t repeated_bytes() const { return repeated_bytes_; }

  // Appends the event's records to `out`, one for each counter of a summary, else one.  On a fault
  // what was appended is to be removed; `object` is then half read.
  //
  // Left for the caller, who knows the payload: source, environment, received time, SDK and
  // application. `time_us` is the SDK's own date, or 0 with kNoiseInvalidDate; `start_us` likewise,
  // or 0.  The records' views are of the body, of the source's arena, or constant.
  Fault read(ondemand::object& object, const Source& source, EventList& out);

  // Of the event that was read last.
  const FeatureUse& use() const { return use_; }

 private:
  struct Members {
    std::optional<std::string_view> kind;
    std::optional<std::int64_t> date;
    std::optional<std::int64_t> start_date;
    std::optional<std::int64_t> end_date;
    std::optional<std::string_view> reason;
    bool has_features = false;
  };

  // The record that members are read into.  Another one added to the list may move it.
  events::EventView& own() { return (*out_)[first_]; }
  Fault read_members(ondemand::object& object, EventList& out);
  Fault read_member(std::string_view name, ondemand::value& value, EventList& out);
  Fault read_use(std::string_view name, ondemand::value& value);
  Fault read_reason(ondemand::value& value);
  Fault read_evaluation(ondemand::value& value);
  Fault read_metric(ondemand::value& value);
  Fault finish(ondemand::object& object, EventList& out);
  void finish_noise_and_date();
  Fault finish_summary(EventList& out);

  Fault read_features(ondemand::value& value, EventList& out);
  Fault read_flag(std::string_view flag, ondemand::value& value, EventList& out);
  Fault read_counters(ondemand::value& value, EventList& out);
  Fault read_counter(ondemand::object& counter, events::EventView& event);
  Fault read_context_kinds(ondemand::value& value);
  Fault take_repeated_bytes(std::size_t size, std::size_t copies);

  ContextReader contexts_;
  Members members_;
  FeatureUse use_;
  bool is_unsummarized_ = false;
  const Source* source_ = nullptr;
  EventList* out_ = nullptr;
  std::size_t first_ =
      0;  // index in the list of the event's own record; a summary's counters follow it
  std::vector<std::string_view> context_kinds_;
  std::size_t repeated_bytes_ = 0;
};

}  // namespace flagstream::transform
