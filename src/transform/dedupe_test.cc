#include "transform/dedupe.h"

#include <filesystem>
#include <memory>
#include <random>
#include <set>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/hash.h"

namespace flagstream::transform {
namespace {

constexpr MicrosUtc kStart = 495'000 * kMicrosPerHour + 17 * kMicrosPerMinute;

Id128 id(int number) { return xxh3_128(std::to_string(number)); }

TEST(IdFilter, NeverDeniesWhatIsInItAndMostlyDeniesWhatIsNot) {
  IdFilter filter(5000);
  for (int i = 0; i < 5000; ++i) filter.insert(id(i));
  const auto restored = IdFilter::decode(filter.encode());
  ASSERT_TRUE(restored);
  int mistaken = 0;
  for (int i = 0; i < 5000; ++i) {
    EXPECT_TRUE(filter.may_contain(id(i)));
    EXPECT_TRUE(restored->may_contain(id(i)));
    if (filter.may_contain(id(i + 5000))) ++mistaken;
  }
  EXPECT_LT(mistaken, 75) << "1.5 percent";
}

TEST(IdFilter, BitsStandWhereTheFormatSays) {
  IdFilter filter(1);
  // Low bits: probes 0, 511, then five times 8.
  const std::uint64_t low =
      511ull << 9 | 8ull << 18 | 8ull << 27 | 8ull << 36 | 8ull << 45 | 8ull << 54;
  filter.insert({.high = ~0ull, .low = low});
  const std::string bytes = filter.encode();
  ASSERT_EQ(bytes.size(), 2u + 64);
  EXPECT_EQ(bytes.substr(0, 2), "F\x01");
  EXPECT_EQ(bytes[2], '\x01');
  EXPECT_EQ(bytes[3], '\x01');
  EXPECT_EQ(bytes[2 + 63], '\x80');
}

TEST(IdFilter, DamageAndNewerReleasesAreRefused) {
  const std::string whole = IdFilter(10).encode();
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_EQ(IdFilter::decode(whole.substr(0, size)).error().kind, ErrorKind::DataLoss) << size;
  std::string newer = whole;
  newer[1] = 2;
  EXPECT_EQ(IdFilter::decode(newer).error().kind, ErrorKind::InvalidArgument);
}

class DedupeTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "dedupe_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    store_ = *pipeline::Store::open(folder_);
    restart();
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(folder_);
  }
  void restart() { dedupe_ = std::make_unique<Dedupe>(*Dedupe::open(*store_)); }
  void checkpoint() {
    pipeline::Changes changes;
    dedupe_->checkpoint(changes);
    ASSERT_TRUE(store_->write(changes));
    dedupe_->checkpointed();
  }
  bool take(int number, MicrosUtc received = 0) {
    dedupe_->advance(received);
    return *dedupe_->take(id(number));
  }
  std::size_t entries(std::string_view prefix) {
    std::size_t count = 0;
    EXPECT_TRUE(store_->scan(prefix, [&](auto, auto) { return ++count > 0; }));
    return count;
  }

  std::string folder_;
  std::unique_ptr<pipeline::Store> store_;
  std::unique_ptr<Dedupe> dedupe_;
};

TEST_F(DedupeTest, TheFirstCopyIsNewAndTheOthersAreNot) {
  EXPECT_TRUE(take(1, kStart));
  EXPECT_FALSE(take(1));
  EXPECT_TRUE(take(2));
  checkpoint();
  EXPECT_FALSE(take(1));
  EXPECT_FALSE(take(2));
  EXPECT_TRUE(take(3));
}

TEST_F(DedupeTest, ACheckpointIsRememberedAfterARestartAndWhatCameAfterItIsNot) {
  EXPECT_TRUE(take(1, kStart));
  checkpoint();
  EXPECT_TRUE(take(2, kStart + kMicrosPerMinute));
  restart();
  EXPECT_EQ(dedupe_->clock(), kStart);
  EXPECT_FALSE(take(1));
  EXPECT_TRUE(take(2)) << "the stage folds it again";
}

