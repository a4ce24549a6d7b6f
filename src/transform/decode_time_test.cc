#include "transform/decode_time.h"

#include <gtest/gtest.h>

namespace flagstream::transform {
namespace {

constexpr MicrosUtc kReceived = 1'795'407'508'900'000;
constexpr std::int64_t kServerFlush = 5 * kMicrosPerSecond;

// The place of the first date in a payload of these dates.
PayloadTimes::Placed placed_first(std::initializer_list<MicrosUtc> dates) {
  PayloadTimes times(kReceived, kServerFlush);
  for (const MicrosUtc date : dates) times.see(date);
  return times.place(*dates.begin());
}

TEST(PayloadTimes, ADateNearReceiptStays) {
  for (const std::int64_t offset :
       {-24 * kMicrosPerHour, -kMicrosPerSecond, 0L, 5 * kMicrosPerMinute}) {
    const auto placed = placed_first({kReceived + offset});
    EXPECT_EQ(placed.time, kReceived + offset);
    EXPECT_EQ(placed.noise, 0u);
  }
}

TEST(PayloadTimes, AFutureClockIsShiftedSoThatTheNewestEventIsAtReceipt) {
  const MicrosUtc first = kReceived + kMicrosPerHour;
  const auto placed = placed_first({first, first + 3 * kMicrosPerSecond});
  EXPECT_EQ(placed.time, kReceived - 3 * kMicrosPerSecond);
  EXPECT_EQ(placed.noise, events::kNoiseSkewFuture);
}

TEST(PayloadTimes, OneFutureEventDoesNotMoveTheOthers) {
  const auto good = placed_first({kReceived - kMicrosPerSecond, kReceived + 3'650 * kMicrosPerDay});
  EXPECT_EQ(good.time, kReceived - kMicrosPerSecond);
  EXPECT_EQ(good.noise, 0u);
}

TEST(PayloadTimes, AFutureEventFarFromTheNewestIsPlacedAtReceipt) {
  const auto placed = placed_first({kReceived + kMicrosPerHour, kReceived + 3'650 * kMicrosPerDay});
  EXPECT_EQ(placed.time, kReceived);
  EXPECT_EQ(placed.noise, events::kNoiseSkewFuture);
}

TEST(PayloadTimes, AWholePayloadOfOneOldFlushIsAClockThatRunsBehind) {
  const MicrosUtc old = kReceived - 400 * kMicrosPerDay;
  const auto placed = placed_first({old, old + 10 * kMicrosPerSecond});
  EXPECT_EQ(placed.time, kReceived - 10 * kMicrosPerSecond);
  EXPECT_EQ(placed.noise, events::kNoiseSkewPast);
}

TEST(PayloadTimes, OldEventsThatSpanMoreThanTwoFlushesAreLate) {
  const MicrosUtc old = kReceived - 3 * kMicrosPerDay;
  const auto placed = placed_first({old, old + 10 * kMicrosPerSecond + 1});
  EXPECT_EQ(placed.time, old);
  EXPECT_EQ(placed.noise, events::kNoiseLate);
}

TEST(PayloadTimes, AnOldEventAmongNewOnesIsLate) {
  const MicrosUtc old = kReceived - 25 * kMicrosPerHour;
  const auto placed = placed_first({old, kReceived});
  EXPECT_EQ(placed.time, old);
  EXPECT_EQ(placed.noise, events::kNoiseLate);
}

TEST(PayloadTimes, ALateEventIsBelievedForThirtyDays) {
  EXPECT_EQ(placed_first({kReceived - 30 * kMicrosPerDay, kReceived}).time,
            kReceived - 30 * kMicrosPerDay);
  EXPECT_EQ(placed_first({kReceived - 30 * kMicrosPerDay - 1, kReceived}).time, kReceived);
}

TEST(PayloadTimes, AnEventWithoutADateIsPlacedAtReceipt) {
  const auto placed = PayloadTimes(kReceived, kServerFlush).place(std::nullopt);
  EXPECT_EQ(placed.time, kReceived);
  EXPECT_EQ(placed.noise, events::kNoiseInvalidDate);
}

TEST(PlausibleDate, BeginsIn2014AndEndsBeforeTwoToThe53Milliseconds) {
  EXPECT_FALSE(plausible_date(std::nullopt));
  EXPECT_FALSE(plausible_date(0));
  EXPECT_FALSE(plausible_date(-5));
  EXPECT_FALSE(plausible_date(1'388'534'399'999'000));
  EXPECT_TRUE(plausible_date(1'388'534'400'000'000));
  EXPECT_TRUE(plausible_date(9'007'199'254'740'991'000));
  EXPECT_FALSE(plausible_date(9'007'199'254'740'992'000));
}

}  // namespace
}  // namespace flagstream::transform
