#include "environment/environments.h"

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>
#include <unistd.h>

#include "environment/fold.h"
#include "environment/saved_state.h"
#include "environment/test_records.h"
#include "log/local_log.h"

namespace flagstream::environment {
namespace {

using namespace testing_records;

std::uint64_t revision_in(const ConfigFold& fold) {
  const auto found = fold.environments().find(7);
  return found == fold.environments().end() ? 0 : found->second.revision;
}

TEST(ConfigFold, KnownRevisionsAreDroppedAndAGapWaits) {
  ConfigFold fold;
  EXPECT_EQ(fold.take(change(environment_item(1)))->changes.size(), 1u);
  EXPECT_EQ(fold.take(change(flag(3, "b", 1)))->changes.size(), 0u);
  EXPECT_EQ(fold.gaps(), 1u);
  EXPECT_EQ(revision_in(fold), 1u);
  const auto both = fold.take(change(flag(2, "a", 1)));
  ASSERT_EQ(both->changes.size(), 2u);
  EXPECT_EQ(both->changes[0].key(), "a");
  EXPECT_EQ(both->changes[1].key(), "b");
  EXPECT_EQ(fold.take(change(flag(2, "a", 9)))->changes.size(), 0u);
  EXPECT_EQ(fold.gaps(), 0u);
}

TEST(ConfigFold, ACopyCountsOnlyWithItsEndAndOnlyWhereItIsAhead) {
  ConfigFold fold;
  (void)fold.take(change(environment_item(1)));
  (void)fold.take(change(flag(2, "a", 5)));
  for (const auto& record : copy(9, 2, {environment_item(1)}, true))
    EXPECT_TRUE(fold.take(record)->replaced.empty());
  EXPECT_EQ(fold.environments().at(7).items.size(), 2u);
  for (const auto& record : copy(10, 5, {environment_item(1), flag(1, "z", 1)}, false))
    (void)fold.take(record);
  EXPECT_EQ(revision_in(fold), 2u);
  (void)fold.take(change(flag(6, "c", 1)));
  std::size_t replaced = 0;
  for (const auto& record : copy(11, 5, {environment_item(1), flag(1, "z", 1)}, true))
    replaced += fold.take(record)->replaced.size();
  EXPECT_EQ(replaced, 1u);
  EXPECT_EQ(revision_in(fold), 6u) << "what waited behind the copy's revision follows on it";
  EXPECT_TRUE(fold.environments().at(7).items.contains({proto::Item::FLAG, "z"}));
  EXPECT_FALSE(fold.environments().at(7).items.contains({proto::Item::FLAG, "a"}));
}

TEST(ConfigFold, DamagedAndUnknownRecordsAreCountedAndANewerLayoutStops) {
  ConfigFold fold;
  EXPECT_TRUE(fold.take(std::string("\x05\x01garbage", 9)));
  EXPECT_TRUE(fold.take("\x63\x01"));
  EXPECT_EQ(fold.skipped(), 2u);
  EXPECT_EQ(fold.take("\x05\x02").error().kind, ErrorKind::InvalidArgument);
}

TEST(ConfigFold, ItsStateAsACopyFoldsToTheSameState) {
  ConfigFold fold;
  (void)fold.take(change(environment_item(1)));
  (void)fold.take(change(flag(2, "a", 1)));
  (void)fold.take(change(deleted(flag(3, "a", 2))));
  ConfigFold again;
  const auto records = fold.as_copy();
  ASSERT_TRUE(records);
  for (const auto& record : *records) ASSERT_TRUE(again.take(record));
  EXPECT_EQ(*again.as_copy(), *records);
  EXPECT_EQ(revision_in(again), 3u);
}

TEST(ConfigFold, TheDigestIsOfTheContentsHoweverTheyCame) {
  ConfigFold changes;
  (void)changes.take(change(environment_item(1)));
  EXPECT_EQ(changes.environments().at(7).digest, 0u) << "nothing that an SDK gets";
  (void)changes.take(change(flag(2, "a", 1)));
  (void)changes.take(change(flag(3, "b", 1)));
  (void)changes.take(change(deleted(flag(4, "b", 2))));
  const EnvironmentState& state = changes.environments().at(7);
  EXPECT_EQ(state.digest, digest_of(flag(2, "a", 1)));
  ASSERT_EQ(state.digests.size(), 4u);
  EXPECT_EQ(state.digests[1], state.digests[3]) << "\"b\" came and went";
  EXPECT_NE(state.digests[2], state.digests[3]);
  proto::Item segment = flag(2, "a", 1);
  segment.set_kind(proto::Item::SEGMENT);
  EXPECT_NE(digest_of(segment), digest_of(flag(2, "a", 1)));

  ConfigFold saved;
  for (const auto& record : *changes.as_copy()) (void)saved.take(record);
  EXPECT_EQ(saved.environments().at(7).digests, state.digests);
  ConfigFold copied;
  for (const auto& record :
       copy(9, 4, {environment_item(1), flag(1, "a", 1), deleted(flag(1, "b", 2))}, true))
    (void)copied.take(record);
  EXPECT_EQ(copied.environments().at(7).digests, std::deque<std::uint64_t>{state.digest})
      << "of a copy only its own revision is known";
  proto::Item gone = environment_item(5);
  gone.set_version(2);
  (void)changes.take(change(deleted(gone)));
  EXPECT_EQ(state.digests, std::deque<std::uint64_t>{0}) << "nor what was before a deletion";
}

TEST(ConfigFold, DigestsAreKeptForSomeRevisionsAndSavedForFewer) {
  ConfigFold fold;
  (void)fold.take(change(environment_item(1)));
  for (std::uint64_t revision = 2; revision < 400; ++revision)
    (void)fold.take(change(flag(revision, "a", static_cast<std::int64_t>(revision))));
  EXPECT_EQ(fold.environments().at(7).digests.size(), EnvironmentState::kDigestsKept);
  ConfigFold again;
  for (const auto& record : *fold.as_copy()) (void)again.take(record);
  EXPECT_EQ(again.environments().at(7).digests.size(), EnvironmentState::kDigestsSaved);
  EXPECT_EQ(again.environments().at(7).digest, fold.environments().at(7).digest);
}

TEST(ConfigFold, WhatWaitsBehindAGapIsBoundedInBytes) {
  const std::size_t one = flag(3, "b", 1).ByteSizeLong();
  ConfigFold fold(2 * one);
  (void)fold.take(change(environment_item(1)));
  for (std::uint64_t revision = 3; revision < 8; ++revision)
    (void)fold.take(change(flag(revision, "b", 1)));
  EXPECT_EQ(fold.environments().at(7).waiting.size(), 2u);
  EXPECT_EQ(fold.dropped(), 3u);
  (void)fold.take(change(flag(2, "a", 1)));
  EXPECT_EQ(revision_in(fold), 4u);
  EXPECT_EQ(fold.gaps(), 1u) << "revisions that were dropped are still missing";
  (void)fold.take(change(flag(6, "b", 1)));
  (void)fold.take(change(flag(7, "b", 1)));
  EXPECT_EQ(fold.environments().at(7).waiting.size(), 2u) << "there is room again";
}

TEST(ConfigFold, ACopyIsBoundedInBytes) {
  const std::size_t two = environment_item(1).ByteSizeLong() + flag(1, "x", 1).ByteSizeLong();
  ConfigFold fold(ConfigFold::kWaitingBytesMax, two + 10);
  for (const auto& record :
       copy(10, 5, {environment_item(1), flag(1, "x", 1), flag(1, "y", 1)}, true))
    EXPECT_TRUE(fold.take(record)->replaced.empty());
  EXPECT_EQ(fold.dropped(), 3u);
  EXPECT_FALSE(fold.has_environment());
  EXPECT_FALSE(fold.is_inside_copy());
}

TEST(ConfigFold, ACopyWithAHoleInItDoesNotCount) {
  ConfigFold fold;
  const auto records = copy(10, 5, {environment_item(1), flag(1, "x", 1)}, true);
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (i == 2) fold.note_hole();
    const auto folded = fold.take(records[i]);
    EXPECT_FALSE(folded->has_complete_copy);
  }
  EXPECT_FALSE(fold.has_environment());
}

TEST(ConfigFold, WithAnEnvironmentGoesWhatIsInIt) {
  ConfigFold fold;
  (void)fold.take(change(environment_item(1)));
  (void)fold.take(change(flag(2, "a", 1)));
  (void)fold.take(change(deleted(environment_item(3))));
  EXPECT_TRUE(fold.environments().at(7).is_deleted);
  EXPECT_EQ(fold.environments().at(7).items.size(), 1u) << "its own tombstone";
}

class EnvironmentsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "environments_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    log_ = log::open_local_log(
        {.folder = folder_ + "/log", .segment_bytes = 1 << 20, .pool_segments = 0},
        io::posix_file_system(), clock_, registry_);
  }
  void TearDown() override {
    environments_.reset();
    appender_.reset();
    std::filesystem::remove_all(folder_);
  }
  void start() {
    auto started =
        Environments::start({.state_path = folder_ + "/state", .catch_up_deadline = deadline_},
                            *log_, io::posix_file_system(), clock_, registry_);
    ASSERT_TRUE(started);
    environments_ = *std::move(started);
  }
  void remove_log() {
    appender_.reset();
    std::filesystem::remove_all(folder_ + "/log");
  }
  // Until it succeeds: for what the follower has to notice by itself.
  void wait_for_end() {
    while (!read_to_end()) std::this_thread::yield();
  }
  void append(const std::vector<std::string>& records) {
    if (appender_ == nullptr) appender_ = *log_->open_appender("config", {.partitions = 1});
    log::Batch batch;
    for (const std::string& each : records) batch.add({each});
    ASSERT_TRUE(appender_->append_and_wait(0, std::move(batch)));
  }
  Result<void> read_to_end() {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Result<void>> answer;
    environments_->read_to_end([&](Result<void> result) {
      const std::lock_guard lock(mutex);
      answer = std::move(result);
      changed.notify_one();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return answer.has_value(); });
    return *std::move(answer);
  }

  std::string folder_;
  std::chrono::milliseconds deadline_{60'000};
  SystemClock clock_;
  FakeClock fake_clock_{1'000'000};
  telemetry::Registry registry_;
  std::unique_ptr<log::Log> log_;
  std::unique_ptr<log::Appender> appender_;
  std::unique_ptr<Environments> environments_;
};