TEST_F(DedupeTest, WhatIsTakenWhileACheckpointIsWrittenIsForTheNext) {
  take(1, kStart);
  pipeline::Changes changes;
  dedupe_->checkpoint(changes);
  EXPECT_FALSE(take(1));
  EXPECT_TRUE(take(2));
  ASSERT_TRUE(store_->write(changes));
  dedupe_->checkpointed();
  EXPECT_FALSE(take(1));
  EXPECT_FALSE(take(2));
  EXPECT_EQ(entries("di"), 1u);
  checkpoint();
  EXPECT_EQ(entries("di"), 2u);
}

TEST_F(DedupeTest, AnIdIsKeptForTwentyFourHoursOfTheClockAndNoMoreThanTwentyFive) {
  for (const bool with_restart : {false, true}) {
    const int number = with_restart ? 1 : 2;
    const MicrosUtc first = dedupe_->clock() == 0 ? kStart : dedupe_->clock() + kMicrosPerDay;
    EXPECT_TRUE(take(number, first));
    checkpoint();
    for (const MicrosUtc later : {kMicrosPerHour, 7 * kMicrosPerHour, kMicrosPerDay}) {
      if (with_restart) restart();
      EXPECT_FALSE(take(number, first + later)) << later;
      checkpoint();
    }
    if (with_restart) restart();
    EXPECT_TRUE(take(number, first + kMicrosPerDay + kMicrosPerHour));
  }
}

TEST_F(DedupeTest, TheClockNeverGoesBack) {
  take(1, kStart + kMicrosPerDay);
  EXPECT_TRUE(take(2, kStart));
  EXPECT_EQ(dedupe_->clock(), kStart + kMicrosPerDay);
}

TEST_F(DedupeTest, ExpiredHoursLeaveTheStore) {
  for (int i = 0; i < 100; ++i) {
    take(i, kStart + i * kMicrosPerHour);
    checkpoint();
  }
  EXPECT_EQ(entries("di"), 25u);
  EXPECT_EQ(entries("df"), 24u) << "every hour but the clock's has filters";
  EXPECT_GT(dedupe_->resident_bytes(), 0u);
  take(1000, kStart + 1000 * kMicrosPerHour);
  checkpoint();
  EXPECT_EQ(entries("di"), 1u);
  EXPECT_EQ(entries("df"), 0u);
}

TEST_F(DedupeTest, ManyIdsInOneHourAreAllRemembered) {
  constexpr int kIds = 20'000;  // more than one filter
  for (int i = 0; i < kIds; ++i) {
    ASSERT_TRUE(take(i, kStart));
    if (i % 3'000 == 0) checkpoint();
  }
  take(kIds, kStart + kMicrosPerHour);
  checkpoint();
  EXPECT_GT(entries("df"), 1u);
  restart();
  for (int i = 0; i <= kIds; ++i) ASSERT_FALSE(take(i)) << i;
  int taken = 0;
  for (int i = 0; i < 1'000; ++i) taken += take(kIds + 1 + i) ? 1 : 0;
  EXPECT_EQ(taken, 1'000);
}

// Against a model that remembers every id with its hour, over random jumps, checkpoints and
// restarts from the last checkpoint.
TEST_F(DedupeTest, AgreesWithAModel) {
  std::mt19937 random(7);
  std::map<int, MicrosUtc> model;
  std::map<int, MicrosUtc> model_saved;
  MicrosUtc clock = kStart;
  MicrosUtc clock_saved = 0;
  for (int step = 0; step < 20'000; ++step) {
    const auto dice = random() % 1'000;
    if (dice < 5) {
      checkpoint();
      model_saved = model;
      clock_saved = clock;
    } else if (dice < 7 && clock_saved > 0) {
      restart();
      model = model_saved;
      clock = clock_saved;
    } else {
      if (dice < 30) clock += static_cast<MicrosUtc>(random() % (3 * kMicrosPerHour));
      const int number = static_cast<int>(random() % 4'000);
      const auto known = model.find(number);
      const bool is_new =
          known == model.end() || clock / kMicrosPerHour - known->second / kMicrosPerHour > 24;
      if (is_new) model[number] = clock;
      ASSERT_EQ(take(number, clock), is_new) << step;
    }
  }
}

}  // namespace
}  // namespace flagstream::transform
