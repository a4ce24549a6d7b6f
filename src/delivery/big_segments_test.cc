#include "delivery/big_segments.h"

#include <chrono>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>
#include <unistd.h>

#include "environment/membership_record.h"
#include "io/file_system.h"
#include "log/local_log.h"

namespace flagstream::delivery {
namespace {

constexpr char kDocument[] =
    R"({"flags":{"f":{"key":"f","version":1,"on":true,"variations":[false,true],
        "fallthrough":{"variation":0},"salt":"s","rules":[{"id":"r","variation":1,"clauses":
        [{"op":"segmentMatch","values":["big"]}]}]}},
        "segments":{"big":{"key":"big","version":1,"unbounded":true,"generation":5,"salt":"s",
        "unboundedContextKind":"org"}}})";

TEST(BigSegmentMembers, DecideAnEvaluation) {
  const std::string folder = testing::TempDir() + "big_segments_" + std::to_string(::getpid());
  std::filesystem::remove_all(folder);
  FakeClock clock(1'700'000'000'000'000);
  telemetry::Registry registry;
  const auto log =
      log::open_local_log({.folder = folder, .segment_bytes = 1 << 20, .pool_segments = 0},
                          io::posix_file_system(), clock, registry);
  const auto memberships = environment::Memberships::start(*log, clock, registry);
  const BigSegmentMembers members(*memberships);
  const auto evaluator = flags::Evaluator::compile(kDocument);
  ASSERT_TRUE(evaluator);
  EXPECT_TRUE((*evaluator)->has_big_segments());
  const auto answer = [&](const char* org) {
    const auto context =
        flags::Context::parse(std::string(R"({"kind":"org","key":")") + org + R"("})");
    return (*evaluator)->evaluate("f", *context, {.big_segments = &members});
  };
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!members.is_ready() && std::chrono::steady_clock::now() < give_up)
    std::this_thread::yield();
  EXPECT_EQ(answer("acme").value, "false");
  EXPECT_EQ(answer("acme").reason.big_segments, flags::BigSegmentsStatus::NotConfigured);

  const auto appender =
      *log->open_appender(std::string(environment::kMembershipsTopic), {.partitions = 1});
  environment::proto::MembershipChange change;
  change.set_sequence(1);
  change.set_environment_id(7);
  change.set_generation(5);
  change.set_included_add(environment::member_of("acme").to_bytes());
  log::Batch batch;
  batch.add({*environment::encode_membership_record(change)});
  ASSERT_TRUE(appender->append_and_wait(0, std::move(batch)));
  ASSERT_TRUE(memberships->wait_for(1, std::chrono::milliseconds(30'000)));
  EXPECT_EQ(answer("acme").value, "true");
  EXPECT_EQ(answer("acme").reason.big_segments, flags::BigSegmentsStatus::Healthy);
  EXPECT_EQ(answer("other").value, "false");
  EXPECT_TRUE(members.is_ready());
  EXPECT_EQ(members.find("acme", "big").is_member, std::nullopt) << "no generation";
  EXPECT_EQ(members.find("acme", "big.g5x").is_member, std::nullopt);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace flagstream::delivery
