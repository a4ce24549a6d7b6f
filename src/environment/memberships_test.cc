#include "environment/memberships.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <semaphore>
#include <thread>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/hash.h"
#include "environment/membership_record.h"
#include "io/file_system.h"
#include "log/local_log.h"

namespace flagstream::environment {
namespace {

using State = Memberships::State;
constexpr std::chrono::milliseconds kPatience{30'000};

std::string members(std::initializer_list<std::string_view> keys) {
  std::string bytes;
  for (const std::string_view key : keys) bytes += member_of(key).to_bytes();
  return bytes;
}

proto::MembershipChange change(std::uint64_t sequence, std::uint64_t generation) {
  proto::MembershipChange made;
  made.set_sequence(sequence);
  made.set_environment_id(7);
  made.set_generation(generation);
  return made;
}

class MembershipsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "memberships_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    log_ = log::open_local_log({.folder = folder_, .segment_bytes = 1 << 20, .pool_segments = 0},
                               io::posix_file_system(), clock_, registry_);
  }
  void TearDown() override {
    memberships_.reset();
    appender_.reset();
    std::filesystem::remove_all(folder_);
  }
  void start() { memberships_ = Memberships::start(*log_, clock_, registry_); }
  void append(const proto::MembershipChange& record) {
    if (appender_ == nullptr)
      appender_ = *log_->open_appender(std::string(kMembershipsTopic), {.partitions = 1});
    log::Batch batch;
    const auto encoded = encode_membership_record(record);
    ASSERT_TRUE(encoded) << encoded.error().what;
    batch.add({*encoded});
    ASSERT_TRUE(appender_->append_and_wait(0, std::move(batch)));
  }
  void wait_for(std::uint64_t sequence) {
    const auto reached = memberships_->wait_for(sequence, kPatience);
    ASSERT_TRUE(reached) << reached.error().what;
  }

  std::string folder_;
  FakeClock clock_{1'700'000'000'000'000};
  telemetry::Registry registry_;
  std::unique_ptr<log::Log> log_;
  std::unique_ptr<log::Appender> appender_;
  std::unique_ptr<Memberships> memberships_;
};

TEST_F(MembershipsTest, FollowsChangesInTheirOrder) {
  auto first = change(1, 5);
  first.set_included_add(members({"a", "b"}));
  first.set_excluded_add(members({"x", "b"}));
  append(first);
  start();
  wait_for(1);
  EXPECT_EQ(memberships_->find(5, "a"), true);
  EXPECT_EQ(memberships_->find(5, "b"), true) << "inclusion goes before exclusion";
  EXPECT_EQ(memberships_->find(5, "x"), false);
  EXPECT_EQ(memberships_->find(5, "c"), std::nullopt);
  EXPECT_EQ(memberships_->find(6, "a"), std::nullopt);

  auto second = change(2, 5);
  second.set_included_remove(members({"a", "b"}));
  second.set_excluded_remove(members({"x"}));
  second.set_included_add(members({"c"}));
  append(second);
  wait_for(2);
  EXPECT_EQ(memberships_->find(5, "a"), std::nullopt);
  EXPECT_EQ(memberships_->find(5, "b"), false);
  EXPECT_EQ(memberships_->find(5, "x"), std::nullopt);
  EXPECT_EQ(memberships_->find(5, "c"), true);

  auto third = change(3, 5);
  third.set_reset(true);
  third.set_included_add(members({"d"}));
  append(third);
  wait_for(3);
  EXPECT_EQ(memberships_->find(5, "c"), std::nullopt);
  EXPECT_EQ(memberships_->find(5, "d"), true);
}

TEST_F(MembershipsTest, ARepeatChangesNothing) {
  auto first = change(1, 5);
  first.set_included_add(members({"a"}));
  auto second = change(2, 5);
  second.set_included_remove(members({"a"}));
  for (const auto& each : {first, second, first, second, first}) append(each);
  append(change(3, 5));
  start();
  wait_for(3);
  EXPECT_EQ(memberships_->find(5, "a"), std::nullopt);
  EXPECT_EQ(memberships_->state(), State::Current);
}

TEST_F(MembershipsTest, SaysWhatItKnows) {
  start();
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (memberships_->state() == State::Loading && std::chrono::steady_clock::now() < give_up)
    std::this_thread::yield();
  EXPECT_EQ(memberships_->state(), State::Absent);
  EXPECT_FALSE(memberships_->wait_for(1, std::chrono::milliseconds(1)));
  append(change(1, 5));
  wait_for(1);
  EXPECT_EQ(memberships_->state(), State::Current);
  append(change(3, 5));  // 2 is missing
  wait_for(3);
  EXPECT_EQ(memberships_->state(), State::Stale);
}

// Whether there is such a topic is not known while the log does not answer.
class SilentLog final : public log::Log {
 public:
  Result<std::unique_ptr<log::Appender>> open_appender(const std::string&,
                                                       const log::TopicOptions&) override {
    return silent();
  }
  Result<std::unique_ptr<log::Reader>> open_reader(const std::string&, Id128,
                                                   std::span<const log::Start>) override {
    return silent();
  }
  std::unique_ptr<log::ReaderRegistration> register_reader(const std::string&,
                                                           const std::string&) override {
    return nullptr;
  }
  Result<log::TopicInfo> info(const std::string&) override {
    asked.release();
    return silent();
  }
  Result<log::Offset> position_at(const std::string&, log::Partition, MicrosUtc) override {
    return silent();
  }

