#include "app/log_commands.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <sstream>
#include <thread>

#include <gtest/gtest.h>
#include <unistd.h>

#include "app/log_cat.h"
#include "io/file_system.h"
#include "json/json.h"
#include "log/local_log.h"
#include "log/quarantine.h"
#include "log/segment_index.h"
#include "log/topic_writer.h"

namespace flagstream::app {
namespace {

constexpr std::uint64_t kSegmentBytes = 32 << 10;

class LogCommandsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "log_commands_" + std::to_string(::getpid()) + "_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    log_ =
        log::open_local_log({.folder = folder_, .segment_bytes = kSegmentBytes, .pool_segments = 0},
                            io::posix_file_system(), clock_, registry_);
  }
  void TearDown() override {
    log_.reset();
    std::filesystem::remove_all(folder_);
  }

  // A file holds 28 records; there is an hour between two.
  std::unique_ptr<log::Appender> fill(const std::string& topic, int records,
                                      log::Partition partitions = 1) {
    auto to = *log_->open_appender(topic, {.partitions = partitions});
    for (int i = 0; i < records; ++i) {
      log::Batch batch;
      batch.add({std::string(1, '\x63') + std::string(950, 'x')});
      EXPECT_TRUE(
          to->append_and_wait(static_cast<log::Partition>(i) % partitions, std::move(batch)));
      clock_.advance(kMicrosPerHour);
    }
    return to;
  }
  void register_reader(const std::string& topic, log::Offset next) {
    const log::ReaderPosition at{.partition = 0, .next = next, .resume = next};
    log_->register_reader(topic, "lake")->tell(std::span(&at, 1));
  }

