#include "processor/processor.h"

#include <cstdlib>
#include <filesystem>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "events/event.h"
#include "events/payload.h"
#include "io/file_system.h"
#include "log/local_log.h"

namespace flagstream::processor {
namespace {

class ProcessorTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "processor_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    log_ = log::open_local_log(
        {.folder = folder_ + "/log", .segment_bytes = 1 << 20, .pool_segments = 0},
        io::posix_file_system(), clock_, registry_);
  }
  void TearDown() override {
    log_.reset();
    std::filesystem::remove_all(folder_);
  }
  auto start(std::vector<std::string> stages) {
    return Processor::start({.stages = std::move(stages),
                             .runner = {.state_folder = folder_ + "/state",
                                        .crash_notes_folder = folder_ + "/crash",
                                        .output_topics = {}}},
                            {}, *log_, clock_, registry_);
  }

  SystemClock clock_;
  telemetry::Registry registry_;
  std::string folder_;
  std::unique_ptr<log::Log> log_;
};

TEST_F(ProcessorTest, RunsTheStagesThatItIsToldByName) {
  const auto processor = start({"transform"});
  ASSERT_TRUE(processor) << processor.error().what;
  EXPECT_FALSE((*processor)->is_ready()) << "there is no topic yet";
  EXPECT_EQ((*processor)->status(),
            R"({"stages":[{"name":"transform","phase":"waiting","lagRecords":0}]})");
  const auto payloads = *log_->open_appender("payloads", {.partitions = 1});
  log::Batch batch;
  batch.add({events::encode_payload_head({}), "[]"});
  ASSERT_TRUE(payloads->append_and_wait(0, std::move(batch)));
  const auto has_output = [&] {
    const auto info = log_->info("events");
    return info && info->partitions[0].end > 0;
  };
  while (!has_output()) std::this_thread::yield();
  EXPECT_TRUE((*processor)->is_ready());
  EXPECT_TRUE((*processor)->stop());
}

TEST_F(ProcessorTest, AStageThatDoesNotExistIsNamed) {
  const auto refused = start({"transform", "transfrom"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::InvalidArgument);
  EXPECT_EQ(refused.error().what, "there is no stage \"transfrom\"; there are: transform");
  EXPECT_FALSE(start({}));
  EXPECT_FALSE(start({"transform", "transform"}));
}

// A payload that crashes the stage is set aside; everything around it counts.
class PoisonTest : public ProcessorTest {
 protected:
  void post(log::Appender& to, const std::string& payload_id, std::string_view body) {
    events::proto::PayloadHeader header;
    header.set_payload_id(payload_id);
    log::Batch batch;
    batch.add({events::encode_payload_head(header), body});
    ASSERT_TRUE(to.append_and_wait(0, std::move(batch)));
  }
  std::vector<events::proto::Event> outcomes() {
    std::vector<events::proto::Event> out;
    const log::Start start{0, 0};
    const auto reader = log_->open_reader("events", Id128{}, std::span(&start, 1));
    if (!reader) return out;
    for (;;) {
      const auto fetched = (*reader)->next(1 << 20, std::chrono::milliseconds(0));
      if (!fetched || fetched->status != log::Fetched::Status::Frames) return out;
      for (const log::Frame& frame : fetched->frames) {
        for (const std::string_view record : frame.records) {
          events::proto::Event event;
          EXPECT_TRUE(events::decode_event(record, event));
          if (event.kind() == events::proto::PAYLOAD) out.push_back(event);
        }
      }
    }
  }
};

constexpr const char* kFolderVariable = "FLAGSTREAM_TEST_PROCESSOR_FOLDER";

// Runs in a process of its own, begun by the test below.
TEST_F(PoisonTest, DISABLED_FoldsThreePayloads) {
  const std::string own = std::exchange(folder_, std::getenv(kFolderVariable));
  log_ = log::open_local_log(
      {.folder = folder_ + "/log", .segment_bytes = 1 << 20, .pool_segments = 0},
      io::posix_file_system(), clock_, registry_);
  const auto processor = start({"transform"});
  while (outcomes().size() < 3) std::this_thread::yield();
  EXPECT_TRUE((*processor)->stop());
  folder_ = own;
}

TEST_F(PoisonTest, APayloadThatCrashesTransformIsRejectedAndTheRestCounts) {
  {
    const auto payloads = *log_->open_appender("payloads", {.partitions = 1});
    post(*payloads, "p1", "[]");
    post(*payloads, "p2", R"([{"kind":"custom","key":"__poison__"}])");
    post(*payloads, "p3", "[]");
  }
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  const std::string child =
      std::string(kFolderVariable) + "='" + folder_ + "' exec '" + self +
      "' --gtest_also_run_disabled_tests --gtest_filter=PoisonTest.DISABLED_* >/dev/null 2>&1";
  for (int crash = 0; crash < 3; ++crash) EXPECT_NE(std::system(child.c_str()), 0) << crash;
  EXPECT_EQ(std::system(child.c_str()), 0);
  using events::proto::Event;
  const auto all = outcomes();
  ASSERT_GE(all.size(), 3u);
  EXPECT_EQ(all[all.size() - 3].outcome(), Event::ACCEPTED);
  EXPECT_EQ(all[all.size() - 2].outcome(), Event::REJECTED);
  EXPECT_EQ(all[all.size() - 1].outcome(), Event::ACCEPTED);
  EXPECT_EQ(std::filesystem::file_size(folder_ + "/crash/transform.notes"), 0u);
}

}  // namespace
}  // namespace flagstream::processor
