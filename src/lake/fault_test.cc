// Fails the first call of each kind that the lake's stage makes of its disk, then the second, and
// so on.  A stage that fails is opened anew, as its process would be.  At the end each event is in
// the table once.
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "events/event.h"
#include "io/faulty_file_system.h"
#include "lake/delta_table.h"
#include "lake/lake_marks.h"
#include "lake/lake_stage.h"
#include "log/local_log.h"

namespace flagstream::lake {
namespace {

constexpr MicrosUtc kStart = 1'795'600'000'000'000;
// A commit each: one before the checkpoint, one with it, one behind.
constexpr std::uint64_t kEvents = 3;
constexpr int kLivesMax = 4;

class LakeFaultTest : public testing::TestWithParam<io::Call> {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "lake_fault_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    log_ = log::open_local_log(
        {.folder = folder_ + "/log", .segment_bytes = 64 << 10, .pool_segments = 0},
        io::posix_file_system(), clock_, registry_);
    const auto appender = *log_->open_appender("events", {.partitions = 1});
    for (std::uint64_t i = 0; i < kEvents; ++i) {
      events::proto::Event event;
      event.mutable_source()->set_log_id(Id128{.high = 1, .low = 2}.to_bytes());
      event.mutable_source()->set_offset(i);
      event.set_kind(events::proto::CUSTOM);
      event.set_environment_id(7);
      event.set_received_us(kStart);
      std::string record;
      events::encode_event(event, record);
      log::Batch batch;
      batch.add({record});
      ASSERT_TRUE(appender->append_and_wait(0, std::move(batch)));
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // One life of the stage: until everything is committed, or something fails.
  Result<void> live(io::FileSystem& files, const std::string& table) {
    LakeSettings settings;
    settings.folder = table;
    settings.commit_bytes = 1;
    settings.read_bytes_max = 1;
    settings.checkpoint_commits = 2;
    settings.memory_bytes_max = 256 << 20;
    settings.poll = std::chrono::milliseconds(0);
    FS_TRY(const auto stage, LakeStage::open(settings, *duckdb_, *log_, files, clock_, registry_));
    for (;;) {
      FS_TRY(const log::TopicInfo info, log_->info("events"));
      FS_TRY(const TableStatus status, read_status(files, table, {}));
      if (records_behind(status.marks, 0, info) == 0) return {};
      FS_TRY(stage->turn());
    }
  }

  void expect_each_event_once(const std::string& table, const std::string& what) {
    const auto state = read_table(io::posix_file_system(), *session_, table);
    ASSERT_TRUE(state) << what << ": " << state.error().what;
    std::string list;
    for (const auto& [path, file] : state->files)
      list += (list.empty() ? "" : ", ") + sql_quoted(table + "/" + path);
    const auto rows = session_->rows(fmt::format(
        "SELECT count(*), count(DISTINCT source_offset) FROM read_parquet([{}])", list));
    ASSERT_TRUE(rows) << what << ": " << rows.error().what;
    const std::string all = std::to_string(kEvents);
    EXPECT_EQ((*rows)[0], (std::vector<std::string>{all, all})) << what;
  }

  std::string folder_;
  FakeClock clock_{kStart};
  telemetry::Registry registry_;
  std::unique_ptr<log::Log> log_;
  const DuckDb* duckdb_ = *load_duckdb("");
  std::unique_ptr<Session> session_ = *Session::open(*duckdb_, {.memory_bytes_max = 256 << 20});
};

TEST_P(LakeFaultTest, EachEventIsInTheTableOnce) {
  std::uint64_t failed = 0;
  for (const bool is_done : {false, true}) {
    for (std::uint64_t call = 1;; ++call) {
      const std::string what =
          fmt::format("{} {}{}", to_string(GetParam()), call, is_done ? ", done all the same" : "");
      const std::string table = fmt::format("{}/{}-{}", folder_, call, is_done);
      io::FaultyFileSystem files(io::posix_file_system());
      files.fail({.call = GetParam(), .first = call, .error = EIO, .is_done = is_done});
      Result<void> lived = fail(ErrorKind::Unavailable, "not begun");
      for (int life = 0; life < kLivesMax && !lived; ++life) lived = live(files, table);
      ASSERT_TRUE(lived) << what << ": it does not go on: " << lived.error().what;
      expect_each_event_once(table, what);
      if (HasFailure() || !files.has_failed()) break;
      ++failed;
    }
  }
  RecordProperty("failed_calls", static_cast<int>(failed));
}

INSTANTIATE_TEST_SUITE_P(OfEachCall, LakeFaultTest,
                         testing::Values(io::Call::Open, io::Call::Read, io::Call::Write,
                                         io::Call::Sync, io::Call::Rename, io::Call::Link,
                                         io::Call::Remove, io::Call::List, io::Call::SyncFolder),
                         [](const auto& info) {
                           std::string name(to_string(info.param));
                           std::erase(name, ' ');
                           return name;
                         });

}  // namespace
}  // namespace flagstream::lake
