#include "control/publish_loop.h"

#include <condition_variable>
#include <filesystem>
#include <mutex>

#include <gtest/gtest.h>

#include "catalog/test_config_log.h"

namespace flagstream::control {
namespace {

using catalog::Catalog;
using catalog::ConfigLog;
using catalog::Publisher;

class PublishLoopTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("fs-publish-loop-" + random_hex(12));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Catalog catalog() { return *Catalog::open(folder_ / "catalog.db", clock_); }
  PublishLoop::Open opener() {
    return [this]() -> Result<std::unique_ptr<Publisher>> {
      const std::lock_guard lock(mutex_);
      ++opened_;
      changed_.notify_all();
      return Publisher::open(catalog(), log_, registry_);
    };
  }

  std::filesystem::path folder_;
  SystemClock clock_;
  telemetry::Registry registry_;
  ConfigLog log_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int opened_ = 0;
};

TEST_F(PublishLoopTest, WhatWasCommittedBeforeTheStopIsPublished) {
  auto publisher = opener()();
  ASSERT_TRUE(publisher && (*publisher)->recover());
  {
    PublishLoop loop(*std::move(publisher), opener());
    ASSERT_TRUE(catalog().create_project({.key = "shop", .name = "Shop"}, {"tester"}));
    loop.notify();
  }
  EXPECT_EQ(log_.records.size(), 2u);
}

TEST_F(PublishLoopTest, AFailureOpensTheTopicAnewAndNothingIsLost) {
  auto publisher = opener()();
  ASSERT_TRUE(publisher && (*publisher)->recover());
  ASSERT_TRUE(catalog().create_project({.key = "shop", .name = "Shop"}, {"tester"}));
  log_.next = ConfigLog::Next::StoresAndFails;
  {
    PublishLoop loop(*std::move(publisher), opener());
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return opened_ == 2; });
    loop.notify();
  }
  EXPECT_EQ(log_.records.size(), 2u) << "stored by the append that failed, and not again";
  EXPECT_TRUE(catalog().outbox().oldest(1, 1)->empty());
}

}  // namespace
}  // namespace flagstream::control
