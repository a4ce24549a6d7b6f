// Properties: a request is read or refused with a reason that is JSON; what was read names every
// context by a key, the same when it is read again.
#include <cstdint>
#include <string>

#include "base/assert.h"
#include "delivery/ofrep_messages.h"
#include "flags/document.h"

namespace {

using namespace flagstream;

void check(std::string_view body) {
  const auto context = delivery::read_ofrep_request(body);
  if (!context) {
    std::string answer;
    delivery::append_ofrep_error(answer, "k", context.error());
    FS_ASSERT(!context.error().details.empty(), "a refusal says why");
    FS_ASSERT(flags::Document::parse(answer).has_value(), "a refusal is JSON");
    return;
  }
  FS_ASSERT(!context->individuals().empty(), "somebody is named");
  for (const auto& each : context->individuals()) FS_ASSERT(!each.key.empty(), "by a key");
  FS_ASSERT(!context->fully_qualified_key().empty(), "and together");
  const auto again = delivery::read_ofrep_request(body);
  FS_ASSERT(again && again->fully_qualified_key() == context->fully_qualified_key(), "the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  check({reinterpret_cast<const char*>(data), size});
  return 0;
}
