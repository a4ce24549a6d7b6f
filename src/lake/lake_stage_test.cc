#include "lake/lake_stage.h"

#include <filesystem>
#include <fstream>
#include <functional>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "environment/config_record.h"
#include "events/event.h"
#include "events/noise.h"
#include "events/record.h"
#include "io/crash_point.h"
#include "lake/delta_table.h"
#include "lake/event_rows.h"
#include "lake/lake_marks.h"
#include "lake/stage_child_test.h"
#include "log/local_log.h"

namespace flagstream::lake {
namespace {

using Rows = std::vector<std::vector<std::string>>;

constexpr MicrosUtc kStart = 1'795'600'000'000'000;  // 2026-11-25T09:46:40Z
constexpr std::uint64_t kSegmentBytes = 64 << 10;
const Id128 kPayloads{.high = 1, .low = 2};

const DuckDb& duckdb() {
  const auto loaded = load_duckdb("");
  if (!loaded) ADD_FAILURE() << loaded.error().what;
  return **loaded;
}

events::proto::Event event_from(std::uint64_t offset, std::uint32_t index = 0) {
  events::proto::Event event;
  event.mutable_source()->set_log_id(kPayloads.to_bytes());
  event.mutable_source()->set_offset(offset);
  event.mutable_source()->set_index(index);
  event.set_kind(events::proto::CUSTOM);
  event.set_environment_id(7);
  event.set_received_us(kStart + static_cast<std::int64_t>(offset));
  event.set_time_us(kStart - 5);
  event.set_key("checkout");
  return event;
}

std::string record_of(const events::proto::Event& event) {
  std::string record;
  events::encode_event(event, record);
  return record;
}

class LakeStageTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "lake_" + std::to_string(::getpid()) + "_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    log_ = log::open_local_log(
        {.folder = log_folder(), .segment_bytes = kSegmentBytes, .pool_segments = 0}, files_,
        clock_, registry_);
  }
  void TearDown() override {
    appender_.reset();
    log_.reset();
    std::filesystem::remove_all(folder_);
  }

  std::string log_folder() const { return folder_ + "/log"; }
  std::string table_folder() const { return folder_ + "/lake/events"; }

  void append(log::Partition partition, const std::vector<std::string>& records,
              const std::string& topic = "events") {
    if (appender_ == nullptr || topic != topic_) {
      appender_.reset();
      appender_ = *log_->open_appender(topic, {.partitions = topic == "events" ? 2u : 1u});
      topic_ = topic;
    }
    log::Batch batch;
    for (const std::string& record : records) batch.add({record});
    const auto done = appender_->append_and_wait(partition, std::move(batch));
    ASSERT_TRUE(done) << done.error().what;
  }

  LakeSettings settings() const {
    LakeSettings settings;
    settings.folder = table_folder();
    settings.memory_bytes_max = 256 << 20;
    settings.poll = std::chrono::milliseconds(0);
    return settings;
  }
  std::unique_ptr<LakeStage> stage() { return stage(settings()); }
  std::unique_ptr<LakeStage> stage(LakeSettings with) {
    auto opened = LakeStage::open(std::move(with), duckdb(), *log_, files_, clock_, registry_);
    if (!opened) ADD_FAILURE() << opened.error().what;
    return opened ? *std::move(opened) : nullptr;
  }
  void turn(LakeStage& stage) {
    const auto done = stage.turn();
    ASSERT_TRUE(done) << done.error().what;
  }
  void commit(LakeStage& stage) {
    const auto done = stage.commit();
    ASSERT_TRUE(done) << done.error().what;
  }

  TableState table() {
    auto state = read_table(files_, *session_, table_folder());
    if (!state) ADD_FAILURE() << state.error().what;
    return *std::move(state);
  }
  // `columns` of what the table holds, values as JSON text.
  Rows rows(const std::string& columns, const std::string& rest = "ORDER BY ALL") {
    std::string list;
    for (const auto& [path, file] : table().files) {
      list += (list.empty() ? "" : ", ") + sql_quoted(table_folder() + "/" + path);
    }
    if (list.empty()) return {};
    auto found = session_->rows(fmt::format(
        "SELECT {} FROM read_parquet([{}], hive_partitioning = true) {}", columns, list, rest));
    if (!found) ADD_FAILURE() << found.error().what;
    return found ? *std::move(found) : Rows{};
  }

  std::string folder_;
  FakeClock clock_{kStart};
  telemetry::Registry registry_;
  io::FileSystem& files_ = io::posix_file_system();
  std::unique_ptr<log::Log> log_;
  std::unique_ptr<log::Appender> appender_;
  std::string topic_;
  std::unique_ptr<Session> session_ = *Session::open(duckdb(), {.memory_bytes_max = 256 << 20});
};

