#include "catalog/publisher.h"

#include <filesystem>
#include <set>

#include <gtest/gtest.h>

#include "catalog/flag_json.h"
#include "catalog/test_config_log.h"
#include "environment/membership_record.h"

namespace flagstream::catalog {
namespace {

namespace fs = std::filesystem;

class PublisherTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("flagstream-publisher-" + random_hex(16));
    fs::create_directories(folder_);
    start();
    ASSERT_TRUE(catalog_->create_project({.key = "shop", .name = "Shop"}, actor_));
  }
  void TearDown() override {
    publisher_.reset();
    catalog_.reset();
    fs::remove_all(folder_);
  }

  // What a start of control does, on the database file and the log as they are.
  Reconciled start(PublisherSettings settings = {}) {
    publisher_.reset();
    catalog_.emplace(*Catalog::open(path(), clock_));
    auto opened = Publisher::open(*Catalog::open(path(), clock_), log_, registry_, settings);
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().what);
    publisher_ = *std::move(opened);
    auto reconciled = publisher_->recover();
    EXPECT_TRUE(reconciled) << (reconciled ? "" : reconciled.error().what);
    return reconciled ? *reconciled : Reconciled();
  }

  // As after SIGKILL: what is in memory is gone.
  void kill() {
    publisher_.reset();
    catalog_.reset();
  }

  void back_up() {
    ASSERT_TRUE(
        catalog_->database().exec("VACUUM INTO '" + (folder_ / "backup.db").string() + "'"));
  }
  void restore() {
    kill();
    for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(path() + suffix);
    fs::copy_file(folder_ / "backup.db", path());
  }

  void create(const std::string& key) {
    ASSERT_TRUE(catalog_->create_flag("shop", {.key = key, .name = key}, actor_));
  }
  void turn(const std::string& key, const char* kind) {
    SemanticPatch patch;
    json::Object body;
    body["kind"] = kind;
    patch.instructions.push_back({"production", body});
    auto edited = catalog_->edit_flag("shop", key, patch, actor_);
    ASSERT_TRUE(edited) << edited.error().what;
  }

  std::string path() const { return folder_ / "catalog.db"; }

  // Changes in the log follow each other without a gap, none twice, and no version goes back.
  void expect_dense_log() {
    std::map<std::uint64_t, std::uint64_t> revisions;
    std::map<std::string, std::int64_t> versions;
    for (const auto& record : log_.decoded()) {
      if (!record.has_item() || record.item().has_copy_id()) continue;
      const auto& item = record.item();
      EXPECT_EQ(item.revision(), revisions[item.environment_id()] + 1) << item.key();
      revisions[item.environment_id()] = item.revision();
      auto& version = versions[std::to_string(item.environment_id()) + "/" +
                               std::to_string(item.kind()) + item.key()];
      EXPECT_GT(item.version(), version) << item.key();
      version = item.version();
    }
  }

  // What a new reader of the whole log would serve is what the catalog holds.
  void expect_log_equals_catalog() {
    std::map<std::string, std::string> wanted;
    const auto name = [](std::uint64_t environment, int kind, const std::string& key) {
      return std::to_string(environment) + "/" + std::to_string(kind) + "/" + key;
    };
    const auto items = catalog_->items();
    ASSERT_TRUE(items);
    for (const Item& each : *items) {
      wanted[name(to_number(each.environment), static_cast<int>(each.kind), each.key)] =
          each.document;
    }
    std::map<std::string, std::string> served;
    for (const auto& record : log_.decoded()) {
      if (!record.has_item() || record.item().has_copy_id()) continue;
      const auto& item = record.item();
      served[name(item.environment_id(), item.kind(), item.key())] = item.document();
      if (!item.deleted()) continue;
      served.erase(name(item.environment_id(), item.kind(), item.key()));
      if (item.kind() != environment::proto::Item::ENVIRONMENT) continue;
      // Everything in it is gone with it.
      const std::string all = std::to_string(item.environment_id()) + "/";
      std::erase_if(served, [&](const auto& each) { return each.first.starts_with(all); });
    }
    EXPECT_EQ(served, wanted);
  }

  fs::path folder_;
  FakeClock clock_{1'700'000'000'000'000};
  Actor actor_{"tester"};
  telemetry::Registry registry_;
  ConfigLog log_;
  std::optional<Catalog> catalog_;
  std::unique_ptr<Publisher> publisher_;
};

