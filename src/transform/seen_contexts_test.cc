#include "transform/seen_contexts.h"

#include <filesystem>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

namespace flagstream::transform {
namespace {

constexpr MicrosUtc kStart = 1'000 * SeenContexts::kPeriod;

class SeenContextsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "seen_contexts_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    store_ = *pipeline::Store::open(folder_);
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(folder_);
  }
  SeenContexts open(MicrosUtc clock = kStart) { return *SeenContexts::open(*store_, clock); }
  void save(SeenContexts& seen) {
    pipeline::Changes changes;
    seen.checkpoint(changes);
    ASSERT_TRUE(store_->write(changes));
  }
  std::size_t entries() {
    std::size_t count = 0;
    EXPECT_TRUE(
        store_->scan("dx", [&](std::string_view, std::string_view) { return ++count > 0; }));
    return count;
  }
  static bool take(SeenContexts& seen, std::string_view key, std::uint64_t environment = 7) {
    const events::ContextKeyView context{.kind = "user", .key = key};
    return seen.take(environment, std::span(&context, 1));
  }

  std::string folder_;
  std::unique_ptr<pipeline::Store> store_;
};

TEST_F(SeenContextsTest, AContextIsNewOnceInAPeriodOfItsEnvironment) {
  SeenContexts seen = open();
  EXPECT_TRUE(take(seen, "a"));
  EXPECT_FALSE(take(seen, "a"));
  EXPECT_TRUE(take(seen, "a", 8));
  EXPECT_TRUE(take(seen, "b"));
  seen.advance(kStart + SeenContexts::kPeriod - 1);
  EXPECT_FALSE(take(seen, "a"));
  seen.advance(kStart + SeenContexts::kPeriod);
  EXPECT_TRUE(take(seen, "a"));
  seen.advance(kStart);
  EXPECT_FALSE(take(seen, "a")) << "it never goes back";
}

TEST_F(SeenContextsTest, KindsAndKeysAreNotRunTogether) {
  SeenContexts seen = open();
  const events::ContextKeyView one[] = {{.kind = "a", .key = "b"}, {.kind = "c", .key = "d"}};
  const events::ContextKeyView other[] = {{.kind = "a", .key = "bc"}, {.kind = "", .key = "d"}};
  EXPECT_TRUE(seen.take(7, one));
  EXPECT_TRUE(seen.take(7, other));
  EXPECT_TRUE(seen.take(7, std::span(one).first(1)));
}

TEST_F(SeenContextsTest, WhatACheckpointHoldsIsKnownAfterARestart) {
  SeenContexts before = open();
  EXPECT_TRUE(take(before, "a"));
  save(before);
  EXPECT_TRUE(take(before, "lost"));
  SeenContexts after = open();
  EXPECT_FALSE(take(after, "a"));
  EXPECT_TRUE(take(after, "lost"));
}

TEST_F(SeenContextsTest, APeriodThatIsOverIsRemoved) {
  SeenContexts seen = open();
  EXPECT_TRUE(take(seen, "a"));
  save(seen);
  EXPECT_EQ(entries(), 1u);
  seen.advance(kStart + SeenContexts::kPeriod);
  save(seen);
  EXPECT_EQ(entries(), 0u);
  EXPECT_TRUE(take(seen, "b"));
  save(seen);
  EXPECT_EQ(entries(), 1u);
  EXPECT_EQ(seen.dirty_bytes(), 0u);
}

TEST_F(SeenContextsTest, BeyondTheLimitContextsAreNewEachTime) {
  SeenContexts seen = open();
  for (std::size_t i = 0; i < SeenContexts::kContextsMax; ++i) {
    EXPECT_FALSE(seen.is_full());
    EXPECT_TRUE(take(seen, std::to_string(i)));
  }
  EXPECT_TRUE(seen.is_full());
  EXPECT_FALSE(take(seen, "0"));
  EXPECT_TRUE(take(seen, "one more"));
  EXPECT_TRUE(take(seen, "one more"));
  seen.advance(kStart + SeenContexts::kPeriod);
  EXPECT_FALSE(seen.is_full());
}

}  // namespace
}  // namespace flagstream::transform
