// One SDK event as records of kind Event.
#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include "events/event.pb.h"
#include "transform/decode_context.h"
#include "transform/decode_value.h"

namespace flagstream::transform {

// Bounds on what one payload may become: names and defaults of a summary are repeated in each of
// its records.
inline constexpr int kRecordsPerPayloadMax = 65'536;
inline constexpr std::size_t kRepeatedBytesPerPayloadMax = 32 << 20;

using EventList = google::protobuf::RepeatedPtrField<events::proto::Event>;

// Reused from event to event.  Not thread-safe.
class EventReader {
 public:
  // Forgets what the payload before took of the bounds.
  void begin_payload() { repeated_bytes_ = 0; }

  // What names and defaults of the payload's summaries took by repetition.
  std::size_t repeated_bytes() const { return repeated_bytes_; }

  // Appends the event's records to `out`, one for each counter of a summary, else one.  On a fault
  // what was appended is to be removed; `object` is then half read.
  //
  // Left for the caller, who knows the payload: source, environment, received time, SDK and
  // application. `time_us` is the SDK's own date, or 0 with kNoiseInvalidDate; `start_us` likewise,
  // or 0.
  Fault read(ondemand::object& object, EventList& out);

 private:
  struct Members {
    std::optional<std::string_view> kind;
    std::optional<std::int64_t> date;
    std::optional<std::int64_t> start_date;
    std::optional<std::int64_t> end_date;
    std::optional<std::string_view> reason;
    bool has_features = false;
  };

  Fault read_members(ondemand::object& object, events::proto::Event& event, EventList& out);
  Fault read_member(std::string_view name, ondemand::value& value, events::proto::Event& event,
                    EventList& out);
  Fault read_evaluation(ondemand::value& value, events::proto::Event& event);
  Fault read_metric(ondemand::value& value, events::proto::Event& event);
  Fault finish(ondemand::object& object, events::proto::Event& event, EventList& out);
  Fault finish_summary(EventList& out);

  Fault read_features(ondemand::value& value, EventList& out);
  Fault read_flag(std::string_view flag, ondemand::value& value, EventList& out);
  Fault read_counters(ondemand::value& value, EventList& out);
  Fault read_counter(ondemand::object& counter, events::proto::Event& event);
  Fault read_context_kinds(ondemand::value& value);
  Fault take_repeated_bytes(std::size_t size, std::size_t copies);

  ContextReader contexts_;
  Members members_;
  int first_ = 0;  // index in the list of the event's own record; a summary's counters follow it
  std::vector<std::string_view> context_kinds_;
  std::size_t repeated_bytes_ = 0;
};

}  // namespace flagstream::transform
