// Whether the time of day can be believed.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace flagstream::log {

// Compares the progress of the time of day with that of a clock that nobody sets.  Not thread-safe.
class ClockWatch {
 public:
  explicit ClockWatch(const Clock& clock) : clock_(clock) {}

  // After a start: the last time that is known stands for the last look, so that a long pause is
  // doubted, too.
  void begin(MicrosUtc last);
  void look();
  // From a jump ahead by more than an hour until that time has stood for an hour, or the clock is
  // back.
  bool is_doubted() const { return doubted_until_ != 0; }

 private:
  const Clock& clock_;
  MicrosUtc seen_time_ = 0;         // of day, at the last look
  std::int64_t seen_at_ = 0;        // monotonic, then
  std::int64_t doubted_until_ = 0;  // monotonic; 0: the time of day is believed
  std::int64_t doubted_jump_ = 0;   // by which it was ahead
};

}  // namespace flagstream::log
