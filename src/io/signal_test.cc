#include "io/signal.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/file_system.h"

namespace flagstream::io {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

constexpr std::uint64_t kOffset = 8;

class SignalTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "signal_" + std::to_string(::getpid()) + "_" +
            testing::UnitTest::GetInstance()->current_test_info()->name();
    file_ = *posix_file_system().open(path_, OpenMode::Create);
    set(1);
  }
  void TearDown() override { (void)posix_file_system().remove(path_); }

  void set(std::uint32_t value) {
    std::string bytes(kOffset, '\0');
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    const std::string_view parts[] = {bytes};
    ASSERT_TRUE(file_->write_at(0, parts));
  }
  std::unique_ptr<Signal> signal() { return posix_file_system().open_signal(path_, kOffset); }

  std::string path_;
  std::unique_ptr<File> file_;
};

TEST_F(SignalTest, AWordThatIsAnotherOneAlreadyIsNotWaitedFor) {
  EXPECT_LT(signal()->wait(2, seconds(10)), seconds(5));
}

TEST_F(SignalTest, TheTimeEndsAWait) {
  EXPECT_GE(signal()->wait(1, microseconds(20'000)), microseconds(19'000));
}

TEST_F(SignalTest, ANotificationEndsTheWaitOfAnotherProcess) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(signal()->wait(1, seconds(10)) < seconds(5) ? 0 : 1);
  const auto writer = signal();
  set(2);  // before or after the child has begun to wait: it ends either way
  writer->notify();
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(SignalTest, AnInterruptEndsTheWaitThatRunsAndTheNext) {
  const auto waits = signal();
  std::atomic<int> ended{0};
  std::thread waiting([&] {
    for (int i = 0; i < 100; ++i) {
      while (!waits->take_interrupt()) (void)waits->wait(1, seconds(10));
      ++ended;
    }
  });
  const SystemClock clock;
  const std::int64_t begin = clock.monotonic();
  for (int i = 0; i < 100; ++i) {
    waits->interrupt();
    while (ended.load() == i) std::this_thread::yield();
  }
  waiting.join();
  EXPECT_LT(clock.monotonic() - begin, 5 * kMicrosPerSecond);
}

TEST_F(SignalTest, AWordThatChangesAllTheTimeEndsAWaitAboutOnceAMillisecond) {
  const auto waits = signal();
  (void)waits->wait(0, seconds(1));
  EXPECT_GE(waits->wait(0, seconds(1)), microseconds(500));
}

TEST_F(SignalTest, AFileThatIsTooShortOrNotThereIsPolledWithGrowingPauses) {
  ASSERT_TRUE(file_->truncate(0));
  for (const std::string& path : {path_, path_ + "-nothing"}) {
    const auto waits = posix_file_system().open_signal(path, kOffset);
    (void)waits->wait(1, seconds(10));
    microseconds all(0);
    for (int i = 0; i < 4; ++i) all += waits->wait(1, seconds(10));
    EXPECT_GT(all, microseconds(20'000)) << path;  // 2 + 4 + 8 + 16 ms
    EXPECT_LT(all, seconds(5)) << path;
    waits->interrupt();
    EXPECT_LT(waits->wait(1, seconds(10)), seconds(5)) << path;
  }
}

}  // namespace
}  // namespace flagstream::io
