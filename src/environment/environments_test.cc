#include "environment/environments.h"

#include <condition_variable>
#include <filesystem>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/hash.h"
#include "environment/config_record.h"
#include "environment/fold.h"
#include "log/local_log.h"

namespace flagstream::environment {
namespace {

std::string record_of(const proto::Record& record) {
  const auto encoded = encode_config_record(record);
  EXPECT_TRUE(encoded);
  return *encoded;
}

proto::Item flag(std::uint64_t revision, const std::string& key, std::int64_t version) {
  proto::Item item;
  item.set_project_id(1);
  item.set_environment_id(7);
  item.set_revision(revision);
  item.set_kind(proto::Item::FLAG);
  item.set_key(key);
  item.set_version(version);
  item.set_document(R"({"key":")" + key + R"(","version":)" + std::to_string(version) + "}");
  return item;
}

proto::Item deleted(proto::Item item) {
  item.set_deleted(true);
  item.clear_document();
  return item;
}

proto::Item environment(std::uint64_t revision) {
  proto::Environment document;
  document.set_project_key("p");
  document.set_key("production");
  document.set_client_side_id("client-7");
  auto* credential = document.add_credentials();
  credential->set_kind(proto::Credential::SDK_KEY);
  credential->set_sha256(sha256("sdk-7"));
  proto::Item item = flag(revision, "production", 1);
  item.set_kind(proto::Item::ENVIRONMENT);
  item.set_document(*encode_environment(document));
  return item;
}

std::string change(proto::Item item) {
  proto::Record record;
  *record.mutable_item() = std::move(item);
  return record_of(record);
}

std::vector<std::string> copy(std::uint64_t id, std::uint64_t revision,
                              std::vector<proto::Item> items, bool with_end) {
  std::vector<std::string> out;
  proto::Record begin;
  begin.mutable_copy_begin()->set_copy_id(id);
  auto* of = begin.mutable_copy_begin()->add_revisions();
  of->set_environment_id(7);
  of->set_revision(revision);
  out.push_back(record_of(begin));
  for (proto::Item& item : items) {
    item.set_copy_id(id);
    item.set_revision(revision);
    out.push_back(change(std::move(item)));
  }
  if (!with_end) return out;
  proto::Record end;
  end.mutable_copy_end()->set_copy_id(id);
  out.push_back(record_of(end));
  return out;
}

std::uint64_t revision_in(const ConfigFold& fold) {
  const auto found = fold.environments().find(7);
  return found == fold.environments().end() ? 0 : found->second.revision;
}

TEST(ConfigFold, KnownRevisionsAreDroppedAndAGapWaits) {
  ConfigFold fold;
  EXPECT_EQ(fold.take(change(environment(1)))->changes.size(), 1u);
  EXPECT_EQ(fold.take(change(flag(3, "b", 1)))->changes.size(), 0u);
  EXPECT_EQ(fold.gaps(), 1u);
  EXPECT_EQ(revision_in(fold), 1u);
  const auto both = fold.take(change(flag(2, "a", 1)));
  ASSERT_EQ(both->changes.size(), 2u);
  EXPECT_EQ(both->changes[0].key(), "a");
  EXPECT_EQ(both->changes[1].key(), "b");
  EXPECT_EQ(fold.take(change(flag(2, "a", 9)))->changes.size(), 0u);
  EXPECT_EQ(fold.gaps(), 0u);
}

TEST(ConfigFold, ACopyCountsOnlyWithItsEndAndOnlyWhereItIsAhead) {
  ConfigFold fold;
  (void)fold.take(change(environment(1)));
  (void)fold.take(change(flag(2, "a", 5)));
  for (const auto& record : copy(9, 2, {environment(1)}, true))
    EXPECT_TRUE(fold.take(record)->replaced.empty());
  EXPECT_EQ(fold.environments().at(7).items.size(), 2u);
  for (const auto& record : copy(10, 5, {environment(1), flag(1, "z", 1)}, false))
    (void)fold.take(record);
  EXPECT_EQ(revision_in(fold), 2u);
  (void)fold.take(change(flag(6, "c", 1)));
  std::size_t replaced = 0;
  for (const auto& record : copy(11, 5, {environment(1), flag(1, "z", 1)}, true))
    replaced += fold.take(record)->replaced.size();
  EXPECT_EQ(replaced, 1u);
  EXPECT_EQ(revision_in(fold), 6u) << "what waited behind the copy's revision follows on it";
  EXPECT_TRUE(fold.environments().at(7).items.contains({proto::Item::FLAG, "z"}));
  EXPECT_FALSE(fold.environments().at(7).items.contains({proto::Item::FLAG, "a"}));
}

TEST(ConfigFold, DamagedAndUnknownRecordsAreCountedAndANewerLayoutStops) {
  ConfigFold fold;
  EXPECT_TRUE(fold.take(std::string("\x05\x01garbage", 9)));
  EXPECT_TRUE(fold.take("\x63\x01"));
  EXPECT_EQ(fold.skipped(), 2u);
  EXPECT_EQ(fold.take("\x05\x02").error().kind, ErrorKind::InvalidArgument);
}

TEST(ConfigFold, ItsStateAsACopyFoldsToTheSameState) {
  ConfigFold fold;
  (void)fold.take(change(environment(1)));
  (void)fold.take(change(flag(2, "a", 1)));
  (void)fold.take(change(deleted(flag(3, "a", 2))));
  ConfigFold again;
  const auto records = fold.as_copy();
  ASSERT_TRUE(records);
  for (const auto& record : *records) ASSERT_TRUE(again.take(record));
  EXPECT_EQ(*again.as_copy(), *records);
  EXPECT_EQ(revision_in(again), 3u);
}

class EnvironmentsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "environments_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    log_ = log::open_local_log(
        {.folder = folder_ + "/log", .segment_bytes = 1 << 20, .pool_segments = 0},
        io::posix_file_system(), clock_, registry_);
  }
  void TearDown() override {
    environments_.reset();
    appender_.reset();
    std::filesystem::remove_all(folder_);
  }
  void start() {
    auto started = Environments::start({.state_path = folder_ + "/state"}, *log_,
                                       io::posix_file_system(), clock_, registry_);
    ASSERT_TRUE(started);
    environments_ = *std::move(started);
  }
  void append(const std::vector<std::string>& records) {
    if (appender_ == nullptr) appender_ = *log_->open_appender("config", {.partitions = 1});
    log::Batch batch;
    for (const std::string& each : records) batch.add({each});
    ASSERT_TRUE(appender_->append_and_wait(0, std::move(batch)));
  }
  Result<void> read_to_end() {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Result<void>> answer;
    environments_->read_to_end([&](Result<void> result) {
      const std::lock_guard lock(mutex);
      answer = std::move(result);
      changed.notify_one();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return answer.has_value(); });
    return *std::move(answer);
  }

  std::string folder_;
  SystemClock clock_;
  telemetry::Registry registry_;
  std::unique_ptr<log::Log> log_;
  std::unique_ptr<log::Appender> appender_;
  std::unique_ptr<Environments> environments_;
};