TEST_F(EnvironmentsTest, WhatWasAppendedBeforeTheCallIsKnownAfterReadingToTheEnd) {
  append({change(environment_item(1)), change(flag(2, "a", 3))});
  start();
  ASSERT_TRUE(read_to_end());
  const auto id = environments_->find(CredentialKind::SdkKey, "sdk-7");
  ASSERT_TRUE(id);
  EXPECT_EQ(environments_->find(CredentialKind::MobileKey, "sdk-7"), std::nullopt);
  EXPECT_EQ(environments_->find(CredentialKind::ClientSideId, "client-7"), id);
  const auto flags = environments_->flag_set(*id);
  EXPECT_EQ(*flags->all_json, R"({"flags":{"a":{"key":"a","version":3}},"segments":{}})");
  EXPECT_EQ(flags->revision, 2u);
  append({change(deleted(flag(3, "a", 4)))});
  ASSERT_TRUE(read_to_end());
  EXPECT_EQ(*environments_->flag_set(*id)->all_json, R"({"flags":{},"segments":{}})");
  const auto changes = environments_->changes_since(*id, {flags->generation, 2});
  ASSERT_TRUE(changes);
  ASSERT_EQ(changes->size(), 1u);
  EXPECT_EQ((*changes)[0]->item.json, nullptr);
  EXPECT_EQ((*changes)[0]->item.version, 4);
}

