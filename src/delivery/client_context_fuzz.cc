// Input: the path segment that should hold a context.  Properties: whatever is decoded has the size
// that its digits give; the same with padding, and in the other alphabet, is the same; and whatever
// is a context has a key.
#include <cstdint>
#include <string>

#include "base/assert.h"
#include "delivery/client_context.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace flagstream;
  const std::string segment(reinterpret_cast<const char*>(data), size);
  const auto json = delivery::decode_context_segment(segment);
  if (!json) return 0;
  const std::size_t digits = std::min(segment.find('='), segment.size());
  FS_ASSERT(json->size() == digits * 3 / 4, "three bytes for four digits");
  std::string other = segment.substr(0, digits);
  for (char& c : other) c = c == '-' ? '+' : c == '_' ? '/' : c;
  other.append((4 - digits % 4) % 4, '=');
  const auto again = delivery::decode_context_segment(other);
  FS_ASSERT(again && *again == *json, "the same in the other alphabet");
  const auto context = delivery::parse_context(*json);
  if (context) FS_ASSERT(!context->fully_qualified_key().empty(), "a context has a key");
  return 0;
}