TEST_F(LakeStageTest, ACounterOfASummaryIsARowThatSqlCanSum) {
  events::proto::Event counter = event_from(1000, 3);
  counter.mutable_source()->set_part(1);
  counter.set_kind(events::proto::SUMMARY);
  counter.set_key("flag-08");
  counter.set_variation(0);
  counter.set_version(7);
  counter.set_value_json("true");
  counter.set_default_json("false");
  counter.set_count(12);
  counter.set_start_us(kStart - 60'000'000);
  counter.add_context_kinds("user");
  counter.add_context_kinds("org");
  events::proto::Event unknown = event_from(1000, 4);
  unknown.set_kind(events::proto::SUMMARY);
  unknown.set_key("flag-08");
  unknown.set_count(5);
  unknown.set_unknown_flag(true);
  unknown.set_noise(events::kNoiseUnknownFlag);
  append(1, {record_of(counter), record_of(unknown)});
  const auto lake = stage();
  turn(*lake);
  commit(*lake);

  EXPECT_EQ(
      rows("date, received_at, time, environment_id, kind, key, variation, version, value, "
           "default_value, count, "
           "unknown_flag, started_at, context_kinds, noise, metric_micros"),
      (Rows{{"\"2026-11-25\"", "\"2026-11-25T09:46:40.001000Z\"", "\"2026-11-25T09:46:39.999995Z\"",
             "7", "\"summary\"", "\"flag-08\"", "0", "7", "\"true\"", "\"false\"", "12", "false",
             "\"2026-11-25T09:45:40Z\"", R"("[\"user\",\"org\"]")", "0", "null"},
            {"\"2026-11-25\"", "\"2026-11-25T09:46:40.001000Z\"", "\"2026-11-25T09:46:39.999995Z\"",
             "7", "\"summary\"", "\"flag-08\"", "null", "null", "null", "null", "5", "true", "null",
             "null", "32", "null"}}));
  EXPECT_EQ(rows("sum(count)", "WHERE kind = 'summary' AND key = 'flag-08'"), (Rows{{"17"}}));
  EXPECT_EQ(rows("\"partition\", generation, source_log, source_offset, source_index, source_part",
                 "WHERE count = 12"),
            (Rows{{"1", "0", "\"" + kPayloads.to_hex() + "\"", "1000", "3", "1"}}));
}

TEST_F(LakeStageTest, AMetricKeepsItsExactMicrosAndAContextItsKeys) {
  events::proto::Event event = event_from(1);
  event.set_metric_micros(-1'500'000);
  event.set_data_json(R"({"n":"\n"})");
  event.set_sampling_ratio(1);
  auto* user = event.add_contexts();
  user->set_kind("user");
  user->set_key("k\"1");
  event.set_context_json(R"({"kind":"user"})");
  append(0, {record_of(event)});
  const auto lake = stage();
  turn(*lake);
  commit(*lake);
  EXPECT_EQ(rows("kind, metric_micros, metric_value, data, sampling_ratio, contexts, context, "
                 "count, variation"),
            (Rows{{"\"custom\"", "-1500000", "-1.5", R"("{\"n\":\"\\n\"}")", "1",
                   R"("{\"user\":\"k\\\"1\"}")", R"("{\"kind\":\"user\"}")", "null", "null"}}));
}

TEST_F(LakeStageTest, ARowCarriesTheIdsAndTheKeysThatPeopleKnow) {
  environment::proto::Environment environment;
  environment.set_project_key("shop");
  environment.set_key("production");
  environment::proto::Record record;
  record.mutable_item()->set_project_id(3);
  record.mutable_item()->set_environment_id(7);
  record.mutable_item()->set_revision(1);
  record.mutable_item()->set_version(1);
  record.mutable_item()->set_kind(environment::proto::Item::ENVIRONMENT);
  record.mutable_item()->set_key("production");
  record.mutable_item()->set_document(*environment::encode_environment(environment));
  append(0, {*environment::encode_config_record(record)}, "config");
  events::proto::Event unknown = event_from(2);
  unknown.set_environment_id(8);
  append(0, {record_of(event_from(1)), record_of(unknown)});
  const auto lake = stage();
  turn(*lake);
  commit(*lake);
  EXPECT_EQ(rows("environment_id, project_id, project_key, environment_key"),
            (Rows{{"7", "3", "\"shop\"", "\"production\""}, {"8", "null", "null", "null"}}));
}

// By this a query knows that it need not open every file to learn what columns there are.
TEST_F(LakeStageTest, AFilesStatisticsNameEveryColumn) {
  append(0, {record_of(event_from(1))});
  const auto lake = stage();
  turn(*lake);
  commit(*lake);
  const std::string stats = table().files.begin()->second.stats;
  EXPECT_TRUE(stats.starts_with(
      R"({"numRecords":1,"minValues":{"received_at":"2026-11-25T09:46:40.000Z","time":"2026-11-25T09:46:39.999Z","environment_id":7,)"))
      << stats;
  EXPECT_NE(
      stats.find(
          R"("maxValues":{"received_at":"2026-11-25T09:46:40.001Z","time":"2026-11-25T09:46:40.000Z",)"),
      std::string::npos)
      << stats;
  const std::string nulls = stats.substr(stats.find("nullCount"));
  for (const ColumnDefinition& column : event_columns().subspan(1)) {
    EXPECT_NE(nulls.find(fmt::format("\"{}\":", column.name)), std::string::npos) << column.name;
  }
}

TEST_F(LakeStageTest, EachReceivedDateHasItsOwnFolderAndFile) {
  events::proto::Event tomorrow = event_from(2);
  tomorrow.set_received_us(kStart + kMicrosPerDay);
  append(0, {record_of(event_from(1)), record_of(tomorrow)});
  const auto lake = stage();
  turn(*lake);
  commit(*lake);
  std::vector<std::string> dates;
  for (const auto& [path, file] : table().files)
    dates.push_back(path.substr(0, 15) + file.partition_values.at("date"));
  EXPECT_EQ(dates,
            (std::vector<std::string>{"date=2026-11-252026-11-25", "date=2026-11-262026-11-26"}));
  EXPECT_EQ(rows("date, source_offset"), (Rows{{"\"2026-11-25\"", "1"}, {"\"2026-11-26\"", "2"}}));
}

TEST_F(LakeStageTest, RepeatsAreDroppedBySourceAlsoAfterARestart) {
  append(0, {record_of(event_from(1)), record_of(event_from(1, 1))});
  append(0, {record_of(event_from(1)), record_of(event_from(1, 1)), record_of(event_from(2))});
  append(1, {record_of(event_from(1))});  // another partition: another source
  {
    const auto lake = stage();
    turn(*lake);
    commit(*lake);
    EXPECT_EQ(lake->probe().repeated.value(), 2u);
  }
  append(0, {record_of(event_from(1, 1)), record_of(event_from(2)), record_of(event_from(3))});
  const auto lake = stage();
  turn(*lake);
  commit(*lake);
  EXPECT_EQ(lake->probe().repeated.value(), 2u);
  EXPECT_EQ(
      rows("\"partition\", source_offset, source_index"),
      (Rows{{"0", "1", "0"}, {"0", "1", "1"}, {"0", "2", "0"}, {"0", "3", "0"}, {"1", "1", "0"}}));
}

TEST_F(LakeStageTest, CommitsComeByTimeOrBySizeAndNotBefore) {
  append(0, {record_of(event_from(1))});
  LakeSettings with = settings();
  with.commit_interval = std::chrono::seconds(30);
  with.commit_bytes = 1000;
  const auto lake = stage(with);
  turn(*lake);
  clock_.advance(29'999'999);
  turn(*lake);
  EXPECT_EQ(table().version, 0);
  EXPECT_EQ(lake->probe().pending_rows.value(), 1);
  EXPECT_GT(lake->probe().lag_seconds.value(), 29);
  clock_.advance(1);
  turn(*lake);
  EXPECT_EQ(table().version, 1);
  EXPECT_EQ(lake->probe().pending_rows.value(), 0);
  EXPECT_EQ(lake->probe().lag_seconds.value(), 0);
  std::vector<std::string> many;
  for (std::uint64_t i = 2; i < 40; ++i) many.push_back(record_of(event_from(i)));
  append(0, many);
  turn(*lake);
  EXPECT_EQ(table().version, 2);
  EXPECT_EQ(lake->probe().rows.value(), 39u);
  EXPECT_EQ(lake->probe().commits.value(), 2u);
  EXPECT_EQ(lake->probe().files.value(), 2u);
}

TEST_F(LakeStageTest, TakesAndCommitsNothingWhileTheDiskIsCritical) {
  append(0, {record_of(event_from(1))});
  LakeSettings with = settings();
  with.commit_interval = std::chrono::seconds(30);
  log::DiskMark mark = log::DiskMark::Reserve;
  with.disk_mark = [&] { return mark; };
  const auto lake = stage(with);
  turn(*lake);
  append(0, {record_of(event_from(2))});
  mark = log::DiskMark::Critical;
  clock_.advance(30'000'000);
  turn(*lake);
  EXPECT_EQ(table().version, 0);
  EXPECT_EQ(lake->probe().pending_rows.value(), 1);
  mark = log::DiskMark::Reserve;
  turn(*lake);
  EXPECT_EQ(table().version, 1);
  EXPECT_EQ(lake->probe().rows.value(), 2u);
}

TEST_F(LakeStageTest, ManyRowsAreSpreadOverFilesButCommittedAtOnce) {
  LakeSettings with = settings();
  with.file_rows_max = 10;
  const auto lake = stage(with);
  for (std::uint64_t i = 0; i < 5; ++i) {
    std::vector<std::string> some;
    for (std::uint64_t j = 1; j <= 9; ++j) some.push_back(record_of(event_from(10 * i + j)));
    append(0, some);
  }
  turn(*lake);
  EXPECT_EQ(table().version, 0);
  commit(*lake);
  EXPECT_EQ(table().version, 1);
  EXPECT_EQ(table().files.size(), 3u);
  EXPECT_EQ(rows("count(*), count(DISTINCT source_offset)", ""), (Rows{{"45", "45"}}));
}

TEST_F(LakeStageTest, TicksMakeNoCommitButTheirPositionIsKeptNowAndThen) {
  append(0, {events::tick_record()});
  const auto lake = stage();
  turn(*lake);
  clock_.advance(30 * kMicrosPerMinute);
  turn(*lake);
  EXPECT_EQ(table().version, 0);
  EXPECT_EQ(lake->probe().ticks.value(), 1u);
  clock_.advance(30 * kMicrosPerMinute);
  turn(*lake);
  EXPECT_EQ(table().version, 1);
  clock_.advance(2 * kMicrosPerHour);
  turn(*lake);
  EXPECT_EQ(table().version, 1) << "nothing has moved";
}

// Or a health check that waits for no lag would wait for ever.
TEST_F(LakeStageTest, RecordsThatAreNoRowsMoveThePositionAllTheSame) {
  events::proto::Event account = event_from(1);
  account.set_kind(events::proto::PAYLOAD);
  append(0, {record_of(account), "", "\x09\x01what", "\x03\x01\xff\xff\xff"});
  const auto lake = stage();
  turn(*lake);
  const auto info = log_->info("events");
  EXPECT_EQ(records_behind(read_status(files_, table_folder(), {})->marks, 0, *info), 4u);
  clock_.advance(30 * kMicrosPerSecond);
  turn(*lake);
  EXPECT_EQ(table().version, 1);
  EXPECT_TRUE(table().files.empty());
  EXPECT_EQ(records_behind(read_status(files_, table_folder(), {})->marks, 0, *info), 0u);
  EXPECT_EQ(lake->probe().payload_records.value(), 1u);
  EXPECT_EQ(lake->probe().unknown_records.value(), 2u);
  EXPECT_EQ(lake->probe().damaged_records.value(), 1u);
}

TEST_F(LakeStageTest, ARecordOfANewerReleaseStopsTheStage) {
  append(0, {record_of(event_from(1)), std::string("\x03\x02", 2)});
  const auto lake = stage();
  const auto done = lake->turn();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind, ErrorKind::InvalidArgument);
}

TEST_F(LakeStageTest, OfTwoStagesOnTheSamePartitionsEachEventIsTakenOnce) {
  append(0, {record_of(event_from(1)), record_of(event_from(2))});
  const auto first = stage();
  const auto second = stage();
  turn(*first);
  turn(*second);
  commit(*first);
  commit(*second);  // overtaken: drops what it holds
  EXPECT_EQ(rows("source_offset"), (Rows{{"1"}, {"2"}}));
  EXPECT_EQ(second->probe().commits_lost.value(), 1u);
  EXPECT_EQ(second->probe().rows.value(), 0u);
  append(0, {record_of(event_from(3))});
  turn(*second);
  commit(*second);
  EXPECT_EQ(rows("source_offset"), (Rows{{"1"}, {"2"}, {"3"}}));
}

TEST_F(LakeStageTest, StagesOnDifferentPartitionsShareTheTable) {
  append(0, {record_of(event_from(1))});
  append(1, {record_of(event_from(2))});
  LakeSettings zero = settings(), one = settings();
  zero.partitions = {0};
  one.partitions = {1};
  const auto first = stage(zero);
  const auto second = stage(one);
  turn(*first);
  turn(*second);
  commit(*first);
  commit(*second);  // loses the version, not its rows
  EXPECT_EQ(rows("\"partition\", source_offset"), (Rows{{"0", "1"}, {"1", "2"}}));
  EXPECT_EQ(second->probe().commits_lost.value(), 1u);
}

TEST_F(LakeStageTest, ATopicThatEndsBeforeTheTablesPositionIsRefused) {
  append(0, {record_of(event_from(1))});
  {
    const auto lake = stage();
    turn(*lake);
    commit(*lake);
  }
  const MarkScope scope{.generation = 0, .log_id = log_->info("events")->log_id};
  DeltaTable ahead = *DeltaTable::open(files_, *session_, clock_, table_folder(), "{}");
  Commit commit;
  commit.id = "ahead";
  commit.marks = {{position_app_id(scope, 0), 5, 0}};
  ASSERT_EQ(*ahead.publish(commit), DeltaTable::Published::Yes);
  const auto lake = stage();
  const auto done = lake->turn();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind, ErrorKind::DataLoss);
  EXPECT_EQ(done.error().what,
            "the lake has read partition 0 of events up to 5, but the topic ends at 1");
}

void damage(const std::string& folder, const std::string& text) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), {});
    const std::size_t at = bytes.find(text);
    if (at == std::string::npos) continue;
    std::fstream out(entry.path(), std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(static_cast<std::streamoff>(at));
    out.put('X');
    return;
  }
  ADD_FAILURE() << "nothing to damage";
}

