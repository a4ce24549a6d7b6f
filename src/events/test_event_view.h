// The property that ties EventViewReader and encode_event() of a view to Protobuf's generated code.
#pragma once

#include <string>
#include <string_view>

#include "events/event.h"
#include "events/event_view.h"

namespace flagstream::events {

// Whether both readers refuse `record`, or both accept it and what either writes again is the same.
inline bool readers_agree(std::string_view record) {
  static EventViewReader reader;
  proto::Event message;
  const bool is_message = decode_event(record, message).has_value();
  const auto view = reader.read(record);
  if (is_message != view.has_value()) return false;
  if (!is_message) return true;
  message.DiscardUnknownFields();
  message.mutable_source();  // which a view always has
  std::string of_message;
  encode_event(message, of_message);
  std::string of_view;
  encode_event(**view, of_view);
  return of_message == of_view;
}

}  // namespace flagstream::events
