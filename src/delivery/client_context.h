// The contexts that client-side SDKs send: base64 in a path, or JSON in a body.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"
#include "flags/context.h"

namespace flagstream::delivery {

// Of a context in a body.  In a path it is limited by the request line.
inline constexpr std::size_t kContextBytesMax = 256 << 10;

// The JSON text that a path segment holds (RFC 4648, section 5): with or without padding, and '+'
// and '/' count as '-' and '_'.  InvalidArgument: anything else.
Result<std::string> decode_context_segment(std::string_view segment);

// Today's contexts and the users of older SDKs.  InvalidArgument: neither, or the key is empty,
// which for a user would be right elsewhere.
Result<flags::Context> parse_context(std::string_view json);

}  // namespace flagstream::delivery