TEST_F(PublisherTest, ChangesReachTheLogInOrderAndLeaveTheOutbox) {
  create("a");
  turn("a", "turnFlagOn");
  const auto count = publisher_->publish();
  ASSERT_TRUE(count);
  EXPECT_EQ(*count, 2u + 2u + 1u);
  EXPECT_EQ(log_.records.size(), 5u);
  expect_dense_log();
  expect_log_equals_catalog();
  EXPECT_TRUE(catalog_->outbox().oldest(1, 1)->empty());
  EXPECT_EQ(*publisher_->publish(), 0u);
}

TEST_F(PublisherTest, KilledBetweenCommitAndAppendTheStartPublishesOnce) {
  create("a");
  kill();
  start();
  EXPECT_EQ(log_.records.size(), 4u);
  expect_dense_log();
  start();
  EXPECT_EQ(log_.records.size(), 4u);
}

TEST_F(PublisherTest, KilledBetweenAppendAndMarkNothingIsPublishedTwice) {
  create("a");
  log_.next = ConfigLog::Next::StoresAndFails;
  EXPECT_FALSE(publisher_->publish());
  ASSERT_EQ(log_.records.size(), 4u);
  ASSERT_FALSE(catalog_->outbox().oldest(1, 1)->empty());
  kill();
  const Reconciled reconciled = start();
  EXPECT_EQ(reconciled.environments_behind, 0u);
  EXPECT_EQ(log_.records.size(), 4u);
  EXPECT_TRUE(catalog_->outbox().oldest(1, 1)->empty());
  turn("a", "turnFlagOn");
  ASSERT_TRUE(publisher_->publish());
  expect_dense_log();
  expect_log_equals_catalog();
}

TEST_F(PublisherTest, MembershipsReachTheLogBeforeTheChangeOfTheirSegment) {
  const EnvironmentPath in{"shop", "production"};
  ASSERT_TRUE(
      catalog_->create_segment(in, {.key = "big", .name = "big", .unbounded = true}, actor_));
  ASSERT_TRUE(catalog_->change_members(in, "big", {.included_add = {"u"}}, actor_));
  log_.next = ConfigLog::Next::StoresAndFails;  // of the memberships, which go first
  EXPECT_FALSE(publisher_->publish());
  EXPECT_EQ(log_.memberships.size(), 2u);
  EXPECT_TRUE(log_.records.empty());
  kill();
  start();
  EXPECT_EQ(log_.memberships.size(), 2u) << "published once";
  expect_dense_log();
  expect_log_equals_catalog();
  EXPECT_EQ(log_.decoded().back().item().memberships(), 2u);
}

TEST_F(PublisherTest, ARestoredBackupHandsItsMembershipsOutAnew) {
  const EnvironmentPath in{"shop", "production"};
  ASSERT_TRUE(
      catalog_->create_segment(in, {.key = "big", .name = "big", .unbounded = true}, actor_));
  ASSERT_TRUE(catalog_->change_members(in, "big", {.included_add = {"kept"}}, actor_));
  ASSERT_TRUE(publisher_->publish());
  back_up();
  ASSERT_TRUE(catalog_->change_members(in, "big", {.included_add = {"later"}}, actor_));
  ASSERT_TRUE(publisher_->publish());
  restore();
  start();
  const auto last = environment::decode_membership_record(log_.memberships.back());
  ASSERT_TRUE(last);
  EXPECT_TRUE(last->reset());
  EXPECT_EQ(last->sequence(), 4u);
  EXPECT_EQ(last->included_add(), environment::member_of("kept").to_bytes());
  const auto raised = log_.decoded().back().item();
  EXPECT_EQ(raised.key(), "big");
  EXPECT_EQ(raised.memberships(), 4u) << "or a gateway evaluates before it has read them";
  expect_dense_log();
  expect_log_equals_catalog();
}

