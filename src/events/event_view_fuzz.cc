// Property: EventViewReader accepts what Protobuf's generated code accepts, and the two see the
// same in it.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "events/test_event_view.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // On the heap without a spare byte, so that the sanitizer sees every read beyond the end.
  const std::string record(reinterpret_cast<const char*>(data), size);
  if (!flagstream::events::readers_agree(record)) std::abort();
  return 0;
}