TEST_F(LakeStageTest, AGapStopsTheStageOrIsMarkedInTheTableAsTold) {
  events::proto::Event lost = event_from(2);
  lost.set_key("to-be-damaged");
  append(0, {record_of(event_from(1))});
  append(0, {record_of(lost), record_of(event_from(3))});
  append(0, {record_of(event_from(4))});
  damage(log_folder() + "/events", "to-be-damaged");
  const auto until_gap = [&](LakeStage& lake) {
    Result<void> done;
    for (int i = 0; i < 4 && done; ++i) done = lake.turn();
    return done;
  };
  {
    const auto stopping = stage();
    const auto done = until_gap(*stopping);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind, ErrorKind::DataLoss);
    EXPECT_EQ(done.error().what,
              "events has lost 2 records of partition 0 that the lake has not read (damage); "
              "pipeline.on_gap=continue lets it go on behind the gap");
  }
  LakeSettings with = settings();
  with.on_gap = OnGap::Continue;
  const auto lake = stage(with);
  ASSERT_TRUE(until_gap(*lake));
  commit(*lake);
  EXPECT_EQ(rows("source_offset"), (Rows{{"1"}, {"4"}}));
  EXPECT_EQ(lake->probe().gap_records.value(), 2u);
  const MarkScope scope{.generation = 0, .log_id = log_->info("events")->log_id};
  EXPECT_EQ(progress_in(table(), scope, 0)->gap_records, 2u);
}

