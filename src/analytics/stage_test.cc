// The stage as a processor runs it: over the local log, with the pipeline's own threads.
#include "analytics/stage.h"

#include <thread>

#include <gtest/gtest.h>

#include "analytics/results_reader.h"
#include "analytics/test_events.h"
#include "events/event.h"
#include "events/record.h"
#include "io/file_system.h"
#include "log/local_log.h"
#include "pipeline/runner.h"

namespace flagstream::analytics {
namespace {

namespace proto = events::proto;

class AnalyticsStageTest : public ::testing::Test {
 protected:
  AnalyticsStageTest() {
    log_ = log::open_local_log(
        {.folder = folder_.file("log"), .segment_bytes = 64 << 10, .pool_segments = 0},
        io::posix_file_system(), clock_, registry_);
    auto opened = log_->open_appender("events", {.partitions = 2});
    EXPECT_TRUE(opened) << opened.error().what;
    events_ = *std::move(opened);
  }

  void append(log::Partition partition, const std::vector<proto::Event>& events) {
    log::Batch batch;
    for (const proto::Event& event : events) {
      std::string record;
      events::encode_event(event, record);
      batch.add({record});
    }
    batch.add({events::tick_record(kTen)});
    ASSERT_TRUE(events_->append_and_wait(partition, std::move(batch)));
  }
  std::unique_ptr<pipeline::Runner> start(AnalyticsStage& stage) {
    auto started = pipeline::Runner::start({.state_folder = folder_.file("state"),
                                            .crash_notes_folder = folder_.file("crash"),
                                            .workers = 2,
                                            .checkpoint_interval = std::chrono::hours(1),
                                            .publish_interval = std::chrono::milliseconds(0),
                                            .output_topics = {},
                                            .on_gap = pipeline::OnGap::Stop},
                                           {&stage}, *log_, clock_, registry_);
    EXPECT_TRUE(started) << started.error().what;
    return *std::move(started);
  }
  Settings settings() const { return {.results_path = folder_.file("results.db")}; }
  void wait_for(log::Partition partition, log::Offset next_payload) {
    auto reader = ResultsReader::open(settings().results_path);
    ASSERT_TRUE(reader);
    for (;;) {
      const auto progress = (*reader)->progress();
      ASSERT_TRUE(progress) << progress.error().what;
      for (const Progress& each : *progress) {
        if (each.partition == partition && each.next_offset == next_payload) return;
      }
      std::this_thread::yield();
    }
  }
  std::int64_t evaluations_of_flag() {
    auto reader = ResultsReader::open(settings().results_path);
    const auto totals = (*reader)->evaluation_totals(EnvironmentId{7});
    EXPECT_TRUE(totals);
    return totals->at("flag").at(0);
  }

  TempFolder folder_;
  FakeClock clock_{kTen};
  telemetry::Registry registry_;
  EventMaker make_;
  std::unique_ptr<log::Log> log_;
  std::unique_ptr<log::Appender> events_;
};

TEST_F(AnalyticsStageTest, ResultsFollowTheLogAcrossStopsAndCrashes) {
  append(0, {make_.summary(kTen, "flag", 0, 1, 1),
             make_.payload(kTen, proto::Event::ACCEPTED, 1, 0)});  // payload 101
  append(1, {make_.summary(kTen, "flag", 0, 1, 2),
             make_.payload(kTen, proto::Event::ACCEPTED, 1, 0)});  // payload 103
  {
    AnalyticsStage stage(settings(), registry_);
    const auto runner = start(stage);
    wait_for(0, 102);
    wait_for(1, 104);
    EXPECT_EQ(evaluations_of_flag(), 3);
    ASSERT_TRUE(runner->stop());
  }
  append(0, {make_.summary(kTen, "flag", 0, 1, 4),
             make_.payload(kTen, proto::Event::ACCEPTED, 1, 0)});  // payload 105
  {
    AnalyticsStage stage(settings(), registry_);
    const auto runner = start(stage);
    wait_for(0, 106);
    EXPECT_EQ(evaluations_of_flag(), 7);
    runner->abandon();
  }
  append(0, {make_.summary(kTen, "flag", 0, 1, 8),
             make_.payload(kTen, proto::Event::ACCEPTED, 1, 0)});  // payload 107
  {
    AnalyticsStage stage(settings(), registry_);
    const auto runner = start(stage);
    wait_for(0, 108);
    EXPECT_EQ(evaluations_of_flag(), 15);
    ASSERT_TRUE(runner->stop());
  }
}

}  // namespace
}  // namespace flagstream::analytics