TEST_F(EnvironmentsTest, WhatWasAppendedBeforeTheCallIsKnownAfterReadingToTheEnd) {
  append({change(environment(1)), change(flag(2, "a", 3))});
  start();
  ASSERT_TRUE(read_to_end());
  const auto id = environments_->find(CredentialKind::SdkKey, "sdk-7");
  ASSERT_TRUE(id);
  EXPECT_EQ(environments_->find(CredentialKind::MobileKey, "sdk-7"), std::nullopt);
  EXPECT_EQ(environments_->find(CredentialKind::ClientSideId, "client-7"), id);
  const auto flags = environments_->flag_set(*id);
  EXPECT_EQ(*flags->all_json, R"({"flags":{"a":{"key":"a","version":3}},"segments":{}})");
  EXPECT_EQ(flags->revision, 2u);
  append({change(deleted(flag(3, "a", 4)))});
  ASSERT_TRUE(read_to_end());
  EXPECT_EQ(*environments_->flag_set(*id)->all_json, R"({"flags":{},"segments":{}})");
  const auto changes = environments_->changes_since(*id, 2);
  ASSERT_TRUE(changes);
  ASSERT_EQ(changes->size(), 1u);
  EXPECT_EQ((*changes)[0]->item.json, nullptr);
  EXPECT_EQ((*changes)[0]->item.version, 4);
}

TEST_F(EnvironmentsTest, ASubscriberIsWokenByAChange) {
  append({change(environment(1))});
  start();
  ASSERT_TRUE(read_to_end());
  std::atomic<int> woken{0};
  const auto subscription = environments_->subscribe(EnvironmentId{7}, [&] { ++woken; });
  append({change(flag(2, "a", 1))});
  ASSERT_TRUE(read_to_end());
  EXPECT_EQ(woken.load(), 1);
}

TEST_F(EnvironmentsTest, WithoutAnythingElseTheLastKnownStateIsServed) {
  append({change(environment(1)), change(flag(2, "a", 1))});
  start();
  ASSERT_TRUE(read_to_end());
  environments_.reset();
  appender_.reset();
  std::filesystem::remove_all(folder_ + "/log");
  start();
  EXPECT_TRUE(environments_->has_configuration());
  EXPECT_TRUE(environments_->find(CredentialKind::SdkKey, "sdk-7"));
  EXPECT_EQ(read_to_end().error().kind, ErrorKind::Unavailable) << "the end cannot be known";
}

TEST_F(EnvironmentsTest, ADamagedStateIsReadAnewFromTheLog) {
  append({change(environment(1)), change(flag(2, "a", 1))});
  std::filesystem::create_directories(folder_);
  ASSERT_TRUE(io::posix_file_system().replace_file(folder_ + "/state", "no state"));
  start();
  ASSERT_TRUE(read_to_end());
  EXPECT_TRUE(environments_->find(CredentialKind::SdkKey, "sdk-7"));
}

}  // namespace
}  // namespace flagstream::environment
