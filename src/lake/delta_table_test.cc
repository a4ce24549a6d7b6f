#include "lake/delta_table.h"

#include <filesystem>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "io/memory_file_system.h"

namespace flagstream::lake {
namespace {

constexpr MicrosUtc kStart = 1'795'600'000'000'000;  // 2026-11-25T09:46:40Z
constexpr const char* kMetadata =
    R"({"id":"i","format":{"provider":"parquet","options":{}},"schemaString":"{}","partitionColumns":[],"configuration":{},"createdTime":1})";

std::unique_ptr<Session> session() {
  const auto duckdb = load_duckdb("");
  if (!duckdb) ADD_FAILURE() << duckdb.error().what;
  auto opened = Session::open(**duckdb, {.memory_bytes_max = 256 << 20});
  if (!opened) ADD_FAILURE() << opened.error().what;
  return *std::move(opened);
}

Commit commit_of(int number) {
  Commit commit;
  commit.timestamp = 1000 + number;
  commit.operation = "WRITE";
  commit.id = std::to_string(number);
  commit.marks = {{"app", number, 5}};
  commit.files = {{.path = fmt::format("date=2026-11-24/part-{}.parquet", number),
                   .partition_values = {{"date", "2026-11-24"}},
                   .size = 10 + number,
                   .modification_time = 7,
                   .stats = R"({"numRecords":1})"}};
  return commit;
}

class DeltaTableTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "delta_" + std::to_string(::getpid()) + "_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  DeltaTable open(io::FileSystem& files) {
    auto opened = DeltaTable::open(files, *session_, clock_, folder_, kMetadata);
    if (!opened) ADD_FAILURE() << opened.error().what;
    return *std::move(opened);
  }
  static DeltaTable::Published publish(DeltaTable& table, const Commit& commit) {
    const auto published = table.publish(commit);
    if (!published) ADD_FAILURE() << published.error().what;
    return published.value_or(DeltaTable::Published::Lost);
  }

  std::string folder_;
  FakeClock clock_{kStart};
  std::unique_ptr<Session> session_ = session();
  io::FileSystem& disk_ = io::posix_file_system();
};

TEST_F(DeltaTableTest, ACommitIsTheLinesThatTheProtocolAsksFor) {
  DeltaTable table = open(disk_);
  Commit commit = commit_of(3);
  commit.files[0].path = "date=2026-11-24/a b.parquet";
  ASSERT_EQ(publish(table, commit), DeltaTable::Published::Yes);
  EXPECT_EQ(
      *disk_.read_file(folder_ + "/_delta_log/00000000000000000001.json"),
      R"({"commitInfo":{"timestamp":1003,"operation":"WRITE","operationParameters":{},"isBlindAppend":true,"engineInfo":"Flagstream","txnId":"3"}})"
      "\n"
      R"({"txn":{"appId":"app","version":3,"lastUpdated":5}})"
      "\n"
      R"({"add":{"path":"date=2026-11-24/a%20b.parquet","partitionValues":{"date":"2026-11-24"},"size":13,"modificationTime":7,"dataChange":true,"stats":"{\"numRecords\":1}"}})"
      "\n");
}

TEST_F(DeltaTableTest, ReopeningFindsEverythingThatWasPublished) {
  DeltaTable table = open(disk_);
  for (int i = 1; i <= 3; ++i) ASSERT_EQ(publish(table, commit_of(i)), DeltaTable::Published::Yes);
  const DeltaTable again = open(disk_);
  EXPECT_EQ(again.state().version, 3);
  EXPECT_EQ(again.state().files.size(), 3u);
  EXPECT_EQ(again.state().marks.at("app").version, 3);
  EXPECT_EQ(again.state().committed_at, 1003);
}

