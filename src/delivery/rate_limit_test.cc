#include "delivery/rate_limit.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace flagstream::delivery {
namespace {

constexpr std::int64_t kStart = 5'000'000;

int taken(RateLimit& limit, std::uint64_t who, std::int64_t now, int tries) {
  int count = 0;
  for (int i = 0; i < tries; ++i) count += limit.take(who, now) ? 1 : 0;
  return count;
}

TEST(RateLimit, ABurstAndThenSoManyASecond) {
  RateLimit limit({.per_second = 10, .burst = 5}, 8);
  EXPECT_EQ(taken(limit, 1, kStart, 100), 5);
  EXPECT_EQ(taken(limit, 1, kStart + 99'999, 100), 0);
  EXPECT_EQ(taken(limit, 1, kStart + 100'000, 100), 1);
  EXPECT_EQ(taken(limit, 1, kStart + 300'000, 100), 2);
  EXPECT_EQ(taken(limit, 1, kStart + 60'000'000, 100), 5) << "no more than the burst after a pause";
}

TEST(RateLimit, EachHasItsOwn) {
  RateLimit limit({.per_second = 10, .burst = 5}, 8);
  EXPECT_EQ(taken(limit, 1, kStart, 100), 5);
  EXPECT_EQ(taken(limit, 2, kStart, 100), 5);
  EXPECT_EQ(taken(limit, 9, kStart, 100), 0) << "shares the slot of 1";
}

TEST(RateLimit, ThreadsTogetherTakeNoMore) {
  RateLimit limit({.per_second = 1, .burst = 1'000}, 1);
  std::atomic<int> all{0};
  {
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] { all += taken(limit, 0, kStart, 1'000); });
  }
  EXPECT_EQ(all.load(), 1'000);
}

}  // namespace
}  // namespace flagstream::delivery
