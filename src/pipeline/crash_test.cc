// Kills a process that runs a stage, at every named point and by faults of the fold itself.
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <thread>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/crash_point.h"
#include "pipeline/crash_notes.h"
#include "pipeline/test_stage.h"

namespace flagstream::pipeline {
namespace {

using Lines = std::vector<std::string>;

constexpr const char* kFolderVariable = "FLAGSTREAM_TEST_STAGE_FOLDER";

// Runs in a process of its own, begun by the tests below: folds to the end of the input with a
// checkpoint at every turn.
TEST(StageProcess, DISABLED_FoldsToTheEnd) {
  io::arm_crash_points_from_environment();
  const SystemClock clock;
  StageFolder folder(std::getenv(kFolderVariable), clock);
  NumberingStage stage;
  auto settings = folder.settings();
  settings.checkpoint_interval = std::chrono::microseconds(0);
  settings.publish_interval = std::chrono::microseconds(0);
  auto runner = Runner::start(settings, {&stage}, folder.log(), clock, folder.registry());
  ASSERT_TRUE(runner);
  const auto count_of = [](const std::map<log::Partition, Lines>& records) {
    std::size_t count = 0;
    for (const auto& [partition, each] : records) count += each.size();
    return count;
  };
  const std::size_t wanted = count_of(folder.everything("in"));
  const std::int64_t deadline = clock.monotonic() + 30 * kMicrosPerSecond;
  while (count_of(folder.taken("out")) < wanted && clock.monotonic() < deadline)
    std::this_thread::yield();
  ASSERT_TRUE((*runner)->stop());
}

class StageCrashTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "stage_crash_" + std::to_string(::getpid()) + "_" +
            testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(path_);
  }
  void TearDown() override { std::filesystem::remove_all(path_); }

  void fill(const std::vector<std::string>& first, const std::vector<std::string>& second) {
    StageFolder folder(path_, clock_);
    const auto in = folder.input();
    for (std::size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
      if (i < first.size()) StageFolder::append(*in, 0, {first[i]});
      if (i < second.size()) StageFolder::append(*in, 1, {second[i]});
    }
  }
  // The wait status of a process that folds what is there.
  int run(const std::string& crash_points = "") {
    const std::string self = std::filesystem::read_symlink("/proc/self/exe");
    const std::string command =
        std::string(kFolderVariable) + "='" + path_ + "' FLAGSTREAM_CRASH_POINTS='" + crash_points +
        "' exec '" + self +
        "' --gtest_also_run_disabled_tests --gtest_filter=StageProcess.* >/dev/null 2>'" + path_ +
        "/stderr'";
    return std::system(command.c_str());
  }
  std::string told() {
    std::ifstream in(path_ + "/stderr");
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  std::map<log::Partition, Lines> taken() { return StageFolder(path_, clock_).taken("out"); }

  SystemClock clock_;
  std::string path_;
};

TEST_F(StageCrashTest, KilledAnywhereItGoesOnFromTheLastCheckpointAndNothingIsLostOrCountedTwice) {
  constexpr const char* kPoints[] = {"pipeline.before_fold", "pipeline.after_sink_append",
                                     "pipeline.checkpoint.before_write",
                                     "pipeline.checkpoint.after_write"};
  std::map<log::Partition, Lines> expected;
  int kills = 0;
  std::uint64_t offset = 0;
  for (const char* passage : {":1", ":2", ":1", ":2"}) {
    for (const char* point : kPoints) {
      Lines records;
      for (int i = 0; i < 3; ++i, ++offset) {
        records.push_back("r" + std::to_string(offset));
        for (const log::Partition partition : {0u, 1u}) {
          expected[partition].push_back(std::to_string(offset) + " " + std::to_string(offset + 1) +
                                        " " + records.back());
        }
      }
      fill(records, records);
      const int status = run(point + std::string(passage));
      if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ++kills;
    }
  }
  EXPECT_GE(kills, 12) << "of 16; a point that is passed too seldom kills nobody";
  EXPECT_EQ(run(), 0) << told();
  EXPECT_EQ(taken(), expected);
}

TEST_F(StageCrashTest, ARecordThatCrashesItsStageThreeTimesIsPassedOver) {
  fill({"a", "crash", "b"}, {"c", "d"});
  for (int i = 0; i < 3; ++i) {
    EXPECT_NE(run(), 0) << i;
    std::ifstream notes(path_ + "/crash/numbering.notes");
    const Lines lines{std::istream_iterator<std::string>(notes), {}};
    EXPECT_EQ(lines.size(), 3u * (i + 1)) << "log id, partition, offset";
  }
  EXPECT_EQ(run(), 0) << told();
  EXPECT_NE(told().find(R"("level":"error")"), std::string::npos) << told();
  EXPECT_EQ(taken(), (std::map<log::Partition, Lines>{{0, {"0 1 a", "1 2 passed over", "2 3 b"}},
                                                      {1, {"0 1 c", "1 2 d"}}}));
  EXPECT_EQ(std::filesystem::file_size(path_ + "/crash/numbering.notes"), 0u)
      << "a checkpoint holds the decision";
}

TEST_F(StageCrashTest, AKillNotesNothing) {
  fill({"a", "b"}, {});
  for (int i = 0; i < 4; ++i) EXPECT_NE(run("pipeline.before_fold:1"), 0);
  EXPECT_EQ(std::filesystem::file_size(path_ + "/crash/numbering.notes"), 0u);
  EXPECT_EQ(run(), 0) << told();
  EXPECT_EQ(taken()[0], (Lines{"0 1 a", "1 2 b"}));
}

class CrashNotesTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "crash_notes_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& text) { std::ofstream(folder_ + "/s.notes") << text; }
  std::unique_ptr<CrashNotes> open() { return *CrashNotes::open(folder_, "s"); }

