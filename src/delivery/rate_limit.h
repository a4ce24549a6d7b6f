// So many a second for each of many, in memory that does not grow with their number.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace flagstream::delivery {

struct Rate {
  std::int64_t per_second = 0;  // at least 1
  std::int64_t burst = 0;       // at once, after a pause; at least 1
};

// Whoever shares a slot shares its rate: whoever is refused must not be harmed for good.
// Thread-safe, without locks.
class RateLimit {
 public:
  RateLimit(Rate rate, std::size_t slots) : rate_(rate), slots_(slots) {}

  // Takes one of what `who` (evenly spread) may do now; false: it has to wait.  `now` in
  // microseconds, above 0.
  bool take(std::uint64_t who, std::int64_t now);

 private:
  Rate rate_;
  // When the slot has its whole burst again.
  std::vector<std::atomic<std::int64_t>> slots_;
};

}  // namespace flagstream::delivery