TEST_F(EnvironmentsTest, ASubscriberIsWokenByAChange) {
  append({change(environment_item(1))});
  start();
  ASSERT_TRUE(read_to_end());
  std::atomic<int> woken{0};
  const auto subscription = environments_->subscribe(EnvironmentId{7}, [&] { ++woken; });
  append({change(flag(2, "a", 1))});
  ASSERT_TRUE(read_to_end());
  EXPECT_EQ(woken.load(), 1);
}

proto::Item with_key(std::uint64_t revision, const std::string& key, MicrosUtc expires) {
  proto::Item item = environment_item(revision);
  auto document = *decode_environment(item.document());
  auto* credential = document.add_credentials();
  credential->set_kind(proto::Credential::MOBILE_KEY);
  credential->set_sha256(sha256(key));
  credential->set_expires_us(expires);
  item.set_version(static_cast<std::int64_t>(revision));
  item.set_document(*encode_environment(document));
  return item;
}

TEST_F(EnvironmentsTest, AnExpiringKeyOpensItsEnvironmentUntilThen) {
  proto::Item other = environment_item(1);
  other.set_environment_id(8);
  append({change(with_key(1, "mob-7", 2'000'000)), change(other)});
  environments_ =
      *Environments::start({.state_path = folder_ + "/state", .catch_up_deadline = deadline_},
                           *log_, io::posix_file_system(), fake_clock_, registry_);
  ASSERT_TRUE(read_to_end());
  const Credential key = Credential::of(CredentialKind::MobileKey, "mob-7");
  EXPECT_EQ(environments_->find(key), EnvironmentId{7});
  EXPECT_FALSE(environments_->has_expired(key));
  std::atomic<int> woken{0};
  std::atomic<int> others_woken{0};
  const auto subscription = environments_->subscribe(EnvironmentId{7}, [&] {
    ++woken;
    woken.notify_one();
  });
  const auto others = environments_->subscribe(EnvironmentId{8}, [&] { ++others_woken; });
  fake_clock_.set(1'999'999);
  EXPECT_EQ(environments_->find(key), EnvironmentId{7});
  EXPECT_TRUE(environments_->find(CredentialKind::SdkKey, "sdk-7")) << "does not expire";
  EXPECT_NE(registry_.scrape().find("flagstream_environment_expiring_key_uses_total 2\n"),
            std::string::npos);
  fake_clock_.set(2'000'000);
  woken.wait(0);
  EXPECT_EQ(environments_->find(key), std::nullopt);
  EXPECT_TRUE(environments_->has_expired(key));
  EXPECT_FALSE(environments_->has_expired(Credential::of(CredentialKind::SdkKey, "mob-7")));
  EXPECT_FALSE(environments_->has_expired(Credential::of(CredentialKind::MobileKey, "x")));
  append({change(flag(2, "a", 1))});
  ASSERT_TRUE(read_to_end());
  EXPECT_EQ(woken.load(), 2) << "once for the expiry, once for the change";
  EXPECT_EQ(others_woken.load(), 0);
}

