// Times and places in the log as operators write them.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "log/log.h"

namespace flagstream::app {

struct LogPoint {
  enum class Kind { Beginning, End, Offset, Time };
  Kind kind = Kind::Beginning;
  log::Offset offset = 0;
  MicrosUtc time = 0;
};

// "beginning", "end", an offset (digits), a time (RFC 3339, "2026-11-25T21:00:00Z") or how long
// before `now` ("2h").  InvalidArgument says what would be right.
Result<LogPoint> parse_log_point(std::string_view text, MicrosUtc now);
// Only a time or a duration.
Result<MicrosUtc> parse_log_time(std::string_view text, MicrosUtc now);

// In seconds, UTC; "-" for 0, which stands for no time.
std::string to_rfc3339(MicrosUtc time);

}  // namespace flagstream::app
