// Properties: decode_membership_record() never reads outside its input, and what it accepts encodes
// again to something that decodes to the same message.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "environment/membership_record.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace flagstream::environment;
  // On the heap without a spare byte, so that the sanitizer sees every read beyond the end.
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto change = decode_membership_record(bytes);
  if (!change) return 0;
  const auto encoded = encode_membership_record(*change);
  if (!encoded) std::abort();
  const auto again = decode_membership_record(*encoded);
  if (!again || again->SerializeAsString() != change->SerializeAsString()) std::abort();
  return 0;
}
