// gzip bodies, inflated within limits.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"

namespace flagstream::http {

struct InflateLimits {
  std::size_t bytes_max = 10u << 20;
  std::size_t ratio_max = 100;              // output to input,
  std::size_t ratio_free_bytes = 64 << 10;  // after this much output
};

// Appends the inflated form of one gzip member (RFC 1952) to `out`.  InvalidArgument: damaged,
// truncated, or followed by more.  TooLarge: over a limit.  Memory used beyond `out` is constant.
// Any thread.
Result<void> inflate_gzip(std::string_view gzip, const InflateLimits& limits, std::string& out);
// The whole as one gzip member, for answers.
std::string deflate_gzip(std::string_view bytes);

}  // namespace flagstream::http