TEST_F(LakeStageTest, ALakeMadeBeforeItsTopicWaitsForIt) {
  const auto lake = stage();
  turn(*lake);
  commit(*lake);
  EXPECT_EQ(table().version, 0);
  append(0, {record_of(event_from(1))});
  turn(*lake);
  commit(*lake);
  EXPECT_EQ(rows("source_offset"), (Rows{{"1"}}));
}

TEST_F(LakeStageTest, CheckpointsComeEverySoManyCommitsAndReadersNeedNoCommitBeforeThem) {
  LakeSettings with = settings();
  with.checkpoint_commits = 3;
  {
    const auto lake = stage(with);
    for (std::uint64_t i = 1; i <= 4; ++i) {
      append(0, {record_of(event_from(i))});
      turn(*lake);
      commit(*lake);
    }
  }
  ASSERT_TRUE(files_.exists(table_folder() + "/_delta_log/" + checkpoint_name(3)));
  for (int i = 0; i <= 3; ++i)
    ASSERT_TRUE(files_.remove(table_folder() + "/_delta_log/" + commit_name(i)));
  append(0, {record_of(event_from(4)), record_of(event_from(5))});
  const auto lake = stage(with);
  turn(*lake);
  commit(*lake);
  EXPECT_EQ(rows("source_offset"), (Rows{{"1"}, {"2"}, {"3"}, {"4"}, {"5"}}));
}

