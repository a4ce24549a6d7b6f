#include "transform/decode_time.h"

#include <algorithm>

namespace flagstream::transform {
namespace {

constexpr MicrosUtc kYear2014 = 1'388'534'400 * kMicrosPerSecond;
constexpr MicrosUtc kDateEnd = (std::int64_t{1} << 53) * kMicrosPerMilli;
constexpr std::int64_t kFutureTolerance = 5 * kMicrosPerMinute;
constexpr std::int64_t kLateAfter = kMicrosPerDay;
constexpr std::int64_t kBelievedLateMax = 30 * kMicrosPerDay;

}  // namespace

std::optional<MicrosUtc> plausible_date(std::optional<MicrosUtc> date) {
  if (!date || *date < kYear2014 || *date >= kDateEnd) return std::nullopt;
  return date;
}

void PayloadTimes::see(MicrosUtc date) {
  earliest_ = earliest_ ? std::min(*earliest_, date) : date;
  latest_ = std::max(latest_, date);
}

PayloadTimes::Placed PayloadTimes::place(std::optional<MicrosUtc> date) const {
  if (!date) return {received_, events::kNoiseInvalidDate};
  if (*date - received_ > kFutureTolerance) return shifted(*date, events::kNoiseSkewFuture);
  if (received_ - *date <= kLateAfter) return {*date, 0};

  const bool all_old = received_ - latest_ > kLateAfter;
  const bool one_flush = latest_ - *earliest_ <= 2 * flush_interval_;
  if (all_old && one_flush) return shifted(*date, events::kNoiseSkewPast);
  const bool believed = received_ - *date <= kBelievedLateMax;
  return {believed ? *date : received_, events::kNoiseLate};
}

// Moves the payload's newest event to its receipt.  A payload whose dates lie further apart than a
// late event is believed has no newest event worth holding on to.
PayloadTimes::Placed PayloadTimes::shifted(MicrosUtc date, events::NoiseMask noise) const {
  const std::int64_t before_latest = latest_ - date;
  return {before_latest <= kBelievedLateMax ? received_ - before_latest : received_, noise};
}

}  // namespace flagstream::transform
