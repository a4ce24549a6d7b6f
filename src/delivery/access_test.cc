#include "delivery/access.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>
#include <unistd.h>

#include "environment/test_records.h"
#include "io/await_callback.h"
#include "log/local_log.h"

namespace flagstream::delivery {
namespace {

using namespace environment::testing_records;
using environment::CredentialKind;
using environment::Environments;
namespace proto = environment::proto;

constexpr char kClient[] = "192.0.2.1";

class AccessTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "access_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    log_ = log::open_local_log(
        {.folder = folder_ + "/log", .segment_bytes = 1 << 20, .pool_segments = 0},
        io::posix_file_system(), log_clock_, registry_);
    append(environment_item(1));
    start(
        {.of_each_client = {.per_second = 1, .burst = 3}, .of_all = {.per_second = 1, .burst = 5}});
    ASSERT_TRUE(run(read_to_end()));
  }
  void TearDown() override {
    access_.reset();
    environments_.reset();
    appender_.reset();
    std::filesystem::remove_all(folder_);
  }
  void start(const AccessLimits& limits) {
    access_.reset();
    environments_ = *Environments::start({.state_path = folder_ + "/state"}, *log_,
                                         io::posix_file_system(), clock_, registry_);
    access_ = std::make_unique<Access>(*environments_, registry_, limits);
  }
  void append(const proto::Item& item) {
    if (appender_ == nullptr) appender_ = *log_->open_appender("config", {.partitions = 1});
    log::Batch batch;
    batch.add({change(item)});
    ASSERT_TRUE(appender_->append_and_wait(0, std::move(batch)));
  }
  // Another SDK key beside the first; `expires` as in a record.
  void append_key(std::uint64_t revision, const std::string& key, MicrosUtc expires = 0) {
    proto::Item item = environment_item(revision);
    auto document = *environment::decode_environment(item.document());
    auto* credential = document.add_credentials();
    credential->set_kind(proto::Credential::SDK_KEY);
    credential->set_sha256(sha256(key));
    credential->set_expires_us(expires);
    item.set_version(static_cast<std::int64_t>(revision));
    item.set_document(*environment::encode_environment(document));
    append(item);
  }

  io::Task<Result<void>> read_to_end() {
    co_return co_await io::await_callback<Result<void>>(
        [this](auto done) { environments_->read_to_end(std::move(done)); });
  }
  template <class T>
  static T run(io::Task<T> task) {
    io::net::io_context context;
    std::optional<T> answer;
    io::net::co_spawn(context, std::move(task),
                      [&](std::exception_ptr, T value) { answer = std::move(value); });
    context.run();
    return *std::move(answer);
  }
  // Conflict, which is never given, stands for a credential that opens something.
  static ErrorKind kind_of(const Result<Flags>& answer) {
    return answer ? ErrorKind::Conflict : answer.error().kind;
  }
  ErrorKind status(const std::string& key, std::string_view client = kClient,
                   CredentialKind kind = CredentialKind::SdkKey) {
    return kind_of(run(access_->flags_for(kind, key, client)));
  }
  ErrorKind status_of_events(const std::string& key, std::string_view client = kClient) {
    return kind_of(run(access_->known_flags_for(CredentialKind::SdkKey, key, client)));
  }
  void expect_sample(const std::string& sample) {
    EXPECT_NE(registry_.scrape().find("\n" + sample + "\n"), std::string::npos) << sample;
  }

  std::string folder_;
  SystemClock log_clock_;
  FakeClock clock_{1'000'000};
  telemetry::Registry registry_;
  std::unique_ptr<log::Log> log_;
  std::unique_ptr<log::Appender> appender_;
  std::unique_ptr<Environments> environments_;
  std::unique_ptr<Access> access_;
};

TEST_F(AccessTest, OverItsRateAClientIsToldToTryAgainAndNeverThatAKeyIsWrong) {
  for (const char* key : {"x1", "x2", "x3"}) EXPECT_EQ(status(key), ErrorKind::Unauthenticated);
  EXPECT_EQ(status("x4"), ErrorKind::Unavailable);
  EXPECT_EQ(status_of_events("x5"), ErrorKind::Unavailable) << "events have the same rate";
  EXPECT_EQ(status("x6", "192.0.2.2"), ErrorKind::Unauthenticated) << "another client";
  clock_.advance(kMicrosPerSecond);
  EXPECT_EQ(status("x4"), ErrorKind::Unauthenticated);
  EXPECT_EQ(status("x7"), ErrorKind::Unavailable);
  expect_sample("flagstream_delivery_unknown_lookups_total 5");
  expect_sample("flagstream_delivery_unknown_limited_total 3");
  expect_sample("flagstream_delivery_unavailable_total 3");
  expect_sample(
      R"(flagstream_delivery_unauthorized_total{credential="sdk_key",reason="unknown"} 5)");
}

TEST_F(AccessTest, AllClientsTogetherHaveARate) {
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(status("x" + std::to_string(i), "192.0.2." + std::to_string(10 + i)),
              ErrorKind::Unauthenticated);
  }
  EXPECT_EQ(status("y", "192.0.2.99"), ErrorKind::Unavailable);
}

TEST_F(AccessTest, OneNetworkOfIpv6IsOneClient) {
  for (const char* client : {"2001:db8::1", "2001:db8::2:2", "2001:db8:0:0:ffff::"})
    EXPECT_EQ(status("x", client), ErrorKind::Unauthenticated);
  EXPECT_EQ(status("y", "2001:db8::3"), ErrorKind::Unavailable);
  EXPECT_EQ(status("y", "2001:db8:0:1::3"), ErrorKind::Unauthenticated);
}

