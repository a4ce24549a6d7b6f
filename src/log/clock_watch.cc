#include "log/clock_watch.h"

namespace flagstream::log {
namespace {

constexpr std::int64_t kJumpMicros = kMicrosPerHour;

}  // namespace

void ClockWatch::begin(MicrosUtc last) {
  seen_time_ = last;
  seen_at_ = clock_.monotonic();
}

void ClockWatch::look() {
  const MicrosUtc time = clock_.now();
  const std::int64_t at = clock_.monotonic();
  const std::int64_t jump = (time - seen_time_) - (at - seen_at_);
  if (jump > kJumpMicros) {
    doubted_until_ = at + kJumpMicros;
    doubted_jump_ = jump;
  } else if (doubted_until_ != 0 && (at >= doubted_until_ || jump <= kJumpMicros - doubted_jump_)) {
    doubted_until_ = 0;
  }
  seen_time_ = time;
  seen_at_ = at;
}

}  // namespace flagstream::log