  const Id128 log_{0xab, 1};
  const std::string id_ = log_.to_hex();
  std::string folder_;
};

TEST_F(CrashNotesTest, NotesAreCountedByRecord) {
  write(id_ + " 0 7\n" + id_ + " 0 7\n" + id_ + " 1 7\n" + id_ + " 0 8\n");
  const auto notes = open();
  EXPECT_EQ(notes->crashes(log_, 0, 7), 2u);
  EXPECT_EQ(notes->crashes(log_, 1, 7), 1u);
  EXPECT_EQ(notes->crashes(log_, 0, 9), 0u);
  EXPECT_EQ(notes->crashes({1, 1}, 0, 7), 0u);
  EXPECT_FALSE(notes->is_empty(0));
  EXPECT_TRUE(notes->is_empty(2));
}

TEST_F(CrashNotesTest, WhatIsNoNoteIsIgnored) {
  for (const std::string& text :
       {std::string(), std::string("\n\n"), std::string("x"), id_, id_ + " ", id_ + " 0",
        id_ + " 0 ", id_ + " 0 x", id_ + " 0 7x", id_ + "  0 7", id_ + " -1 7",
        id_ + " 0 99999999999999999999999"}) {
    write(text + "\n" + id_ + " 3 4\n");
    const auto notes = open();
    EXPECT_EQ(notes->crashes(log_, 3, 4), 1u) << text;
    EXPECT_TRUE(notes->is_empty(0)) << text;
  }
}

TEST_F(CrashNotesTest, DroppedNotesStayDropped) {
  write(id_ + " 0 7\n" + id_ + " 0 9\n" + id_ + " 1 7\n");
  ASSERT_TRUE(open()->drop_below(log_, 0, 9));
  const auto notes = open();
  EXPECT_EQ(notes->crashes(log_, 0, 7), 0u);
  EXPECT_EQ(notes->crashes(log_, 0, 9), 1u);
  EXPECT_EQ(notes->crashes(log_, 1, 7), 1u);
  ASSERT_TRUE(notes->drop_below(log_, 0, 9)) << "nothing to drop";
}

}  // namespace
}  // namespace flagstream::pipeline
