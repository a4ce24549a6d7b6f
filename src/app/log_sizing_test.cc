#include "app/log_sizing.h"

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "io/memory_file_system.h"
#include "log/local_log.h"
#include "telemetry/metrics.h"

namespace flagstream::app {
namespace {

constexpr MicrosUtc kNow = 1'795'407'508'900'000;

class LogSizingTest : public testing::Test {
 protected:
  io::MemoryFileSystem files;
  FakeClock clock{kNow};
  telemetry::Registry registry;
  std::unique_ptr<log::Log> log = log::open_local_log(
      {.folder = "log", .segment_bytes = 1 << 20, .pool_segments = 0}, files, clock, registry);
};

TEST_F(LogSizingTest, NothingIsNeededOfALogThatIsNotThereYet) {
  ASSERT_TRUE(files.make_folder("log"));
  const auto sizing = size_log(*log, files, "log", std::chrono::hours(24), 0);
  ASSERT_TRUE(sizing) << sizing.error().what;
  EXPECT_EQ(sizing->needed_bytes, 0u);
  EXPECT_TRUE(sizing->fits());
}

TEST_F(LogSizingTest, NothingIsNeededOfATopicWithoutRecordsOrWithOneFile) {
  auto appender = *log->open_appender("payloads", {.partitions = 1});
  for (int records = 0; records < 2; ++records) {
    const auto sizing = size_log(*log, files, "log", std::chrono::hours(24), 0);
    ASSERT_TRUE(sizing) << sizing.error().what;
    EXPECT_EQ(sizing->held_bytes, 1u << 20);
    EXPECT_EQ(sizing->needed_bytes, 0u);
    clock.advance(kMicrosPerHour);
    log::Batch batch;
    batch.add({"x"});
    ASSERT_TRUE(appender->append_and_wait(0, std::move(batch)));
  }
}

TEST_F(LogSizingTest, TheRateOfWhatItHoldsTimesRetention) {
  auto appender = *log->open_appender("payloads", {.partitions = 1});
  // Eight files of 1 MiB in 800 s, a ninth one begun.
  for (int i = 0; i < 17; ++i) {
    log::Batch batch;
    batch.add({std::string(500 << 10, 'x')});
    ASSERT_TRUE(appender->append_and_wait(0, std::move(batch)));
    clock.advance(50 * kMicrosPerSecond);
  }
  const auto sizing = size_log(*log, files, "log", std::chrono::hours(24), 0);
  ASSERT_TRUE(sizing) << sizing.error().what;
  EXPECT_EQ(sizing->held_bytes, 9u << 20);
  EXPECT_NEAR(sizing->bytes_per_second, (8 << 20) / 800.0, 1);
  EXPECT_NEAR(static_cast<double>(sizing->needed_bytes), (8 << 20) / 800.0 * 86'400, 1e5);
  const auto bounded = size_log(*log, files, "log", std::chrono::hours(24), 5 << 20);
  ASSERT_TRUE(bounded);
  EXPECT_EQ(bounded->needed_bytes, 5u << 20);
}

TEST(LogSizing, FitsIfWhatIsHeldAndWhatIsFreeAreEnough) {
  EXPECT_TRUE((LogSizing{.held_bytes = 60, .needed_bytes = 100, .free_bytes = 40}).fits());
  EXPECT_FALSE((LogSizing{.held_bytes = 60, .needed_bytes = 101, .free_bytes = 40}).fits());
}

}  // namespace
}  // namespace flagstream::app
