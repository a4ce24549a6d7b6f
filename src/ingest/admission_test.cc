#include "ingest/admission.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <set>
#include <thread>

#include <gtest/gtest.h>

namespace flagstream::ingest {
namespace {

constexpr EnvironmentId kA{1};
constexpr EnvironmentId kB{2};
constexpr EnvironmentId kC{3};
constexpr MicrosUtc kNow = 1'795'407'508'900'000;

class AdmissionTest : public testing::Test {
 protected:
  Admission& admission(const Rates& rates = {}, std::size_t bytes_max = 1'000) {
    admission_.emplace(bytes_max, rates, clock, registry);
    return *admission_;
  }
  // Payloads of `bytes` that get in before one does not.
  int admitted(EnvironmentId environment, std::uint64_t bytes) {
    for (int count = 0;; ++count) {
      if (admission_->admit(environment, bytes) != Verdict::Admitted) return count;
    }
  }

  FakeClock clock{kNow};
  telemetry::Registry registry;
  std::optional<Admission> admission_;
};

TEST_F(AdmissionTest, WithoutRatesEverythingGetsIn) {
  Admission& all = admission();
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(all.admit(kA, 100), Verdict::Admitted);
}

TEST_F(AdmissionTest, ABurstOfOneSecondThenTheRate) {
  Admission& all = admission({.bytes_per_second = 1'000});
  // A second's worth, and the one that goes into debt.
  EXPECT_EQ(admitted(kA, 100), 11);
  EXPECT_EQ(all.admit(kA, 1), Verdict::RateLimited);
  clock.advance(kMicrosPerSecond);
  EXPECT_EQ(admitted(kA, 100), 10);
}

TEST_F(AdmissionTest, OverALongTimeTheRateHoldsExactly) {
  Admission& all = admission({.bytes_per_second = 1'000});
  std::uint64_t bytes = 0;
  for (int i = 0; i < 100'000; ++i) {
    if (all.admit(kA, 37) == Verdict::Admitted) bytes += 37;
    clock.advance(kMicrosPerMilli);
  }
  EXPECT_NEAR(static_cast<double>(bytes), 100'000 + 1'000, 37);
}

TEST_F(AdmissionTest, APayloadLargerThanTheBurstGetsInAndIsPaidForAfterwards) {
  Admission& all = admission({.bytes_per_second = 100});
  EXPECT_EQ(all.admit(kA, 1'000), Verdict::Admitted);
  clock.advance(8 * kMicrosPerSecond);
  EXPECT_EQ(all.admit(kA, 1), Verdict::RateLimited);
  clock.advance(kMicrosPerSecond);
  EXPECT_EQ(all.admit(kA, 1), Verdict::Admitted);
}

TEST_F(AdmissionTest, EventsAreChargedWhenTheyAreCounted) {
  Admission& all = admission({.events_per_second = 10});
  ASSERT_EQ(all.admit(kA, 1), Verdict::Admitted);
  all.in_flight(kA).charge_events(30);
  EXPECT_EQ(all.admit(kA, 1), Verdict::RateLimited);
  clock.advance(2 * kMicrosPerSecond);
  EXPECT_EQ(all.admit(kA, 1), Verdict::Admitted);
}

TEST_F(AdmissionTest, OneEnvironmentsDebtIsNotAnothers) {
  Admission& all = admission({.bytes_per_second = 100});
  EXPECT_GT(admitted(kA, 50), 0);
  EXPECT_EQ(all.admit(kB, 50), Verdict::Admitted);
}

TEST_F(AdmissionTest, NewRatesHoldAtOnce) {
  Admission& all = admission();
  all.set_rates({.bytes_per_second = 100});
  EXPECT_EQ(admitted(kA, 50), 3);
  all.set_rates({});
  EXPECT_EQ(all.admit(kA, 50), Verdict::Admitted);
}

TEST_F(AdmissionTest, OtherRatesForgetWhatIsOwedAndTheSameDoNot) {
  Admission& all = admission({.bytes_per_second = 1, .events_per_second = 1});
  ASSERT_EQ(all.admit(kA, 900), Verdict::Admitted);
  all.in_flight(kA).charge_events(10'000);
  all.set_rates({.bytes_per_second = 1, .events_per_second = 1});
  EXPECT_EQ(all.admit(kA, 1), Verdict::RateLimited);
  all.set_rates({.bytes_per_second = 1'000, .events_per_second = 1'000});
  EXPECT_EQ(all.admit(kA, 1), Verdict::Admitted);
}

TEST_F(AdmissionTest, RetryAfterCoversTheDebtAndDiffers) {
  Admission& all = admission({.bytes_per_second = 100}, 10'000);
  ASSERT_EQ(all.admit(kA, 1'100), Verdict::Admitted);  // 11 s, of which 1 s is the burst
  std::uint32_t least = 1'000, most = 0;
  for (int i = 0; i < 200; ++i) {
    const std::uint32_t seconds = all.retry_after_seconds(kA, Verdict::RateLimited);
    least = std::min(least, seconds);
    most = std::max(most, seconds);
  }
  EXPECT_GE(least, 10u);
  EXPECT_GT(most, least);
  EXPECT_LE(most, 16u);
}

TEST_F(AdmissionTest, RetryAfterOfWhoFindsNoMemoryDiffersToo) {
  Admission& all = admission();
  for (const Verdict verdict : {Verdict::OverShare, Verdict::Full}) {
    std::set<std::uint32_t> seen;
    for (int i = 0; i < 200; ++i) seen.insert(all.retry_after_seconds(kA, verdict));
    EXPECT_EQ(seen, (std::set<std::uint32_t>{1, 2, 3}));
  }
}

TEST_F(AdmissionTest, ALongDebtIsNoLongerThanAMinuteToTheClient) {
  Admission& all = admission({.bytes_per_second = 1}, 1 << 20);
  ASSERT_EQ(all.admit(kA, 100'000), Verdict::Admitted);
  EXPECT_EQ(all.retry_after_seconds(kA, Verdict::RateLimited), 60u);
}

TEST_F(AdmissionTest, OneEnvironmentAloneHoldsHalfAndTheNextStillGetsIn) {
  Admission& all = admission();
  auto a = all.in_flight(kA);
  ASSERT_EQ(a.grow_to(500), Verdict::Admitted);
  EXPECT_EQ(a.grow_to(501), Verdict::OverShare);
  EXPECT_EQ(a.bytes(), 500u);
  EXPECT_EQ(all.admit(kA, 10), Verdict::OverShare);
  auto b = all.in_flight(kB);
  ASSERT_EQ(b.grow_to(250), Verdict::Admitted);
  auto c = all.in_flight(kC);
  EXPECT_EQ(c.grow_to(125), Verdict::Admitted);
}

TEST_F(AdmissionTest, WhatIsFullIsNobodysOwnFault) {
  Admission& all = admission();
  auto a = all.in_flight(kA);
  ASSERT_EQ(a.grow_to(500), Verdict::Admitted);
  auto b = all.in_flight(kB);
  EXPECT_EQ(b.grow_to(501), Verdict::Full);
  EXPECT_EQ(all.admit(kB, 501), Verdict::Full);
}

TEST_F(AdmissionTest, MemoryIsGivenBack) {
  Admission& all = admission();
  for (int i = 0; i < 100; ++i) {
    auto held = all.in_flight(kA);
    ASSERT_EQ(held.grow_to(500), Verdict::Admitted);
    const auto moved = std::move(held);
    ASSERT_EQ(moved.bytes(), 500u);
  }
  EXPECT_NE(registry.scrape().find("flagstream_ingest_in_flight_bytes 0\n"), std::string::npos);
}

TEST_F(AdmissionTest, WhoIsRefusedForMemoryIsNotCharged) {
  Admission& all = admission({.bytes_per_second = 1'000});
  auto a = all.in_flight(kA);
  ASSERT_EQ(a.grow_to(500), Verdict::Admitted);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(all.admit(kA, 400), Verdict::OverShare);
}

TEST_F(AdmissionTest, RefusalsAreCountedByEnvironmentUpToAHundred) {
  Admission& all = admission();
  for (std::uint64_t id = 1; id <= 150; ++id)
    all.count_refusal(EnvironmentId{id}, Verdict::RateLimited);
  all.count_refusal(EnvironmentId{100}, Verdict::OverShare);
  const std::string text = registry.scrape();
  const std::string name = "flagstream_ingest_environment_refused_total{environment=\"";
  EXPECT_NE(text.find(name + "100\",reason=\"rate_limited\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find(name + "100\",reason=\"over_share\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find(name + "other\",reason=\"rate_limited\"} 50\n"), std::string::npos);
  EXPECT_EQ(text.find(name + "101\""), std::string::npos);
}

TEST_F(AdmissionTest, ManyThreadsMakeOneAccountAndLoseNoCharge) {
  Admission& all = admission({.bytes_per_second = 1'000'000}, 1ul << 40);
  std::atomic<int> in{0};
  {
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 10'000; ++i) {
          auto held = all.in_flight(kA);
          (void)held.grow_to(10);
          if (all.admit(kA, 1'000) == Verdict::Admitted) ++in;
        }
      });
    }
  }
  // A second's worth, and at most one more for each thread.
  EXPECT_GE(in, 1'001);
  EXPECT_LE(in, 1'004);
  EXPECT_NE(registry.scrape().find("flagstream_ingest_in_flight_bytes 0\n"), std::string::npos);
}

}  // namespace
}  // namespace flagstream::ingest