  std::counting_semaphore<> asked{0};

 private:
  static std::unexpected<Error> silent() {
    return fail(ErrorKind::Unavailable, "as the test wants");
  }
};

TEST(Memberships, AreNotAbsentBecauseTheLogCannotBeReached) {
  FakeClock clock(1'700'000'000'000'000);
  telemetry::Registry registry;
  SilentLog log;
  const auto memberships = Memberships::start(log, clock, registry);
  EXPECT_EQ(memberships->state(), State::Loading);
  log.asked.acquire();
  log.asked.acquire();  // the first answer has been taken
  EXPECT_EQ(memberships->state(), State::Loading);
}

TEST(MembershipRecord, RefusesWhatReadersCannotUse) {
  EXPECT_FALSE(encode_membership_record(change(0, 5)));
  EXPECT_FALSE(encode_membership_record(change(1, 0)));
  auto part = change(1, 5);
  part.set_included_add("fifteen bytes..");
  EXPECT_FALSE(encode_membership_record(part));
  auto many = change(1, 5);
  many.set_included_add(std::string((kMembersPerRecordMax + 1) * kMemberBytes, 'x'));
  EXPECT_FALSE(encode_membership_record(many));

  const std::string good = *encode_membership_record(change(1, 5));
  EXPECT_TRUE(decode_membership_record(good));
  std::string newer = good;
  newer[1] = 2;
  EXPECT_EQ(decode_membership_record(newer).error().kind, ErrorKind::InvalidArgument);
  std::string other = good;
  other[0] = 5;
  EXPECT_EQ(decode_membership_record(other).error().kind, ErrorKind::NotFound);
  EXPECT_EQ(decode_membership_record(good.substr(0, 1)).error().kind, ErrorKind::DataLoss);
  EXPECT_EQ(decode_membership_record(good + "\xff").error().kind, ErrorKind::DataLoss);
}

TEST(MembershipRecord, IsStillReadAsItWasWritten) {
  std::ifstream in(FLAGSTREAM_SOURCE_DIR "/tests/golden/v1/membership.bin", std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  const auto read = decode_membership_record(bytes);
  ASSERT_TRUE(read) << read.error().what;
  EXPECT_EQ(read->sequence(), 3u);
  EXPECT_EQ(read->environment_id(), 7u);
  EXPECT_EQ(read->generation(), 2u);
  EXPECT_EQ(read->included_add(), members({"userkey"}));
  EXPECT_EQ(*encode_membership_record(*read), bytes);
}

TEST(MembershipRecord, AMemberIsHalfASha256OfTheKey) {
  EXPECT_EQ(member_of("userkey").to_bytes(), sha256("userkey").substr(0, 16));
}

}  // namespace
}  // namespace flagstream::environment