  template <class Command>
  int run(Command command, Output output = Output::Table) {
    out_.str("");
    err_.str("");
    return command(Console{out_, err_, output});
  }
  int cat(CatOptions options) {
    options.range.log_folder = folder_;
    return run([&](const Console& console) { return log_cat(options, clock_, console); });
  }
  int forget(ForgetOptions options) {
    options.patience = std::chrono::milliseconds(5'000);
    return run(
        [&](const Console& console) { return log_forget(place(), options, clock_, console); });
  }
  LogPlace place() const { return {.log_folder = folder_, .retention = std::chrono::hours(100)}; }
  std::size_t lines() const {
    const std::string text = out_.str();
    return static_cast<std::size_t>(std::ranges::count(text, '\n'));
  }
  json::Value answer() const { return *json::parse(out_.str()); }

  std::string folder_;
  FakeClock clock_{1'800'000'000'000'000};  // 2027-01-15T08:00:00Z
  telemetry::Registry registry_;
  std::unique_ptr<log::Log> log_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(LogCommandsTest, CatShowsTheRangeThatIsAskedFor) {
  const auto to = fill("t", 40);
  EXPECT_EQ(cat({.range = {.topic = "t"}}), kExitDone);
  EXPECT_EQ(lines(), 40u);
  EXPECT_EQ(cat({.range = {.topic = "t", .from = "10", .to = "12"}}), kExitDone);
  EXPECT_EQ(lines(), 2u);
  EXPECT_NE(out_.str().find("\"offset\":10"), std::string::npos);
  EXPECT_EQ(cat({.range = {.topic = "t", .from = "3h"}}), kExitDone);
  EXPECT_EQ(lines(), 3u);
  EXPECT_EQ(
      cat({.range = {.topic = "t", .from = "2027-01-15T09:00:00Z", .to = "2027-01-15T11:00:00Z"}}),
      kExitDone);
  EXPECT_EQ(lines(), 2u);
  EXPECT_NE(out_.str().find("\"offset\":1,"), std::string::npos);
  EXPECT_EQ(cat({.range = {.topic = "t", .from = "end"}}), kExitDone);
  EXPECT_EQ(lines(), 0u);
  EXPECT_EQ(cat({.range = {.topic = "t"}, .records_max = 7}), kExitDone);
  EXPECT_EQ(lines(), 7u);
  EXPECT_EQ(cat({.range = {.topic = "t"}, .records_max = 0}), kExitDone);
  EXPECT_EQ(lines(), 0u);
}

TEST_F(LogCommandsTest, CatTakesOnePartition) {
  const auto to = fill("t", 10, 2);
  EXPECT_EQ(cat({.range = {.topic = "t", .from = "2", .partition = 1}}), kExitDone);
  EXPECT_EQ(lines(), 3u);
  EXPECT_EQ(out_.str().find("\"partition\":0"), std::string::npos);
}

TEST_F(LogCommandsTest, CatFollowsUntilItHasEnough) {
  const auto to = fill("t", 2);
  std::thread later([&] {
    log::Batch batch;
    batch.add({"later"});
    (void)to->append_and_wait(0, std::move(batch));
  });
  EXPECT_EQ(cat({.range = {.topic = "t"}, .follow = true, .records_max = 3}), kExitDone);
  later.join();
  EXPECT_EQ(lines(), 3u);
}

TEST_F(LogCommandsTest, CatRefusesWhatMakesNoSense) {
  const auto to = fill("t", 2, 2);
  EXPECT_EQ(cat({.range = {.topic = "nothing"}}), kExitNotFound);
  EXPECT_EQ(cat({.range = {.topic = "t", .from = "yesterday"}}), kExitUsage);
  EXPECT_EQ(cat({.range = {.topic = "t", .to = "1x"}}), kExitUsage);
  EXPECT_EQ(cat({.range = {.topic = "t", .partition = 2}}), kExitUsage);
  EXPECT_EQ(cat({.range = {.topic = "t", .from = "1"}}), kExitUsage)
      << "an offset of which partition?";
}

TEST_F(LogCommandsTest, AnExportIsThereOnceItIsWhole) {
  const auto to = fill("t", 3);
  const std::string path = folder_ + "/out.jsonl";
  const ExportOptions options{.range = {.log_folder = folder_, .topic = "t"}, .output = path};
  EXPECT_EQ(run([&](const Console& c) { return log_export(options, clock_, c); }), kExitDone);
  const std::string text = *io::posix_file_system().read_file(path);
  EXPECT_EQ(std::ranges::count(text, '\n'), 3);
  ExportOptions wrong = options;
  wrong.range.topic = "nothing";
  wrong.output = folder_ + "/never";
  EXPECT_EQ(run([&](const Console& c) { return log_export(wrong, clock_, c); }), kExitNotFound);
  EXPECT_FALSE(io::posix_file_system().exists(wrong.output));
  EXPECT_FALSE(io::posix_file_system().exists(wrong.output + ".new"));
  ExportOptions bodies = options;
  bodies.format = "bodies";
  EXPECT_EQ(run([&](const Console& c) { return log_export(bodies, clock_, c); }), kExitUsage);
}

TEST_F(LogCommandsTest, LsAndDescribeShowTopicsAndTheirReaders) {
  const auto to = fill("events", 40);
  const auto other = fill("config", 1);
  register_reader("events", 30);
  EXPECT_EQ(run([&](const Console& c) { return log_ls(place(), clock_, c); }), kExitDone);
  EXPECT_EQ(lines(), 3u);
  EXPECT_NE(out_.str().find("lake -10"), std::string::npos);
  EXPECT_EQ(run([&](const Console& c) { return log_ls(place(), clock_, c); }, Output::Json),
            kExitDone);
  const auto topics = answer();
  EXPECT_EQ(topics.at(0).at("topic"), "config");
  EXPECT_EQ(topics.at(0).at("retentionSeconds"), 0);
  EXPECT_EQ(topics.at(1).at("records"), 40);
  EXPECT_EQ(topics.at(1).at("retentionSeconds"), 360'000);
  EXPECT_EQ(topics.at(1).at("readers").at(0).at("lagRecords"), 10);
  EXPECT_EQ(topics.at(1).at("oldest"), "2027-01-15T08:00:00Z");
  EXPECT_EQ(run([&](const Console& c) { return log_describe(place(), "events", clock_, c); },
                Output::Json),
            kExitDone);
  EXPECT_EQ(answer().at("files").as_array().size(), 2u);
  EXPECT_EQ(answer().at("offsets").at(0).at("end"), 40);
  EXPECT_EQ(run([&](const Console& c) { return log_describe(place(), "events", clock_, c); }),
            kExitDone);
  EXPECT_NE(out_.str().find("0000000000000002.seg"), std::string::npos);
  EXPECT_EQ(run([&](const Console& c) { return log_describe(place(), "no", clock_, c); }),
            kExitNotFound);
}

TEST_F(LogCommandsTest, LsAndDescribeShowDamage) {
  const auto to = fill("events", 100);
  const log::QuarantinedRange found[] = {
      {.sequence = 2, .range = {.begin = 4096, .end = 5000}, .found = clock_.now()}};
  ASSERT_TRUE(io::posix_file_system().replace_file(log::quarantine_path(folder_ + "/events"),
                                                   log::encode_quarantine(found)));
  std::filesystem::remove(log::segment_path(folder_ + "/events", 2));
  std::filesystem::remove(log::index_path(folder_ + "/events", 2));
  EXPECT_EQ(run([&](const Console& c) { return log_ls(place(), clock_, c); }), kExitDone);
  EXPECT_NE(out_.str().find("damaged"), std::string::npos);
  EXPECT_EQ(run([&](const Console& c) { return log_describe(place(), "events", clock_, c); }),
            kExitDone);
  EXPECT_NE(out_.str().find("DAMAGED FILE"), std::string::npos);
  EXPECT_EQ(run([&](const Console& c) { return log_describe(place(), "events", clock_, c); },
                Output::Json),
            kExitDone);
  EXPECT_EQ(answer().at("quarantinedBytes"), 904);
  const auto range = answer().at("quarantined").at(0);
  EXPECT_EQ(range.at("file"), "0000000000000002.seg");
  EXPECT_EQ(range.at("from"), 4096);
  EXPECT_EQ(range.at("to"), 5000);
}

TEST_F(LogCommandsTest, VerifyFindsAFlippedBit) {
  const auto to = fill("events", 40);
  const auto verify = [&](const std::string& topic) {
    return run([&](const Console& c) { return log_verify(place(), topic, c); });
  };
  EXPECT_EQ(verify(""), kExitDone);
  const auto file = io::posix_file_system().open(log::segment_path(folder_ + "/events", 1),
                                                 io::OpenMode::ReadWrite);
  const std::string_view parts[] = {"y"};
  ASSERT_TRUE((*file)->write_at(9'000, parts));
  EXPECT_EQ(verify(""), kExitFailed);
  EXPECT_NE(out_.str().find("0000000000000001.seg at byte"), std::string::npos);
  EXPECT_NE(out_.str().find("partition 0: offsets"), std::string::npos);
  EXPECT_EQ(verify("nothing"), kExitNotFound);
}

TEST_F(LogCommandsTest, ForgetSaysWhatItWouldDeleteAndDeletesItOnlyWhenTold) {
  const auto to = fill("events", 100);
  register_reader("events", 100);
  EXPECT_EQ(forget({.topic = "events", .before = "1h"}), kExitUsage);
  EXPECT_NE(out_.str().find("would delete 3 files (0000000000000001.seg to 0000000000000003.seg)"),
            std::string::npos)
      << out_.str();
  EXPECT_EQ(log_->info("events")->partitions[0].begin, 0u);
  EXPECT_EQ(forget({.topic = "events", .before = "100h", .yes = true}), kExitDone);
  EXPECT_NE(out_.str().find("nothing to delete"), std::string::npos);
  std::atomic<bool> is_done{false};
  std::thread time([&] {  // the writer looks once a second
    while (!is_done.load()) {
      clock_.advance(kMicrosPerSecond);
      std::this_thread::yield();
    }
  });
  const int status = forget({.topic = "events", .before = "50h", .yes = true});
  is_done.store(true);
  time.join();
  EXPECT_EQ(status, kExitDone) << err_.str();
  EXPECT_NE(out_.str().find("deleted 1 files"), std::string::npos) << out_.str();
  EXPECT_EQ(log_->info("events")->partitions[0].begin, 28u);
}

TEST_F(LogCommandsTest, ForgetRefusesWhatIsNotReadAndWhatIsKeptForEver) {
  auto to = fill("events", 100);
  register_reader("events", 10);
  EXPECT_EQ(forget({.topic = "events", .before = "1h", .yes = true}), kExitConflict);
  EXPECT_NE(err_.str().find("lake"), std::string::npos);
  EXPECT_EQ(log_->info("events")->partitions[0].begin, 0u);
  EXPECT_EQ(forget({.topic = "config", .before = "1h", .yes = true}), kExitUsage);
  EXPECT_EQ(forget({.topic = "payloads", .before = "1h", .yes = true}), kExitNotFound);
  EXPECT_EQ(forget({.topic = "events", .before = "soon"}), kExitUsage);
  EXPECT_EQ(forget({.topic = "events"}), kExitUsage);
  EXPECT_EQ(forget({.topic = "events", .before = "1h", .reader = "lake"}), kExitUsage);
}

TEST_F(LogCommandsTest, ForgetWithoutAWriterChangesNothing) {
  fill("events", 100).reset();
  ForgetOptions options{.topic = "events", .before = "1h", .yes = true};
  options.patience = std::chrono::milliseconds(100);
  EXPECT_EQ(run([&](const Console& c) { return log_forget(place(), options, clock_, c); }),
            kExitFailed);
  EXPECT_NE(err_.str().find("Nothing was deleted"), std::string::npos);
  EXPECT_FALSE(io::posix_file_system().exists(folder_ + "/events/forget"));
  EXPECT_EQ(log_->info("events")->partitions[0].begin, 0u);
}

TEST_F(LogCommandsTest, OnlyAReaderThatIsGoneIsForgotten) {
  const auto to = fill("events", 1);
  register_reader("events", 1);
  EXPECT_EQ(forget({.topic = "events", .reader = "lake", .yes = true}), kExitConflict);
  clock_.advance(kMicrosPerHour);
  EXPECT_EQ(forget({.topic = "events", .reader = "lake"}), kExitUsage);
  EXPECT_EQ(forget({.topic = "events", .reader = "nobody", .yes = true}), kExitNotFound);
  EXPECT_EQ(forget({.topic = "events", .reader = "lake", .yes = true}), kExitDone);
  EXPECT_EQ(forget({.topic = "events", .reader = "lake", .yes = true}), kExitNotFound);
}

}  // namespace
}  // namespace flagstream::app
