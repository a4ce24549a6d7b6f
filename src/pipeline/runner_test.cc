#include "pipeline/runner.h"

#include <atomic>
#include <thread>

#include <unistd.h>

#include "log/topic_writer.h"
#include "pipeline/test_stage.h"

namespace flagstream::pipeline {
namespace {

using Lines = std::vector<std::string>;
using ByPartition = std::map<log::Partition, Lines>;

class RunnerTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "runner_" + std::to_string(::getpid()) + "_" +
            testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(path_);
    folder_ = std::make_unique<StageFolder>(path_, clock_);
  }
  void TearDown() override {
    folder_.reset();
    std::filesystem::remove_all(path_);
  }

  std::unique_ptr<Runner> start(RunnerSettings settings, NumberingStage& stage) {
    auto started =
        Runner::start(std::move(settings), {&stage}, folder_->log(), clock_, folder_->registry());
    if (!started) ADD_FAILURE() << started.error().what;
    return *std::move(started);
  }
  std::unique_ptr<Runner> start(NumberingStage& stage) { return start(folder_->settings(), stage); }
  double stage_metric(const std::string& name) {
    return metric("pipeline_" + name + "{stage=\"numbering\"}");
  }
  double metric(const std::string& name) {
    const std::string text = folder_->registry().scrape();
    const std::string line = "flagstream_" + name + " ";
    const std::size_t at = text.find("\n" + line);
    return at == std::string::npos ? -1 : std::stod(text.substr(at + 1 + line.size()));
  }