TEST_F(PublisherTest, AFailedAppendIsTriedAgainByTheNextCall) {
  create("a");
  log_.next = ConfigLog::Next::Fails;
  EXPECT_FALSE(publisher_->publish());
  EXPECT_TRUE(log_.records.empty());
  ASSERT_TRUE(publisher_->publish());
  expect_dense_log();
}

TEST_F(PublisherTest, ARestoredBackupIsRaisedAboveTheLogAndEveryDifferenceIsPublished) {
  create("kept");
  create("changed-later");
  create("deleted-later");
  ASSERT_TRUE(publisher_->publish());
  back_up();
  turn("changed-later", "turnFlagOn");
  turn("changed-later", "turnFlagOff");
  turn("changed-later", "turnFlagOn");
  create("created-later");
  ASSERT_TRUE(catalog_->delete_flag("shop", "deleted-later", actor_));
  ASSERT_TRUE(catalog_->create_environment("shop", {.key = "later", .name = "Later"}, actor_));
  ASSERT_TRUE(publisher_->publish());
  restore();
  const Reconciled reconciled = start();
  EXPECT_EQ(reconciled.environments_behind, 2u);
  expect_dense_log();
  expect_log_equals_catalog();
  turn("changed-later", "turnFlagOn");
  create("created-later");
  const auto environment =
      catalog_->create_environment("shop", {.key = "next", .name = "Next"}, actor_);
  ASSERT_TRUE(environment);
  EXPECT_GT(to_number(environment->id), 3u)
      << "the id of the environment that was lost is not used again";
  ASSERT_TRUE(publisher_->publish());
  expect_dense_log();
  expect_log_equals_catalog();
}

TEST_F(PublisherTest, ARestoredBackupWithWaitingChangesDropsTheirNumbersNotTheChanges) {
  create("a");
  ASSERT_TRUE(publisher_->publish());
  turn("a", "turnFlagOn");
  back_up();
  turn("a", "turnFlagOff");
  ASSERT_TRUE(publisher_->publish());
  restore();
  start();
  expect_dense_log();
  expect_log_equals_catalog();
  const auto flag = catalog_->flag(*catalog_->project("shop"), "a");
  EXPECT_TRUE(flag->environments.at("production").on) << "the backup's state wins";
}

TEST_F(PublisherTest, AnEmptyDatabaseBesideALogThatServesIsRefusedAndChangesNothing) {
  create("a");
  ASSERT_TRUE(publisher_->publish());
  back_up();
  kill();
  for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(path() + suffix);
  const std::size_t records = log_.records.size();
  auto opened = Publisher::open(*Catalog::open(path(), clock_), log_, registry_, {});
  ASSERT_TRUE(opened);
  const auto recovered = (*opened)->recover();
  ASSERT_FALSE(recovered);
  EXPECT_EQ(recovered.error().kind, ErrorKind::DataLoss);
  EXPECT_EQ(log_.records.size(), records);
  opened->reset();
  restore();
  start();
  expect_dense_log();
}

TEST_F(PublisherTest, ALostLogIsRepairedByACopy) {
  create("a");
  ASSERT_TRUE(publisher_->publish());
  kill();
  log_.records.clear();
  EXPECT_TRUE(start().log_is_behind);
  const auto records = log_.decoded();
  ASSERT_EQ(records.size(), 1u + 4u + 1u);
  EXPECT_TRUE(records.front().has_copy_begin());
  EXPECT_TRUE(records.back().has_copy_end());
  EXPECT_EQ(records.back().newest_copy(), 0u);
  turn("a", "turnFlagOn");
  ASSERT_TRUE(publisher_->publish());
  EXPECT_EQ(log_.decoded().back().newest_copy(), 0u);
  EXPECT_FALSE(start().log_is_behind);
}