TEST_F(EnvironmentsTest, AChangeIsShownAfterTheMembershipsThatItNames) {
  append({change(environment_item(1))});
  std::vector<std::pair<std::uint64_t, std::uint64_t>> asked;  // through, and the revision shown
  environments_ = *Environments::start(
      {.state_path = folder_ + "/state",
       .catch_up_deadline = deadline_,
       .read_memberships =
           [&](std::uint64_t through) {
             asked.emplace_back(through, environments_->flag_set(EnvironmentId{7})->revision);
           }},
      *log_, io::posix_file_system(), clock_, registry_);
  ASSERT_TRUE(read_to_end());
  append({change(flag(2, "a", 1))});
  ASSERT_TRUE(read_to_end());
  EXPECT_TRUE(asked.empty()) << "names none";
  proto::Item item = flag(3, "b", 1);
  item.set_memberships(5);
  append({change(item)});
  ASSERT_TRUE(read_to_end());
  using Asked = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
  EXPECT_EQ(asked, (Asked{{5, 2}}));
  EXPECT_EQ(environments_->flag_set(EnvironmentId{7})->revision, 3u);
  environments_.reset();
}

TEST_F(EnvironmentsTest, TheVersionOfCredentialsRisesWithThemAlone) {
  append({change(environment_item(1))});
  start();
  ASSERT_TRUE(read_to_end());
  const auto version = environments_->credentials_version();
  append({change(flag(2, "a", 1))});
  ASSERT_TRUE(read_to_end());
  EXPECT_EQ(environments_->credentials_version(), version);
  append({change(with_key(3, "mob-7", 0))});
  ASSERT_TRUE(read_to_end());
  EXPECT_GT(environments_->credentials_version(), version);
}

TEST_F(EnvironmentsTest, WithoutAnythingElseTheLastKnownStateIsServed) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  ASSERT_TRUE(read_to_end());
  environments_.reset();
  remove_log();
  deadline_ = std::chrono::milliseconds(20);
  start();
  EXPECT_TRUE(environments_->has_configuration());
  EXPECT_TRUE(environments_->find(CredentialKind::SdkKey, "sdk-7"));
  EXPECT_EQ(read_to_end().error().kind, ErrorKind::Unavailable) << "the end cannot be known";
}

