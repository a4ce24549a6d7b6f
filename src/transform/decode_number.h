// JSON numbers as scaled integers, computed from their decimal text: no floating point, so that
// every machine and every replay gets the same figure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace flagstream::transform {

// The largest magnitude of a scaled number; 9.2e12 for micro-units.
inline constexpr std::int64_t kScaledMax = 9'200'000'000'000'000'000;

struct Scaled {
  std::int64_t value = 0;
  bool exact = true;       // nothing was rounded away
  bool saturated = false;  // the magnitude was over kScaledMax and is that now
};

// `text` times 10 to the power of `scale`, rounded half to even.  nullopt: not a number by RFC 8259
// section 6. Precondition: 0 <= scale <= 6.
std::optional<Scaled> scaled_number(std::string_view text, int scale);

// A whole number, also one written as 5.0 or 5e0.  nullopt: not a number, not whole, or over
// kScaledMax.
std::optional<std::int64_t> whole_number(std::string_view text);

}  // namespace flagstream::transform