TEST_F(DeltaTableTest, OfTwoWritersOneGetsTheVersionAndTheOtherSeesWhatItWrote) {
  DeltaTable first = open(disk_);
  DeltaTable second = open(disk_);
  ASSERT_EQ(publish(first, commit_of(1)), DeltaTable::Published::Yes);
  EXPECT_EQ(publish(second, commit_of(2)), DeltaTable::Published::Lost);
  EXPECT_EQ(second.state().version, 1);
  EXPECT_TRUE(second.state().files.contains("date=2026-11-24/part-1.parquet"));
  EXPECT_FALSE(second.state().files.contains("date=2026-11-24/part-2.parquet"));
  EXPECT_EQ(publish(second, commit_of(2)), DeltaTable::Published::Yes);
  EXPECT_EQ(open(disk_).state().files.size(), 2u);
}

TEST_F(DeltaTableTest, RacingWritersLoseNothingAndPublishNothingTwice) {
  constexpr int kWriters = 4, kEach = 6;
  (void)open(disk_);
  {
    std::vector<std::jthread> writers;
    for (int writer = 0; writer < kWriters; ++writer) {
      writers.emplace_back([&, writer] {
        const auto own = session();
        auto table = DeltaTable::open(disk_, *own, clock_, folder_, kMetadata);
        for (int i = 0; i < kEach; ++i) {
          const Commit commit = commit_of(100 * writer + i);
          while (publish(*table, commit) == DeltaTable::Published::Lost) {
          }
        }
      });
    }
  }
  const DeltaTable table = open(disk_);
  EXPECT_EQ(table.state().version, kWriters * kEach);
  EXPECT_EQ(table.state().files.size(), std::size_t{kWriters * kEach});
}

// At every change of the disk the power may fail: the table is then at a version that was
// published, and at none older than the last that publish() acknowledged.
TEST_F(DeltaTableTest, APowerFailureAtAnyStepLeavesAnAcknowledgedVersionOrItsSuccessor) {
  constexpr int kCommits = 3;
  constexpr int kTriesPerStep = 8;
  std::mt19937_64 random(20261124);
  folder_ = "lake/events";
  int steps = 0;
  for (int step = 0;; ++step) {
    io::MemoryFileSystem disk;
    ASSERT_TRUE(disk.make_folder("lake"));
    ASSERT_TRUE(disk.sync_folder("."));
    std::int64_t acknowledged = -1, acknowledged_then = -1;
    int count = 0;
    std::vector<std::unique_ptr<io::MemoryFileSystem>> crashed;
    disk.before_change = [&] {
      if (count++ != step) return;
      acknowledged_then = acknowledged;
      for (int i = 0; i < kTriesPerStep; ++i) crashed.push_back(disk.crash(random));
    };
    {
      DeltaTable table = open(disk);
      acknowledged = table.state().version;
      for (int i = 1; i <= kCommits; ++i) {
        ASSERT_EQ(publish(table, commit_of(i)), DeltaTable::Published::Yes);
        acknowledged = table.state().version;
      }
    }
    if (crashed.empty()) break;
    ++steps;
    for (const auto& after : crashed) {
      const auto state = read_table(*after, *session_, folder_);
      ASSERT_TRUE(state) << "step " << step << ": " << state.error().what;
      EXPECT_GE(state->version, acknowledged_then) << "step " << step;
      EXPECT_LE(state->version, acknowledged_then + 1) << "step " << step;
      EXPECT_EQ(state->files.size(),
                static_cast<std::size_t>(std::max<std::int64_t>(0, state->version)));
      DeltaTable table = open(*after);  // and the next writer can go on
      EXPECT_EQ(publish(table, commit_of(9)), DeltaTable::Published::Yes) << "step " << step;
    }
  }
  EXPECT_GT(steps, 4 * kCommits);
}

TEST_F(DeltaTableTest, AFailedSyncIsNoCommit) {
  io::MemoryFileSystem disk;
  DeltaTable table = open(disk);
  disk.fail_next_sync = true;
  EXPECT_FALSE(table.publish(commit_of(1)));
  EXPECT_EQ(open(disk).state().version, 0);
}