TEST_F(EnvironmentsTest, ADamagedStateIsReadAnewFromTheLog) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  std::filesystem::create_directories(folder_);
  ASSERT_TRUE(io::posix_file_system().replace_file(folder_ + "/state", "no state"));
  start();
  ASSERT_TRUE(read_to_end());
  EXPECT_TRUE(environments_->find(CredentialKind::SdkKey, "sdk-7"));
}

TEST_F(EnvironmentsTest, AnotherLogReplacesEverythingThatWasKnown) {
  append({change(environment_item(1)), change(flag(2, "a", 1)), change(flag(3, "a", 2))});
  start();
  ASSERT_TRUE(read_to_end());
  const auto before = environments_->flag_set(EnvironmentId{7});
  std::atomic<int> woken{0};
  const auto subscription = environments_->subscribe(EnvironmentId{7}, [&] { ++woken; });
  remove_log();
  append({change(environment_item(1)), change(flag(2, "z", 1))});
  wait_for_end();
  const auto after = environments_->flag_set(EnvironmentId{7});
  EXPECT_EQ(*after->all_json, R"({"flags":{"z":{"key":"z","version":1}},"segments":{}})");
  EXPECT_NE(after->fingerprint, before->fingerprint);
  EXPECT_EQ(woken.load(), 1);
  EXPECT_EQ(environments_->changes_since(EnvironmentId{7}, {before->generation, 3}), std::nullopt)
      << "a stream at a revision of the old log gets the whole flag set";
  append({change(flag(3, "z", 2)), change(flag(4, "z", 3))});
  ASSERT_TRUE(read_to_end());
  EXPECT_EQ(environments_->changes_since(EnvironmentId{7}, {before->generation, 3}), std::nullopt);
  EXPECT_EQ(environments_->changes_since(EnvironmentId{7}, {after->generation, 2})->size(), 2u);
}

TEST_F(EnvironmentsTest, AnEmptyLogIsNoReasonToForget) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  ASSERT_TRUE(read_to_end());
  remove_log();
  appender_ = *log_->open_appender("config", {.partitions = 1});
  const auto read = read_to_end();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().kind, ErrorKind::Unavailable);
  EXPECT_TRUE(environments_->find(CredentialKind::SdkKey, "sdk-7"));
  EXPECT_EQ(environments_->flag_set(EnvironmentId{7})->revision, 2u);
}

TEST_F(EnvironmentsTest, AStateBeyondTheEndOfItsLogDoesNotCount) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  ASSERT_TRUE(save_state(io::posix_file_system(), folder_ + "/state",
                         {.log_id = log_->info("config")->log_id,
                          .next_offset = 100,
                          .current_as_of = 1,
                          .records = copy(1, 50, {environment_item(1), flag(1, "old", 9)}, true)}));
  start();
  wait_for_end();
  EXPECT_EQ(environments_->flag_set(EnvironmentId{7})->revision, 2u);
  EXPECT_EQ(*environments_->flag_set(EnvironmentId{7})->all_json,
            R"({"flags":{"a":{"key":"a","version":1}},"segments":{}})");
}

TEST_F(EnvironmentsTest, WithoutAnyEnvironmentThereIsNoConfiguration) {
  append({std::string("\x63\x01", 2)});
  start();
  EXPECT_FALSE(read_to_end()) << "nothing has been loaded, so nothing can be known to be unknown";
  EXPECT_FALSE(environments_->has_configuration());
  append({change(environment_item(1))});
  wait_for_end();
  EXPECT_TRUE(environments_->has_configuration());
}

TEST_F(EnvironmentsTest, WhileARevisionIsMissingTheEndCountsAsNotRead) {
  append({change(environment_item(1)), change(flag(3, "b", 1))});
  start();
  while (!environments_->has_configuration()) std::this_thread::yield();
  EXPECT_EQ(read_to_end().error().kind, ErrorKind::Unavailable);
  EXPECT_TRUE(environments_->find(CredentialKind::SdkKey, "sdk-7"));
  append({change(flag(2, "a", 1))});
  wait_for_end();
  EXPECT_EQ(environments_->flag_set(EnvironmentId{7})->revision, 3u);
}

TEST_F(EnvironmentsTest, WhatWaitsBehindAGapSurvivesARestart) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  ASSERT_TRUE(read_to_end());
  append({change(flag(4, "c", 1))});
  while (read_to_end()) std::this_thread::yield();
  proto::Item other = environment_item(1);
  other.set_environment_id(8);
  append({change(other)});
  while (environments_->flag_set(EnvironmentId{8}) == nullptr) std::this_thread::yield();
  environments_.reset();
  append({change(flag(3, "b", 1))});
  start();
  ASSERT_TRUE(read_to_end());
  EXPECT_EQ(environments_->flag_set(EnvironmentId{7})->revision, 4u);
}