TEST_F(AccessTest, AKnownKeyNeverNoticesAFloodOfUnknownOnes) {
  for (int i = 0; i < 100; ++i) (void)status("x" + std::to_string(i));
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(status("sdk-7"), ErrorKind::Conflict);
    ASSERT_EQ(status_of_events("sdk-7"), ErrorKind::Conflict);
  }
}

TEST_F(AccessTest, OverTheRateWhatWasUnknownJustNowIsRefusedForGood) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(status("x"), ErrorKind::Unauthenticated);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(status("x"), ErrorKind::Unauthenticated) << "cached";
  EXPECT_EQ(status("x", kClient, CredentialKind::MobileKey), ErrorKind::Unavailable);
  expect_sample("flagstream_delivery_unknown_lookups_total 3");
  expect_sample("flagstream_delivery_unknown_cached_total 10");
  clock_.advance(kMicrosPerSecond - 1);
  EXPECT_EQ(status("x"), ErrorKind::Unauthenticated);
  clock_.advance(1);
  EXPECT_EQ(status("y"), ErrorKind::Unauthenticated) << "the one look-up that is free again";
  EXPECT_EQ(status("x"), ErrorKind::Unavailable) << "a second is over";
}

TEST_F(AccessTest, WhatWasUnknownIsAnOpenQuestionOnceCredentialsHaveChanged) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(status("x"), ErrorKind::Unauthenticated);
  append_key(2, "other");
  EXPECT_EQ(status("sdk-7"), ErrorKind::Conflict) << "the change has been read";
  EXPECT_EQ(status("x"), ErrorKind::Unavailable);
}

TEST_F(AccessTest, AKeyIsKnownAsSoonAsItWasAppended) {
  EXPECT_EQ(status("x"), ErrorKind::Unauthenticated);
  append_key(2, "x");
  EXPECT_EQ(status_of_events("x"), ErrorKind::Conflict);
}

TEST_F(AccessTest, ATextOfAnyKindOpensWhatItIs) {
  const auto kind_opened = [&](std::optional<std::string_view> text) {
    const auto opened = run(access_->recent_opened_by(text, kClient));
    return opened ? std::optional(opened->credential.kind) : std::nullopt;
  };
  EXPECT_EQ(kind_opened("sdk-7"), CredentialKind::SdkKey);
  EXPECT_EQ(kind_opened("client-7"), CredentialKind::ClientSideId);
  EXPECT_EQ(kind_opened("x"), std::nullopt);
  EXPECT_EQ(kind_opened(std::nullopt), std::nullopt);
  expect_sample("flagstream_delivery_unknown_lookups_total 1");
  append_key(2, "x");
  EXPECT_EQ(kind_opened("x"), CredentialKind::SdkKey) << "what is not known is looked up";
}

TEST_F(AccessTest, WhatIsRecentIsLookedUpAgainAfter20Milliseconds) {
  const auto age_after_asking = [&](std::int64_t age) {
    EXPECT_TRUE(run(read_to_end()));
    clock_.advance(age);
    EXPECT_TRUE(run(access_->recent_opened_by("sdk-7", kClient)));
    const std::int64_t by_text = environments_->age();
    EXPECT_TRUE(run(read_to_end()));
    clock_.advance(age);
    EXPECT_TRUE(run(access_->recent_flags_for(CredentialKind::SdkKey, "sdk-7", kClient)));
    EXPECT_EQ(environments_->age(), by_text);
    return by_text;
  };
  const std::int64_t recent = kMicrosPerMilli * kRecent.count();
  EXPECT_EQ(age_after_asking(recent), recent);
  EXPECT_EQ(age_after_asking(recent + 1), 0) << "it was read to the end again";
}

TEST_F(AccessTest, AnExpiredKeyIsRefusedAndCountedAsSuch) {
  append_key(2, "old", 2'000'000);
  EXPECT_EQ(status("old"), ErrorKind::Conflict);
  EXPECT_EQ(status_of_events("old"), ErrorKind::Conflict);
  clock_.set(2'000'000);
  const auto refused = run(access_->flags_for(CredentialKind::SdkKey, "old", kClient));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::Unauthenticated);
  EXPECT_EQ(refused.error().what, "the SDK key has expired");
  EXPECT_EQ(status_of_events("old"), ErrorKind::Unauthenticated);
  EXPECT_EQ(status("sdk-7"), ErrorKind::Conflict);
  expect_sample(
      R"(flagstream_delivery_unauthorized_total{credential="sdk_key",reason="expired"} 2)");
}

TEST_F(AccessTest, EachKindIsRefusedInItsWay) {
  EXPECT_EQ(kind_of(run(access_->flags_for(CredentialKind::MobileKey, std::nullopt, kClient))),
            ErrorKind::Unauthenticated);
  EXPECT_EQ(status("x", kClient, CredentialKind::ClientSideId), ErrorKind::NotFound);
  EXPECT_EQ(status("sdk-7", kClient, CredentialKind::MobileKey), ErrorKind::Unauthenticated);
  EXPECT_EQ(status("client-7", kClient, CredentialKind::ClientSideId), ErrorKind::Conflict);
  expect_sample(
      R"(flagstream_delivery_unauthorized_total{credential="mobile_key",reason="missing"} 1)");
  expect_sample(
      R"(flagstream_delivery_unauthorized_total{credential="client_side_id",reason="unknown"} 1)");
}

}  // namespace
}  // namespace flagstream::delivery