// Exit status of the child; -N if signal N ended it.
int run_child(const std::string& log_folder, const std::string& table_folder,
              const std::string& crash_point) {
  std::string program = std::filesystem::read_symlink("/proc/self/exe"), verb(kStageChild),
              log = log_folder, table = table_folder;
  std::string points = "FLAGSTREAM_CRASH_POINTS=" + crash_point;
  char* const arguments[] = {program.data(), verb.data(), log.data(), table.data(), nullptr};
  char* const environment[] = {points.data(), nullptr};
  pid_t child = 0;
  if (::posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments, environment) != 0)
    return 255;
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// Each event is in the table once, wherever the process was killed and however often.
TEST_F(LakeStageTest, AKillAtAnyCrashPointCostsNothingAndRepeatsNothing) {
  std::uint64_t next = 0;
  const auto more = [&] {
    for (int frame = 0; frame < 6; ++frame) {
      std::vector<std::string> records;
      for (int i = 0; i < 5; ++i) records.push_back(record_of(event_from(next++)));
      append(static_cast<log::Partition>(frame % 2), records);
      append(static_cast<log::Partition>(frame % 2),
             records);  // as transform repeats after a crash
    }
  };
  int kills = 0;
  for (const char* point :
       {"lake.before_parquet", "lake.after_parquet", "lake.before_commit", "lake.after_link",
        "lake.after_commit", "lake.checkpoint.before_rename", "lake.checkpoint.after_rename"}) {
    for (int passage = 1; passage <= 3; ++passage) {
      more();
      const int status =
          run_child(log_folder(), table_folder(), fmt::format("{}:{}", point, passage));
      ASSERT_TRUE(status == -SIGKILL || status == 0) << point << ": " << status;
      if (status == -SIGKILL) ++kills;
      const auto counts = rows("count(*), count(DISTINCT source_offset)", "");
      if (!counts.empty()) {
        EXPECT_EQ(counts[0][0], counts[0][1]) << point << ":" << passage;
      }
    }
  }
  EXPECT_GE(kills, 15);
  ASSERT_EQ(run_child(log_folder(), table_folder(), ""), 0);
  EXPECT_EQ(
      rows("count(*), count(DISTINCT source_offset), min(source_offset), max(source_offset)", ""),
      (Rows{{std::to_string(next), std::to_string(next), "0", std::to_string(next - 1)}}));
  const auto info = log_->info("events");
  EXPECT_EQ(records_behind(table().marks, 0, *info), 0u);
}

}  // namespace

int run_stage_child(const std::string& log_folder, const std::string& table_folder) {
  io::arm_crash_points_from_environment();
  const SystemClock clock;
  telemetry::Registry registry;
  io::FileSystem& files = io::posix_file_system();
  const auto log = log::open_local_log({.folder = log_folder, .segment_bytes = kSegmentBytes},
                                       files, clock, registry);
  const auto library = load_duckdb("");
  if (!library) return 2;
  LakeSettings settings;
  settings.folder = table_folder;
  settings.commit_bytes = 1;  // each turn that reads something
  settings.file_rows_max = 4;
  settings.read_bytes_max = 1;  // one frame a turn
  settings.checkpoint_commits = 3;
  settings.poll = std::chrono::milliseconds(0);
  const auto stage = LakeStage::open(settings, **library, *log, files, clock, registry);
  if (!stage) return 3;
  for (;;) {
    const auto info = log->info("events");
    const auto status = read_status(files, table_folder, {});
    if (!info || !status) return 4;
    if (records_behind(status->marks, 0, *info) == 0) return 0;
    if (!(*stage)->turn()) return 5;
  }
}

}  // namespace flagstream::lake