TEST_F(EnvironmentsTest, ACopyThatEndsAfterARestartCounts) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  auto records = copy(10, 9, {environment_item(1), flag(1, "z", 1)}, true);
  const std::string end = records.back();
  records.pop_back();
  append(records);
  start();
  ASSERT_TRUE(read_to_end());
  environments_.reset();
  append({end});
  start();
  ASSERT_TRUE(read_to_end());
  EXPECT_EQ(environments_->flag_set(EnvironmentId{7})->revision, 9u);
}

TEST_F(EnvironmentsTest, AnOutageCostsOneWaitAndNotOneForEachRequest) {
  deadline_ = std::chrono::milliseconds(20);
  start();
  EXPECT_FALSE(read_to_end());
  bool is_answered = false;
  environments_->read_to_end([&](Result<void> result) {
    EXPECT_EQ(result.error().kind, ErrorKind::Unavailable);
    is_answered = true;
  });
  EXPECT_TRUE(is_answered) << "at once";
  append({change(environment_item(1))});
  wait_for_end();
}

TEST_F(EnvironmentsTest, WhoeverHasAChangeFindsNoOlderFlagSet) {
  append({change(environment_item(1))});
  start();
  ASSERT_TRUE(read_to_end());
  constexpr std::uint64_t kLast = 200;
  const SeenRevision begin{environments_->flag_set(EnvironmentId{7})->generation, 1};
  std::thread reader([&] {
    for (std::uint64_t seen = 1; seen < kLast;) {
      const auto changes = environments_->changes_since(EnvironmentId{7}, begin);
      const auto flags = environments_->flag_set(EnvironmentId{7});
      if (!changes->empty()) seen = changes->back()->revision;
      ASSERT_GE(flags->revision, seen);
    }
  });
  for (std::uint64_t revision = 2; revision <= kLast; ++revision)
    append({change(flag(revision, "a", static_cast<std::int64_t>(revision)))});
  reader.join();
}

TEST_F(EnvironmentsTest, TheAgeGoesOnAcrossARestart) {
  append({change(environment_item(1))});
  start();
  ASSERT_TRUE(read_to_end());
  EXPECT_LT(environments_->age(), 10 * kMicrosPerSecond);
  environments_.reset();
  auto state = *load_state(io::posix_file_system(), folder_ + "/state");
  EXPECT_GT(state.current_as_of, 0);
  state.current_as_of -= kMicrosPerHour;
  ASSERT_TRUE(save_state(io::posix_file_system(), folder_ + "/state", state));
  remove_log();
  start();
  EXPECT_GE(environments_->age(), kMicrosPerHour);
}

TEST_F(EnvironmentsTest, WhatIsShownIsOnDiskAlready) {
  append({change(environment_item(1))});
  start();
  ASSERT_TRUE(read_to_end());
  for (std::uint64_t revision = 2; revision < 20; ++revision) {
    append({change(flag(revision, "a", static_cast<std::int64_t>(revision)))});
    ASSERT_TRUE(read_to_end());
    const auto state = load_state(io::posix_file_system(), folder_ + "/state");
    ASSERT_TRUE(state);
    ConfigFold fold;
    for (const std::string& record : state->records) ASSERT_TRUE(fold.take(record));
    ASSERT_EQ(revision_in(fold), revision);
    ASSERT_EQ(environments_->flag_set(EnvironmentId{7})->revision, revision);
  }
}

TEST_F(EnvironmentsTest, WhatADeletedEnvironmentHadIsGone) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  ASSERT_TRUE(read_to_end());
  append({change(deleted(environment_item(3)))});
  ASSERT_TRUE(read_to_end());
  EXPECT_EQ(environments_->flag_set(EnvironmentId{7}), nullptr);
  EXPECT_EQ(environments_->find(CredentialKind::SdkKey, "sdk-7"), std::nullopt);
  EXPECT_EQ(environments_->changes_since(EnvironmentId{7}, {1, 2}), std::nullopt);
  EXPECT_TRUE(environments_->has_configuration());
}

}  // namespace
}  // namespace flagstream::environment
