#include "delivery/rate_limit.h"

#include <algorithm>

#include "base/clock.h"

namespace flagstream::delivery {

bool RateLimit::take(std::uint64_t who, std::int64_t now) {
  const std::int64_t each = kMicrosPerSecond / rate_.per_second;
  std::atomic<std::int64_t>& slot = slots_[who % slots_.size()];
  std::int64_t full_at = slot.load(std::memory_order_relaxed);
  for (;;) {
    const std::int64_t then = std::max(full_at, now) + each;
    if (then - now > each * rate_.burst) return false;
    if (slot.compare_exchange_weak(full_at, then, std::memory_order_relaxed)) return true;
  }
}

}  // namespace flagstream::delivery