  FakeClock clock_{1'700'000'000'000'000};
  std::string path_;
  std::unique_ptr<StageFolder> folder_;
};

TEST_F(RunnerTest, OutputsStandInThePartitionAndOrderOfTheirSources) {
  const auto in = folder_->input();
  StageFolder::append(*in, 0, {"a", "b"});
  StageFolder::append(*in, 1, {"c"});
  StageFolder::append(*in, 0, {"!d", "e"});
  NumberingStage stage;
  const auto runner = start(stage);
  ASSERT_TRUE(stage.wait_for_folded(5));
  ASSERT_TRUE(runner->stop());
  EXPECT_EQ(folder_->everything("out"),
            (ByPartition{{0, {"0 1 a", "1 2 b", "3 4 e"}}, {1, {"0 1 c"}}}));
  EXPECT_EQ(folder_->everything("shouts"), (ByPartition{{0, {"2 3 !d"}}}));
  EXPECT_EQ(stage_metric("records_total"), 5);
  EXPECT_EQ(stage_metric("outputs_total"), 5);
  EXPECT_EQ(stage_metric("checkpoints_total"), 2);
}

TEST_F(RunnerTest, AStopCutsACheckpointSoThatNothingIsRepeated) {
  const auto in = folder_->input();
  for (int run = 0; run < 3; ++run) {
    StageFolder::append(*in, 0, {"x" + std::to_string(run)});
    NumberingStage stage;
    const auto runner = start(stage);
    ASSERT_TRUE(stage.wait_for_folded(1));
    ASSERT_TRUE(runner->stop());
  }
  EXPECT_EQ(folder_->everything("out"), (ByPartition{{0, {"0 1 x0", "1 2 x1", "2 3 x2"}}}));
}

TEST_F(RunnerTest, WithoutACheckpointTheOutputsAreRepeatedAndReadersDropThem) {
  const auto in = folder_->input();
  for (int run = 0; run < 4; ++run) {
    StageFolder::append(*in, 0, {"x" + std::to_string(run)});
    NumberingStage stage;
    const auto runner = start(stage);
    ASSERT_TRUE(stage.wait_for_folded(run < 2 ? run + 1 : run - 1));
    if (run == 1) {
      ASSERT_TRUE(runner->stop());
    } else {
      runner->abandon();
    }
  }
  EXPECT_EQ(folder_->everything("out")[0],
            (Lines{"0 1 x0", "0 1 x0", "1 2 x1", "2 3 x2", "2 3 x2", "3 4 x3"}));
  EXPECT_EQ(folder_->taken("out")[0], (Lines{"0 1 x0", "1 2 x1", "2 3 x2", "3 4 x3"}));
}

TEST_F(RunnerTest, WhatTricklesInIsMadeDurableTogether) {
  const auto in = folder_->input();
  NumberingStage stage;
  const auto runner = start(stage);
  constexpr int kAppends = 200;
  for (int i = 0; i < kAppends; ++i) {
    StageFolder::append(*in, 0, {"a"});
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ASSERT_TRUE(stage.wait_for_folded(kAppends));
  const double groups = metric("log_groups_total{topic=\"out\"}");
  EXPECT_GT(groups, 0);
  EXPECT_LE(groups, kAppends / 2);
  EXPECT_GT(stage_metric("rests_total"), 0);
  ASSERT_TRUE(runner->stop());
  EXPECT_EQ(folder_->everything("out")[0].size(), std::size_t{kAppends});
}

// Of a backlog the disk may hold a hundredth of its bytes.
TEST_F(RunnerTest, ABacklogIsNotRestedOver) {
  folder_ =
      std::make_unique<StageFolder>(path_, clock_, io::posix_file_system(), log::Compression::Lz4);
  const auto in = folder_->input();
  constexpr int kAppends = 20;
  for (int i = 0; i < kAppends; ++i)
    StageFolder::append(*in, 0, {std::string(600 << 10, static_cast<char>('a' + i))});
  NumberingStage stage;
  const auto runner = start(stage);
  ASSERT_TRUE(stage.wait_for_folded(kAppends));
  EXPECT_EQ(stage_metric("rests_total"), 0);
  ASSERT_TRUE(runner->stop());
}

TEST_F(RunnerTest, WorkersShareThePartitions) {
  const auto in = folder_->input(5);
  for (log::Partition i = 0; i < 5; ++i) StageFolder::append(*in, i, {"a", "b"});
  NumberingStage stage;
  auto settings = folder_->settings();
  settings.workers = 3;
  const auto runner = start(settings, stage);
  ASSERT_TRUE(stage.wait_for_folded(10));
  ASSERT_TRUE(runner->stop());
  const auto out = folder_->everything("out");
  for (log::Partition i = 0; i < 5; ++i) EXPECT_EQ(out.at(i), (Lines{"0 1 a", "1 2 b"})) << i;
}

TEST_F(RunnerTest, MoreWorkersThanPartitionsDoNoHarm) {
  const auto in = folder_->input(1);
  StageFolder::append(*in, 0, {"a"});
  NumberingStage stage;
  auto settings = folder_->settings();
  settings.workers = 4;
  const auto runner = start(settings, stage);
  ASSERT_TRUE(stage.wait_for_folded(1));
  ASSERT_TRUE(runner->stop());
}

TEST_F(RunnerTest, ACheckpointIsCutWhenTheIntervalHasPassed) {
  const auto in = folder_->input();
  StageFolder::append(*in, 0, {"a"});
  NumberingStage stage;
  const auto runner = start(stage);
  ASSERT_TRUE(stage.wait_for_folded(1));
  EXPECT_EQ(stage.checkpoints(), 0u);
  clock_.advance(kMicrosPerHour);
  ASSERT_TRUE(stage.wait_for_checkpoints(1));
  runner->abandon();
  EXPECT_EQ(stage.checkpoints(), 1u) << "the other partition has no news";
}

TEST_F(RunnerTest, ACheckpointIsCutWhenEnoughInputOrStateHasCome) {
  const auto in = folder_->input();
  for (const bool by_input : {true, false}) {
    StageFolder::append(*in, 0, {std::string(1000, 'x')});
    NumberingStage stage;
    auto settings = folder_->settings();
    (by_input ? settings.checkpoint_input_bytes : settings.checkpoint_dirty_bytes) = 1000;
    const auto runner = start(settings, stage);
    EXPECT_TRUE(stage.wait_for_checkpoints(1)) << by_input;
    runner->abandon();
  }
  EXPECT_EQ(folder_->everything("out")[0].size(), 2u);
}

TEST_F(RunnerTest, OnAShortDiskACheckpointIsCutEvery16MiBOfInput) {
  const auto in = folder_->input();
  NumberingStage stage;
  auto settings = folder_->settings();
  std::atomic<log::DiskMark> mark{log::DiskMark::Low};
  settings.disk_mark = [&] { return mark.load(); };
  const auto runner = start(settings, stage);
  for (int i = 0; i < 15; ++i) StageFolder::append(*in, 0, {std::string(1 << 20, 'x')});
  ASSERT_TRUE(stage.wait_for_folded(15));
  EXPECT_EQ(stage.checkpoints(), 0u);
  mark = log::DiskMark::Reserve;
  StageFolder::append(*in, 0, {std::string(1 << 20, 'x')});
  EXPECT_TRUE(stage.wait_for_checkpoints(1));
  runner->abandon();
}

TEST_F(RunnerTest, AStageTakesNothingWhileTheDiskIsCritical) {
  const auto in = folder_->input();
  StageFolder::append(*in, 0, {"a"});
  NumberingStage stage;
  auto settings = folder_->settings();
  std::atomic<log::DiskMark> mark{log::DiskMark::Critical};
  settings.disk_mark = [&] { return mark.load(); };
  const auto runner = start(settings, stage);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(stage.folded(), 0u);
  mark = log::DiskMark::Reserve;
  EXPECT_TRUE(stage.wait_for_folded(1));
  EXPECT_TRUE(runner->stop());
}

TEST_F(RunnerTest, FoldsPublishAfterInputAndBeforeACut) {
  const auto in = folder_->input(1);
  StageFolder::append(*in, 0, {"a"});
  NumberingStage stage;
  const auto runner = start(stage);
  ASSERT_TRUE(stage.wait_for_folded(1));
  clock_.advance(250'000);
  ASSERT_TRUE(stage.wait_for_published(1));
  ASSERT_TRUE(runner->stop());
  EXPECT_TRUE(stage.wait_for_published(2));
}

TEST_F(RunnerTest, AStageBeginsWhenItsInputExists) {
  NumberingStage stage;
  const auto runner = start(stage);
  ASSERT_EQ(runner->status().size(), 1u);
  EXPECT_EQ(runner->status()[0].name, "numbering");
  EXPECT_EQ(runner->status()[0].phase, StageStatus::Phase::Waiting);
  const auto in = folder_->input();
  StageFolder::append(*in, 0, {"a"});
  ASSERT_TRUE(stage.wait_for_folded(1));
  EXPECT_EQ(runner->status()[0].phase, StageStatus::Phase::Folding);
  ASSERT_TRUE(runner->stop());
}

TEST_F(RunnerTest, AStopDoesNotWaitForAnInputThatNeverComes) {
  NumberingStage stage;
  EXPECT_TRUE(start(stage)->stop());
}

TEST_F(RunnerTest, AnErrorOfAFoldStopsTheRunnerAtTheLastCheckpoint) {
  const auto in = folder_->input();
  StageFolder::append(*in, 0, {"a", "error", "b"});
  NumberingStage stage;
  const auto failure = start(stage)->wait();
  ASSERT_FALSE(failure);
  EXPECT_EQ(failure.error().kind, ErrorKind::InvalidArgument);
  EXPECT_EQ(failure.error().what, "stage numbering: a record of a newer release");
  EXPECT_EQ(stage.checkpoints(), 0u);
}

TEST_F(RunnerTest, AFailedStageSaysSo) {
  const auto in = folder_->input();
  StageFolder::append(*in, 0, {"error"});
  NumberingStage stage;
  const auto runner = start(stage);
  EXPECT_FALSE(runner->wait());
  EXPECT_EQ(runner->status()[0].phase, StageStatus::Phase::Failed);
}

TEST_F(RunnerTest, ACheckpointOfANewerReleaseIsRefused) {
  const auto in = folder_->input();
  StageFolder::append(*in, 0, {"a"});
  NumberingStage newer;
  newer.format_version_ = 2;
  {
    const auto runner = start(newer);
    ASSERT_TRUE(newer.wait_for_folded(1));
  }
  NumberingStage stage;
  const auto refused = start(stage)->wait();
  EXPECT_EQ(refused.error().kind, ErrorKind::InvalidArgument);
  EXPECT_EQ(refused.error().what,
            "stage numbering: partition 0: the checkpoint has format 2 of a newer "
            "release; this one reads up to 1");
}

TEST_F(RunnerTest, ACheckpointOfAnotherLogIsRefused) {
  for (int run = 0; run < 2; ++run) {
    const auto in = folder_->input();
    StageFolder::append(*in, 0, {"a"});
    NumberingStage stage;
    const auto runner = start(stage);
    if (run == 1) {
      EXPECT_EQ(runner->wait().error().kind, ErrorKind::Conflict);
    } else {
      ASSERT_TRUE(stage.wait_for_folded(1));
      ASSERT_TRUE(runner->stop());
      std::filesystem::remove_all(path_ + "/log/in");
    }
  }
}

TEST_F(RunnerTest, ACheckpointAheadOfItsInputIsRefused) {
  std::filesystem::path in_folder = path_ + "/log/in";
  StageFolder::append(*folder_->input(), 0, {"a"});
  std::filesystem::copy(in_folder, path_ + "/older", std::filesystem::copy_options::recursive);
  StageFolder::append(*folder_->input(), 0, {"b"});
  NumberingStage stage;
  {
    const auto runner = start(stage);
    ASSERT_TRUE(stage.wait_for_folded(2));
  }
  std::filesystem::remove_all(in_folder);
  std::filesystem::rename(path_ + "/older", in_folder);
  EXPECT_EQ(start(stage)->wait().error().kind, ErrorKind::DataLoss);
}

// Half of the input leaves the retention window after the stage has folded the first record.
class RunnerGapTest : public RunnerTest {
 protected:
  void make_gap() {
    NumberingStage stage;
    StageFolder::append(*folder_->input(1), 0, {"first"});
    {
      const auto runner = start(stage);
      ASSERT_TRUE(stage.wait_for_folded(1));
    }
    auto writer =
        *log::TopicWriter::open({.folder = path_ + "/log/in",
                                 .segment_bytes = 32 << 10,
                                 .pool_segments = 0,
                                 .options = {.partitions = 1, .retention = std::chrono::hours(1)}},
                                io::posix_file_system(), clock_);
    for (int i = 0; i < 40; ++i) {
      if (i == 20) clock_.advance(2 * kMicrosPerHour);
      std::vector<log::TopicWriter::Pending> one(1);
      one[0].batch.add({std::string(3000, 'x')});
      writer->write(one);
      ASSERT_TRUE(one[0].outcome);
    }
    ASSERT_TRUE(writer->expire());
    begin_ = folder_->log().info("in")->partitions[0].begin;
    ASSERT_GT(begin_, 1u);
  }

  log::Offset begin_ = 0;
};

TEST_F(RunnerGapTest, AStageThatFellOffStopsUnlessToldOtherwise) {
  make_gap();
  NumberingStage stage;
  const auto refused = start(stage)->wait();
  EXPECT_EQ(refused.error().kind, ErrorKind::DataLoss);
  EXPECT_NE(refused.error().what.find("retention"), std::string::npos);
}

TEST_F(RunnerGapTest, AStageThatFellOffGoesOnWhenToldAndItsFoldKnows) {
  make_gap();
  NumberingStage stage;
  auto settings = folder_->settings();
  settings.on_gap = OnGap::Continue;
  const auto runner = start(settings, stage);
  ASSERT_TRUE(stage.wait_for_folded(41 - begin_));
  ASSERT_TRUE(runner->stop());
  EXPECT_EQ(stage.lost(), begin_ - 1);
  EXPECT_EQ(stage_metric("gap_records_total"), static_cast<double>(begin_ - 1));
  const Lines out = folder_->everything("out")[0];
  ASSERT_EQ(out.size(), 1 + 41 - begin_);
  EXPECT_TRUE(out[1].starts_with(std::to_string(begin_) + " 2 x"));
}

TEST_F(RunnerTest, TicksAreFoldedButMakeNoCheckpointOfTheirOwn) {
  const auto in = folder_->input(1);
  StageFolder::append(*in, 0, {std::string("\x02\x01", 2)});
  NumberingStage stage;
  const auto runner = start(stage);
  ASSERT_TRUE(stage.wait_for_folded(1));
  clock_.advance(kMicrosPerHour);
  StageFolder::append(*in, 0, {std::string("\x02\x01", 2)});
  ASSERT_TRUE(stage.wait_for_folded(2));
  clock_.advance(kMicrosPerHour);
  ASSERT_TRUE(stage.wait_for_published(1));
  EXPECT_EQ(stage.checkpoints(), 0u);
  ASSERT_TRUE(runner->stop());
  EXPECT_EQ(stage.checkpoints(), 1u) << "the last cut holds how far the stage has read";
}

// A log whose topics cannot be read for a while, as when their writer starts.
class MomentarilyUnreadable final : public log::Log {
 public:
  explicit MomentarilyUnreadable(log::Log& log) : log_(log) {}
  Result<std::unique_ptr<log::Appender>> open_appender(const std::string& topic,
                                                       const log::TopicOptions& options) override {
    return log_.open_appender(topic, options);
  }
  Result<std::unique_ptr<log::Reader>> open_reader(const std::string& topic, Id128 log_id,
                                                   std::span<const log::Start> starts) override {
    FS_TRY(auto reader, log_.open_reader(topic, log_id, starts));
    return std::make_unique<UnreadableTwice>(std::move(reader));
  }
  std::unique_ptr<log::ReaderRegistration> register_reader(const std::string&,
                                                           const std::string&) override {
    return nullptr;
  }
  Result<log::TopicInfo> info(const std::string& topic) override { return log_.info(topic); }
  Result<log::Offset> position_at(const std::string& topic, log::Partition partition,
                                  MicrosUtc time) override {
    return log_.position_at(topic, partition, time);
  }

 private:
  class UnreadableTwice final : public log::Reader {
   public:
    explicit UnreadableTwice(std::unique_ptr<log::Reader> reader) : reader_(std::move(reader)) {}
    Result<log::Fetched> next(std::size_t bytes_max, std::chrono::milliseconds deadline) override {
      if (failures_++ < 2) return fail(ErrorKind::Unavailable, "the writer has not opened it yet");
      return reader_->next(bytes_max, deadline);
    }
    void skip_to(log::Partition partition, log::Offset offset) override {
      reader_->skip_to(partition, offset);
    }
    void wake() override { reader_->wake(); }

   private:
    std::unique_ptr<log::Reader> reader_;
    int failures_ = 0;
  };
  log::Log& log_;
};

TEST_F(RunnerTest, ATopicThatCannotBeReadForAMomentIsWaitedFor) {
  const auto in = folder_->input();
  StageFolder::append(*in, 0, {"a"});
  MomentarilyUnreadable log(folder_->log());
  NumberingStage stage;
  const auto runner =
      Runner::start(folder_->settings(), {&stage}, log, clock_, folder_->registry());
  ASSERT_TRUE(stage.wait_for_folded(1));
  ASSERT_TRUE((*runner)->stop());
}

TEST_F(RunnerTest, SettingsThatMakeNoSenseAreRefused) {
  NumberingStage stage;
  auto settings = folder_->settings();
  const auto try_start = [&](std::vector<Stage*> stages) {
    return Runner::start(settings, std::move(stages), folder_->log(), clock_, folder_->registry());
  };
  EXPECT_FALSE(try_start({&stage, &stage}));
  settings.workers = 0;
  EXPECT_FALSE(try_start({&stage}));
}

}  // namespace
}  // namespace flagstream::pipeline