TEST_F(DeltaTableTest, ACheckpointStandsForAllCommitsBeforeIt) {
  DeltaTable table = open(disk_);
  Commit with_space = commit_of(1);
  with_space.files[0].path = "date=2026-11-24/a b'c.parquet";
  ASSERT_EQ(publish(table, with_space), DeltaTable::Published::Yes);
  for (int i = 2; i <= 4; ++i) ASSERT_EQ(publish(table, commit_of(i)), DeltaTable::Published::Yes);
  const auto written = table.write_checkpoint();
  ASSERT_TRUE(written) << written.error().what;
  ASSERT_EQ(publish(table, commit_of(5)), DeltaTable::Published::Yes);
  for (int i = 0; i <= 4; ++i) ASSERT_TRUE(disk_.remove(folder_ + "/_delta_log/" + commit_name(i)));

  const DeltaTable again = open(disk_);
  EXPECT_EQ(again.state().version, 5);
  EXPECT_EQ(again.state().checkpoint, 4);
  ASSERT_EQ(again.state().files.size(), 5u);
  const AddFile& file = again.state().files.at("date=2026-11-24/a b'c.parquet");
  EXPECT_EQ(file.size, 11);
  EXPECT_EQ(file.partition_values, (std::map<std::string, std::string>{{"date", "2026-11-24"}}));
  EXPECT_EQ(file.stats, R"({"numRecords":1})");
  EXPECT_EQ(again.state().marks.at("app").version, 5);
  EXPECT_EQ(again.state().schema, "{}");
  EXPECT_EQ(*disk_.read_file(folder_ + "/_delta_log/_last_checkpoint"),
            R"({"version":4,"size":7})");
}

TEST_F(DeltaTableTest, AMissingCommitIsAnErrorAndNotAnOlderTable) {
  DeltaTable table = open(disk_);
  for (int i = 1; i <= 3; ++i) ASSERT_EQ(publish(table, commit_of(i)), DeltaTable::Published::Yes);
  ASSERT_TRUE(disk_.remove(folder_ + "/_delta_log/" + commit_name(2)));
  const auto state = read_table(disk_, *session_, folder_);
  ASSERT_FALSE(state);
  EXPECT_EQ(state.error().kind, ErrorKind::DataLoss);
}

TEST_F(DeltaTableTest, ATableOfANewerProtocolIsRefusedWithASentence) {
  (void)open(disk_);
  ASSERT_TRUE(disk_.replace_file(folder_ + "/_delta_log/" + commit_name(1),
                                 R"({"protocol":{"minReaderVersion":3,"minWriterVersion":7}})"));
  const auto opened = DeltaTable::open(disk_, *session_, clock_, folder_, kMetadata);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().what,
            "00000000000000000001.json: the table needs Delta reader 3 and writer 7; this program "
            "has 1 and 2");
}

TEST_F(DeltaTableTest, OrphansGoOnlyWhenTheyAreOldAndNobodyNamesThem) {
  DeltaTable table = open(disk_);
  ASSERT_TRUE(disk_.make_folder(folder_ + "/date=2026-11-24"));
  const auto make = [&](MicrosUtc time) {
    const std::string path = "date=2026-11-24/" + data_file_name(time);
    EXPECT_TRUE(disk_.replace_file(folder_ + "/" + path, "x"));
    return path;
  };
  const std::string old_orphan = make(kStart - 2 * kMicrosPerHour);
  const std::string young_orphan = make(kStart - kMicrosPerMinute);
  const std::string live = make(kStart - 2 * kMicrosPerHour);
  const std::string strange = "date=2026-11-24/from-elsewhere.parquet";
  ASSERT_TRUE(disk_.replace_file(folder_ + "/" + strange, "x"));
  ASSERT_TRUE(disk_.replace_file(
      folder_ + fmt::format("/_delta_log/.{:020}-x.tmp", kStart - 2 * kMicrosPerHour), "x"));
  Commit commit = commit_of(1);
  commit.files[0].path = live;
  ASSERT_EQ(publish(table, commit), DeltaTable::Published::Yes);

  EXPECT_EQ(*table.remove_orphans(kMicrosPerHour), 2u);
  EXPECT_FALSE(disk_.exists(folder_ + "/" + old_orphan));
  for (const std::string& kept : {young_orphan, live, strange})
    EXPECT_TRUE(disk_.exists(folder_ + "/" + kept));
}

