// Time as the product uses it: int64 microseconds since the Unix epoch, UTC.  Only clock.cc reads
// the machine's clocks; everything else is handed a Clock, so that tests and replays choose the
// time.
#pragma once

#include <atomic>
#include <cstdint>

namespace flagstream {

using MicrosUtc = std::int64_t;

inline constexpr std::int64_t kMicrosPerMilli = 1'000;
inline constexpr std::int64_t kMicrosPerSecond = 1'000'000;
inline constexpr std::int64_t kMicrosPerMinute = 60 * kMicrosPerSecond;
inline constexpr std::int64_t kMicrosPerHour = 60 * kMicrosPerMinute;
inline constexpr std::int64_t kMicrosPerDay = 24 * kMicrosPerHour;

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall clock; may jump.
  virtual MicrosUtc now() const = 0;
  // Never goes back; only differences mean anything.  Microseconds.
  virtual std::int64_t monotonic() const = 0;
};

class SystemClock final : public Clock {
 public:
  MicrosUtc now() const override;
  std::int64_t monotonic() const override;
};

// Moves only when told.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(MicrosUtc start) : now_(start) {}
  MicrosUtc now() const override { return now_.load() + wrong_by_.load(); }
  std::int64_t monotonic() const override { return now_.load(); }
  void advance(std::int64_t micros) { now_ += micros; }
  void set(MicrosUtc to) { now_ = to; }
  // Only the time of day is wrong by that much from now on.
  void set_wrong(std::int64_t micros) { wrong_by_ = micros; }

 private:
  std::atomic<std::int64_t> now_;
  std::atomic<std::int64_t> wrong_by_{0};
};

}  // namespace flagstream