TEST_F(PublisherTest, ACopyFollowsWhenTheChangesOutgrowTheLastOne) {
  start({.copy_after_bytes = 2'000});
  create("a");
  for (int i = 0; i < 40; ++i) {
    turn("a", i % 2 == 0 ? "turnFlagOn" : "turnFlagOff");
    ASSERT_TRUE(publisher_->publish());
  }
  ASSERT_TRUE(catalog_->create_flag("shop", {.key = "gone", .name = "gone"}, actor_));
  ASSERT_TRUE(catalog_->delete_flag("shop", "gone", actor_));
  for (int i = 0; i < 40; ++i) {
    turn("a", i % 2 == 0 ? "turnFlagOn" : "turnFlagOff");
    ASSERT_TRUE(publisher_->publish());
  }
  expect_dense_log();
  const auto records = log_.decoded();
  std::optional<std::size_t> begin, end;
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (records[i].has_copy_begin()) begin = i;
    if (records[i].has_copy_end()) end = i;
  }
  ASSERT_TRUE(begin && end && *begin < *end);
  EXPECT_EQ(records[*end].newest_copy(), *begin);
  std::set<std::string> tombstones;
  std::map<std::uint64_t, std::uint64_t> revisions;
  for (const auto& each : records[*begin].copy_begin().revisions()) {
    revisions[each.environment_id()] = each.revision();
  }
  for (std::size_t i = *begin + 1; i < *end; ++i) {
    EXPECT_EQ(records[i].item().copy_id(), records[*begin].copy_begin().copy_id());
    EXPECT_EQ(records[i].item().revision(), revisions[records[i].item().environment_id()]);
    if (records[i].item().deleted()) tombstones.insert(records[i].item().key());
  }
  EXPECT_TRUE(tombstones.contains("gone"));
  if (*end + 1 < records.size()) EXPECT_EQ(records.back().newest_copy(), *begin);
  // A start that begins at the copy knows as much as one that reads everything.
  EXPECT_EQ(start().environments_behind, 0u);
  EXPECT_EQ(publisher_->published().size(), 2u);
}

TEST_F(PublisherTest, ACopyKeepsTheTombstonesOfEnvironmentsThatAreGone) {
  back_up();
  ASSERT_TRUE(catalog_->create_project({.key = "later", .name = "Later"}, actor_));
  ASSERT_TRUE(publisher_->publish());
  restore();
  for (int starts = 0; starts < 2; ++starts) {
    start({.copy_after_bytes = 1});
    std::map<std::uint64_t, std::uint64_t> revisions;
    std::set<std::uint64_t> deleted;
    for (const auto& record : log_.decoded()) {
      if (record.has_copy_begin()) {
        revisions.clear();
        for (const auto& each : record.copy_begin().revisions())
          revisions[each.environment_id()] = each.revision();
      }
      if (record.item().has_copy_id() && record.item().deleted()) {
        deleted.insert(record.item().environment_id());
        EXPECT_EQ(record.item().revision(), revisions[record.item().environment_id()]);
        EXPECT_EQ(record.item().version(), 2);
      }
    }
    EXPECT_EQ(revisions[3], 2u);
    EXPECT_EQ(revisions[4], 2u);
    EXPECT_EQ(deleted, (std::set<std::uint64_t>{3, 4}));
    kill();
  }
}

TEST_F(PublisherTest, ACopyWithoutItsEndIsIgnored) {
  create("a");
  ASSERT_TRUE(publisher_->publish());
  kill();
  environment::proto::Record begin;
  begin.mutable_copy_begin()->set_copy_id(7);
  log_.records.push_back(*environment::encode_config_record(begin));
  const Reconciled reconciled = start();
  EXPECT_FALSE(reconciled.log_is_behind);
  EXPECT_EQ(publisher_->published().size(), 2u);
  turn("a", "turnFlagOn");
  ASSERT_TRUE(publisher_->publish());
  expect_dense_log();
  EXPECT_FALSE(log_.decoded().back().has_newest_copy());
}

}  // namespace
}  // namespace flagstream::catalog
