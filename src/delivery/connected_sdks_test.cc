#include "delivery/connected_sdks.h"

#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace flagstream::delivery {
namespace {

using environment::CredentialKind;

constexpr EnvironmentId kHere{7};

http::Request request_of(const std::string& instance, const std::string& agent = "GoClient/7.1") {
  http::Request request;
  request.client_address = "127.0.0.1";
  if (!instance.empty()) request.headers.add("X-LaunchDarkly-Instance-Id", instance);
  request.headers.add("User-Agent", agent);
  return request;
}

class ConnectedSdksTest : public testing::Test {
 protected:
  FakeClock clock_{1'700'000'000 * kMicrosPerSecond};
  telemetry::Registry registry_;
  ConnectedSdks sdks_{clock_, registry_};
};

TEST_F(ConnectedSdksTest, SaysWhatInstancesSayOfThemselves) {
  http::Request request = request_of("", "Mozilla/5.0 (X11)");
  request.headers.add("X-LaunchDarkly-User-Agent", "JSClient/4.1\xff");
  request.headers.add("X-LaunchDarkly-Wrapper", "react/3");
  request.headers.add("X-LaunchDarkly-Tags", "application-id/shop application-version/v1.2");
  const auto connected = sdks_.stream(kHere, CredentialKind::ClientSideId, request);
  EXPECT_EQ(
      sdks_.list(kHere),
      R"({"items":[{"name":"JSClient","version":"4.1?","wrapper":"react/3","application":{"id":"shop","version":"v1.2"},"credential":"clientSideId","instances":1,"streaming":1,"lastSeen":1700000000000}],"instances":1,"uncounted":0})");
  EXPECT_EQ(sdks_.list(EnvironmentId{8}), R"({"items":[],"instances":0,"uncounted":0})");
}

TEST_F(ConnectedSdksTest, AnInstanceCountsOnceHoweverManyStreamsItHas) {
  std::optional first(sdks_.stream(kHere, CredentialKind::SdkKey, request_of("a")));
  const auto second = sdks_.stream(kHere, CredentialKind::SdkKey, request_of("a"));
  const auto other = sdks_.stream(kHere, CredentialKind::SdkKey, request_of("b"));
  sdks_.poll(kHere, CredentialKind::SdkKey, request_of("b"));
  EXPECT_NE(sdks_.list(kHere).find(R"("instances":2,"streaming":2)"), std::string::npos);
  first.reset();
  EXPECT_NE(sdks_.list(kHere).find(R"("instances":2,"streaming":2)"), std::string::npos);
}

TEST_F(ConnectedSdksTest, AStreamThatEndsIsGoneAndAPollAfterAWhile) {
  {
    const auto ended = sdks_.stream(kHere, CredentialKind::SdkKey, request_of("a"));
  }
  EXPECT_NE(sdks_.list(kHere).find(R"("instances":0)"), std::string::npos);
  sdks_.poll(kHere, CredentialKind::SdkKey, request_of("b"));
  clock_.advance(ConnectedSdks::kPollWindow - 1);
  EXPECT_NE(sdks_.list(kHere).find(R"("instances":1,"streaming":0)"), std::string::npos);
  clock_.advance(1);
  EXPECT_NE(sdks_.list(kHere).find(R"("instances":0)"), std::string::npos);
}

TEST_F(ConnectedSdksTest, BeyondTheLimitStreamsAreOnlyCounted) {
  std::vector<ConnectedSdks::Connected> all;
  for (std::size_t i = 0; i < ConnectedSdks::kInstancesMax + 2; ++i)
    all.push_back(sdks_.stream(kHere, CredentialKind::SdkKey, request_of(std::to_string(i))));
  EXPECT_TRUE(sdks_.list(kHere).ends_with(R"("instances":20000,"uncounted":2})"));
  all.clear();
  EXPECT_EQ(sdks_.list(kHere), R"({"items":[],"instances":0,"uncounted":0})");
}

TEST_F(ConnectedSdksTest, PollsThatAreOverMakeRoom) {
  for (std::size_t i = 0; i < ConnectedSdks::kInstancesMax; ++i)
    sdks_.poll(kHere, CredentialKind::SdkKey, request_of(std::to_string(i)));
  sdks_.poll(kHere, CredentialKind::SdkKey, request_of("new"));
  EXPECT_TRUE(sdks_.list(kHere).ends_with(R"("instances":20000,"uncounted":0})"));
  clock_.advance(ConnectedSdks::kPollWindow);
  sdks_.poll(kHere, CredentialKind::SdkKey, request_of("new"));
  EXPECT_TRUE(sdks_.list(kHere).ends_with(R"("instances":1,"uncounted":0})"));
}

}  // namespace
}  // namespace flagstream::delivery
