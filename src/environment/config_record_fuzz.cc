// Properties: decode_config_record() never reads outside its input, and what it accepts encodes
// again to something that decodes to the same message.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "environment/config_record.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace flagstream::environment;
  // On the heap without a spare byte, so that the sanitizer sees every read beyond the end.
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto record = decode_config_record(bytes);
  if (!record) return 0;
  const auto encoded = encode_config_record(*record);
  if (!encoded) std::abort();
  const auto again = decode_config_record(*encoded);
  if (!again || again->SerializeAsString() != record->SerializeAsString()) std::abort();
  if (record->has_item()) (void)decode_environment(record->item().document());
  return 0;
}
