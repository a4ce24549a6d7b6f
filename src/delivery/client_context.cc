#include "delivery/client_context.h"

#include <algorithm>
#include <utility>

#include "base/base64.h"

namespace flagstream::delivery {

Result<std::string> decode_context_segment(std::string_view segment) {
  auto decoded = decode_base64(segment);
  if (decoded) return *std::move(decoded);
  return fail(ErrorKind::InvalidArgument, "the context in the path is not base64");
}

Result<flags::Context> parse_context(std::string_view json) {
  FS_TRY(flags::Context context, flags::Context::parse(json));
  const auto has_no_key = [](const auto& each) { return each.key.empty(); };
  if (std::ranges::any_of(context.individuals(), has_no_key))
    return fail(ErrorKind::InvalidArgument, "invalid context: the key is empty");
  return context;
}

}  // namespace flagstream::delivery
