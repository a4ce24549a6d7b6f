// Noise is tagged, never dropped: a bit set in every event, computed from the record and its
// payload's header alone, so that a replay computes the same.  Aggregates keep what is tagged apart
// from what is not.
//
// The numbers are stored in `events` and the lake: bits are only ever added.
#pragma once

#include <cstdint>

namespace flagstream::events {

using NoiseMask = std::uint32_t;

// N6: the event's date was more than 5 minutes ahead of receipt; its payload was shifted back.
inline constexpr NoiseMask kNoiseSkewFuture = 1u << 0;
// N7: a clock that runs behind; the whole payload was shifted forward.
inline constexpr NoiseMask kNoiseSkewPast = 1u << 1;
// N7: the date is more than 24 hours before receipt and was believed: the event was sent late.
inline constexpr NoiseMask kNoiseLate = 1u << 2;
// N8: the date was missing or impossible; the event's time is that of receipt.
inline constexpr NoiseMask kNoiseInvalidDate = 1u << 3;
// N12: a context of the event is anonymous.
inline constexpr NoiseMask kNoiseAnonymous = 1u << 4;
// N14: the SDK did not know the flag.
inline constexpr NoiseMask kNoiseUnknownFlag = 1u << 5;
// N16: the evaluation was made to decide a prerequisite of another flag.
inline constexpr NoiseMask kNoisePrerequisite = 1u << 6;
// N17: the evaluation is no exposure, for it was not part of an experiment.
inline constexpr NoiseMask kNoiseNoExposure = 1u << 7;
// N3: a copy for the live debugger; never counted.
inline constexpr NoiseMask kNoiseDebugCopy = 1u << 8;
// N15: the SDK reports that it dropped events before sending.
inline constexpr NoiseMask kNoiseSdkOverflow = 1u << 9;
// The metric value was not a finite number within 9.2e12 and was cut to that range.
inline constexpr NoiseMask kNoiseMetricSaturated = 1u << 10;

}  // namespace flagstream::events
