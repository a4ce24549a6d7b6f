#include "events/source_guard.h"

#include <gtest/gtest.h>

namespace flagstream::events {
namespace {

constexpr Id128 kLog{1, 2};
constexpr Id128 kOtherLog{0, 9};

TEST(SourceGuard, WhatIsNotAboveTheHighestSourceIsARepeat) {
  SourceGuard guard;
  EXPECT_TRUE(guard.take(kLog, {.offset = 0, .index = 0, .part = 0}));
  EXPECT_FALSE(guard.take(kLog, {.offset = 0, .index = 0, .part = 0}));
  EXPECT_TRUE(guard.take(kLog, {.offset = 0, .index = 0, .part = 1}));
  EXPECT_TRUE(guard.take(kLog, {.offset = 0, .index = 1, .part = 0}));
  EXPECT_TRUE(guard.take(kLog, {.offset = 7, .index = 0, .part = 0}));
  EXPECT_FALSE(guard.take(kLog, {.offset = 6, .index = 99, .part = 99}));
  EXPECT_FALSE(guard.take(kLog, {.offset = 7, .index = 0, .part = 0}));
}

TEST(SourceGuard, PositionsCompareWithinOneSourceLogOnly) {
  SourceGuard guard;
  EXPECT_TRUE(guard.take(kLog, {.offset = 100}));
  EXPECT_TRUE(guard.take(kOtherLog, {.offset = 1}));
  EXPECT_FALSE(guard.take(kOtherLog, {.offset = 1}));
  EXPECT_TRUE(guard.take(kLog, {.offset = 101}));
}

TEST(SourceGuard, ACheckpointBringsBackTheHighestSources) {
  SourceGuard guard;
  guard.take(kLog, {.offset = 1ull << 40, .index = 3, .part = 5});
  guard.take(kOtherLog, {.offset = 2});
  const std::string bytes = guard.encode();
  EXPECT_EQ(bytes.size(), 64u);
  auto restored = SourceGuard::decode(bytes);
  ASSERT_TRUE(restored);
  EXPECT_FALSE(restored->take(kLog, {.offset = 1ull << 40, .index = 3, .part = 5}));
  EXPECT_TRUE(restored->take(kLog, {.offset = 1ull << 40, .index = 3, .part = 6}));
  EXPECT_FALSE(restored->take(kOtherLog, {.offset = 2}));
  EXPECT_TRUE(SourceGuard::decode("")->take(kLog, {}));
}

TEST(SourceGuard, BytesThatEncodeNeverMakesAreDamage) {
  SourceGuard guard;
  guard.take(kLog, {.offset = 1});
  const std::string one = guard.encode();
  for (std::size_t size = 1; size < one.size(); ++size)
    EXPECT_EQ(SourceGuard::decode(one.substr(0, size)).error().kind, ErrorKind::DataLoss) << size;
  EXPECT_EQ(SourceGuard::decode(one + one).error().kind, ErrorKind::DataLoss);
}

}  // namespace
}  // namespace flagstream::events
