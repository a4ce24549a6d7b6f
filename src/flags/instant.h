// Points in time as clauses compare them: from Unix milliseconds or RFC 3339 text.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>

namespace flagstream::flags {

struct Instant {
  std::int64_t seconds = 0;      // since 1970-01-01T00:00:00Z
  std::int32_t nanoseconds = 0;  // 0 to 999,999,999

  auto operator<=>(const Instant&) const = default;

  // A fraction of a millisecond is cut off; what is far beyond all calendars is cut to its side.
  static Instant from_unix_ms(double milliseconds);
  // YYYY-MM-DDThh:mm:ss[.fraction](Z|+hh:mm|-hh:mm) and nothing else.  Every month may be written
  // with 31 days: those that it lacks are the first ones of the next.
  static std::optional<Instant> parse(std::string_view text);
};

}  // namespace flagstream::flags