TEST_F(DeltaTableTest, StatusFollowsTheTableWithoutReadingItWhole) {
  EXPECT_EQ(read_status(disk_, folder_, {})->version, -1);
  DeltaTable table = open(disk_);
  for (int i = 1; i <= 150; ++i)
    ASSERT_EQ(publish(table, commit_of(i)), DeltaTable::Published::Yes);
  ASSERT_TRUE(disk_.remove(folder_ + "/_delta_log/" + commit_name(5)));  // too old to be looked at
  auto status = read_status(disk_, folder_, {});
  ASSERT_TRUE(status);
  EXPECT_EQ(status->version, 150);
  EXPECT_EQ(status->committed_at, 1150);
  EXPECT_EQ(status->marks.at("app").version, 150);
  ASSERT_EQ(publish(table, commit_of(151)), DeltaTable::Published::Yes);
  status = read_status(disk_, folder_, *status);
  EXPECT_EQ(status->version, 151);
  EXPECT_EQ(status->committed_at, 1151);
}

TEST_F(DeltaTableTest, StatusNoticesATableThatWasMadeAnewBelowIt) {
  const auto publish_to = [&](int last) {
    DeltaTable table = open(disk_);
    for (int i = 1; i <= last; ++i)
      ASSERT_EQ(publish(table, commit_of(i)), DeltaTable::Published::Yes);
  };
  const auto remove_table = [&] {
    const std::string log = folder_ + "/_delta_log/";
    for (const std::string& name : *disk_.list(log)) ASSERT_TRUE(disk_.remove(log + name));
  };
  publish_to(9);
  auto status = read_status(disk_, folder_, {});
  ASSERT_EQ(status->version, 9);
  remove_table();
  EXPECT_EQ(read_status(disk_, folder_, *status)->version, -1);
  EXPECT_TRUE(read_status(disk_, folder_, *status)->marks.empty());
  publish_to(2);  // fewer commits than before
  status = read_status(disk_, folder_, *status);
  EXPECT_EQ(status->version, 2);
  EXPECT_EQ(status->committed_at, 1002);
  EXPECT_EQ(status->marks.at("app").version, 2);
  remove_table();
  publish_to(1);
  ASSERT_TRUE(disk_.replace_file(folder_ + "/_delta_log/" + commit_name(2), "{}"));
  EXPECT_EQ(read_status(disk_, folder_, *status)->marks.at("app").version, 1);  // same number
}

TEST(DeltaState, PathsAreEncodedAsTheProtocolAsks) {
  EXPECT_EQ(url_encoded("date=2026-11-24/a b%\xc3\xa9.parquet"),
            "date=2026-11-24/a%20b%25%C3%A9.parquet");
  EXPECT_EQ(url_decoded("a%20b%25%C3%A9%zz%4"), "a b%\xc3\xa9%zz%4");
}

TEST(DeltaState, ARemoveTakesAFileOutAndAnAddBringsItBack) {
  TableState state;
  ASSERT_TRUE(apply_commit(
      R"({"add":{"path":"a%20b","partitionValues":{"date":null},"size":1,"modificationTime":2}})"
      "\n"
      R"({"remove":{"path":"a%20b","deletionTimestamp":9}})",
      0, state));
  EXPECT_TRUE(state.files.empty());
  EXPECT_EQ(state.removed.at("a b"), 9);
  ASSERT_TRUE(apply_commit(
      R"({"add":{"path":"a b","partitionValues":{},"size":1,"modificationTime":2}})", 1, state));
  EXPECT_TRUE(state.files.contains("a b"));
  EXPECT_TRUE(state.removed.empty());
  const auto damaged = apply_commit("{\"add\":", 2, state);
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().kind, ErrorKind::DataLoss);
}

}  // namespace
}  // namespace flagstream::lake
