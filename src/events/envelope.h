// The envelope of an SDK's POST body: one JSON array of events, or one bare event object, judged by
// structure alone (strings, escapes, brackets).  What stands inside an event is not looked at: an
// event that is wrong must not cost the others.
//
// 64 bytes at a time are looked at with whatever vector instructions the machine has, which find
// quotes, backslashes, brackets and commas; UTF-8 is checked by itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace flagstream::events {

inline constexpr std::uint32_t kEventsPerPayloadMax = 10'000;

struct Envelope {
  bool is_array = false;     // else one bare object
  std::uint32_t events = 0;  // elements of the array, or 1
};

// InvalidArgument: empty, not UTF-8, or not one complete array or object.  TooLarge: more than
// kEventsPerPayloadMax events.  Every body that a JSON parser accepts as an array or object passes.
Result<Envelope> scan_envelope(std::string_view body);

// The same; `texts` becomes the text of each event, without the blanks around it.  Where a comma
// has nothing beside it the text is empty.  Views into `body`.
Result<Envelope> split_envelope(std::string_view body, std::vector<std::string_view>& texts);

// scan_envelope() by each instruction set that this machine has.  For tests of one against the
// other.
std::vector<Result<Envelope>> scan_by_each_instruction_set(std::string_view body);

}  // namespace flagstream::events
