#include "transform/rules_history.h"

#include <filesystem>
#include <optional>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/clock.h"
#include "environment/test_records.h"
#include "io/file_system.h"
#include "log/local_log.h"
#include "telemetry/metrics.h"

namespace flagstream::transform {
namespace {

using namespace environment::testing_records;

class RulesHistoryTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "rules_history_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    log_ = log::open_local_log({.folder = folder_, .segment_bytes = 1 << 20, .pool_segments = 0},
                               io::posix_file_system(), clock_, registry_);
    history_.emplace(*log_);
  }
  void TearDown() override {
    history_.reset();
    config_.reset();
    log_.reset();
    std::filesystem::remove_all(folder_);
  }
  void append(const std::string& record) {
    if (config_ == nullptr) config_ = *log_->open_appender("config", {.partitions = 1});
    log::Batch batch;
    batch.add({record});
    ASSERT_TRUE(config_->append_and_wait(0, std::move(batch)));
  }
  static environment::proto::Item flag_with(std::uint64_t revision, std::int64_t version,
                                            const std::string& variations,
                                            const std::string& key = "f") {
    environment::proto::Item item = flag(revision, key, version);
    item.set_document(R"({"key":")" + key + R"(","variations":)" + variations + "}");
    return item;
  }
  // -1: the flag has no such variation; -2: there is no such flag.
  int variation_at(std::uint64_t revision, std::string_view value, std::string_view key = "f") {
    const auto found = history_->find({.environment_id = 7, .revision = revision, .key = key});
    EXPECT_TRUE(found);
    if (!found || *found == nullptr) return -2;
    return (*found)->variation_of(value).value_or(-1);
  }

  std::string folder_;
  SystemClock clock_;
  telemetry::Registry registry_;
  std::unique_ptr<log::Log> log_;
  std::unique_ptr<log::Appender> config_;
  std::optional<RulesHistory> history_;
};

TEST_F(RulesHistoryTest, EachRevisionHasTheRulesThatItHad) {
  append(change(environment_item(1)));
  append(change(flag_with(2, 1, R"(["a","b"])")));
  append(change(flag_with(3, 1, R"([1])", "g")));
  append(change(flag_with(4, 2, R"(["b","a"])")));
  append(change(deleted(flag(5, "f", 3))));
  append(change(flag_with(6, 4, R"(["c"])")));
  EXPECT_EQ(variation_at(6, R"("c")"), 0) << "and then back, whatever was read already";
  EXPECT_EQ(variation_at(1, R"("a")"), -2);
  EXPECT_EQ(variation_at(2, R"("a")"), 0);
  EXPECT_EQ(variation_at(3, R"("a")"), 0);
  EXPECT_EQ(variation_at(4, R"("a")"), 1);
  EXPECT_EQ(variation_at(4, R"("c")"), -1);
  EXPECT_EQ(variation_at(5, R"("a")"), -2);
  EXPECT_EQ(variation_at(3, "1", "g"), 0);
  EXPECT_EQ(variation_at(6, "1", "nope"), -2);
}

TEST_F(RulesHistoryTest, ItReadsOnWhenANewerRevisionIsAskedFor) {
  append(change(environment_item(1)));
  append(change(flag_with(2, 1, R"(["a"])")));
  EXPECT_EQ(variation_at(2, R"("a")"), 0);
  append(change(flag_with(3, 2, R"(["x","a"])")));
  EXPECT_EQ(variation_at(3, R"("a")"), 1);
  EXPECT_EQ(variation_at(2, R"("a")"), 0);
}

TEST_F(RulesHistoryTest, WhatIsNowhereInConfigNobodyCanTell) {
  EXPECT_EQ(variation_at(2, R"("a")"), -2) << "there is no topic";
  append(change(environment_item(1)));
  append(change(flag_with(2, 1, R"(["a"])")));
  EXPECT_EQ(variation_at(9, R"("a")"), -2) << "a revision of another config";
  EXPECT_EQ(variation_at(2, R"("a")"), 0);
}

TEST_F(RulesHistoryTest, ACopyThatStepsOverAGapCounts) {
  append(change(environment_item(1)));
  append(change(flag_with(3, 2, R"(["behind the gap"])")));
  for (const std::string& record :
       copy(77, 4, {environment_item(4), flag_with(4, 3, R"(["copied"])")}, true))
    append(record);
  append(change(flag_with(5, 4, R"(["late"])")));
  EXPECT_EQ(variation_at(4, R"("copied")"), 0);
  EXPECT_EQ(variation_at(5, R"("late")"), 0);
}

}  // namespace
}  // namespace flagstream::transform
