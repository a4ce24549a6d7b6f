// Fails the first call of each kind that a stage makes of the log's disk, then the second, and so
// on.  A stage that fails is started anew, as its process would be.  At the end each record's
// output is there once.
#include <filesystem>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/faulty_file_system.h"
#include "pipeline/test_stage.h"

namespace flagstream::pipeline {
namespace {

constexpr int kLivesMax = 4;
constexpr std::uint64_t kCallsMax = 15;  // of a kind; readers look at the log again and again

class StageFaultTest : public testing::TestWithParam<io::Call> {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "stage_fault_" + std::to_string(::getpid());
  }
  void TearDown() override { std::filesystem::remove_all(path_); }

  std::size_t taken() {
    std::size_t count = 0;
    for (const auto& [partition, records] : StageFolder(path_, clock_).taken("out"))
      count += records.size();
    return count;
  }

  // One life of the stage: until `wanted` outputs are there, or it fails.
  Result<void> live(io::FileSystem& files, std::size_t wanted) {
    StageFolder folder(path_, clock_, files);
    NumberingStage stage;
    auto settings = folder.settings();
    settings.checkpoint_interval = std::chrono::microseconds(0);
    FS_TRY(const auto runner,
           Runner::start(settings, {&stage}, folder.log(), clock_, folder.registry()));
    const std::int64_t deadline = clock_.monotonic() + 20 * kMicrosPerSecond;
    while (taken() < wanted && clock_.monotonic() < deadline &&
           runner->status().at(0).phase != StageStatus::Phase::Failed)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return runner->stop();
  }

  SystemClock clock_;
  std::string path_;
};

TEST_P(StageFaultTest, EachOutputIsThereOnce) {
  for (std::uint64_t call = 1; call <= kCallsMax; ++call) {
    const std::string what = fmt::format("{} {}", to_string(GetParam()), call);
    std::filesystem::remove_all(path_);
    {
      StageFolder folder(path_, clock_);
      const auto in = folder.input(1);
      for (const char* record : {"a", "b", "c"}) StageFolder::append(*in, 0, {record});
    }
    io::FaultyFileSystem files(io::posix_file_system());
    files.fail({.call = GetParam(), .first = call});
    for (int life = 0; life < kLivesMax && taken() < 3; ++life) (void)live(files, 3);
    EXPECT_EQ(
        StageFolder(path_, clock_).taken("out"),
        (std::map<log::Partition, std::vector<std::string>>{{0, {"0 1 a", "1 2 b", "2 3 c"}}}))
        << what;
    if (HasFailure() || !files.has_failed()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(OfEachCall, StageFaultTest,
                         testing::Values(io::Call::Open, io::Call::Read, io::Call::Write,
                                         io::Call::Sync, io::Call::Rename, io::Call::SyncFolder),
                         [](const auto& info) {
                           std::string name(to_string(info.param));
                           std::erase(name, ' ');
                           return name;
                         });

}  // namespace
}  // namespace flagstream::pipeline
