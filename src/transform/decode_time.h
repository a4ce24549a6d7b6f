// Puts the dates of a payload's events onto the gateway's time line (rules N6 to N8 of the noise
// table), using nothing but the payload itself, so that a replay computes the same.
#pragma once

#include <optional>

#include "base/clock.h"
#include "events/noise.h"

namespace flagstream::transform {

// nullopt where rule N8 calls the date impossible: before 2014, or 2^53 milliseconds and beyond.
std::optional<MicrosUtc> plausible_date(std::optional<MicrosUtc> date);

class PayloadTimes {
 public:
  // `flush_interval`: how often the SDK family sends; a payload that spans more than two of them
  // cannot be explained by a wrong clock alone.  Microseconds.
  PayloadTimes(MicrosUtc received, std::int64_t flush_interval)
      : received_(received), flush_interval_(flush_interval) {}

  // All plausible dates of the payload are told before the first is placed.
  void see(MicrosUtc date);

  struct Placed {
    MicrosUtc time = 0;
    events::NoiseMask noise = 0;
  };
  // nullopt: the event has no plausible date.
  Placed place(std::optional<MicrosUtc> date) const;

 private:
  Placed shifted(MicrosUtc date, events::NoiseMask noise) const;

  MicrosUtc received_;
  std::int64_t flush_interval_;
  std::optional<MicrosUtc> earliest_;
  MicrosUtc latest_ = 0;
};

}  // namespace flagstream::transform
