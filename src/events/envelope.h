// The envelope of an SDK's POST body: one JSON array of events, or one bare event object, judged by
// structure alone (strings, escapes, brackets).  What stands inside an event is not looked at: an
// event that is wrong must not cost the others.
//
// Structure comes from simdjson's first stage, which finds every bracket, comma and string start
// with vector instructions and checks UTF-8 on the way.  Bodies that it refuses for control
// characters inside strings (wrong in one event, not in the envelope) go through a byte loop with
// the same rules.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace flagstream::events {

inline constexpr std::uint32_t kEventsPerPayloadMax = 10'000;

struct Envelope {
  bool is_array = false;     // else one bare object
  std::uint32_t events = 0;  // elements of the array, or 1
};

// Reuses its memory from body to body.  Not thread-safe.
class EnvelopeScanner {
 public:
  EnvelopeScanner();
  ~EnvelopeScanner();
  EnvelopeScanner(EnvelopeScanner&&) noexcept;
  EnvelopeScanner& operator=(EnvelopeScanner&&) noexcept;

  // InvalidArgument: empty, not UTF-8, or not one complete array or object.  TooLarge: more than
  // kEventsPerPayloadMax events.  Every body that a JSON parser accepts as an array or object
  // passes.
  Result<Envelope> scan(std::string_view body);

  // As scan(); `texts` becomes the text of each event, without the blanks around it.  Where a comma
  // has nothing beside it the text is empty.  Views into `body`.
  Result<Envelope> split(std::string_view body, std::vector<std::string_view>& texts);

 private:
  struct Index;

  Result<Envelope> scan_into(std::string_view body, std::vector<std::string_view>* texts);

  std::unique_ptr<Index> index_;
};

// scan() by the byte loop only.  For tests of one against the other.
Result<Envelope> scan_bytes(std::string_view body);

}  // namespace flagstream::events
