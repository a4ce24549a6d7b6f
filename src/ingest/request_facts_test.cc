#include "ingest/request_facts.h"

#include <gtest/gtest.h>

namespace flagstream::ingest {
namespace {

http::Request request_with(std::initializer_list<http::Header> headers) {
  http::Request request;
  for (const auto& header : headers) request.headers.add(header.name, header.value);
  return request;
}

events::proto::PayloadHeader facts_of(const http::Request& request) {
  events::proto::PayloadHeader header;
  read_request_facts(request, header);
  return header;
}

TEST(RequestFacts, TakesWhatTheNodeSdkSends) {
  const auto facts = facts_of(
      request_with({{"user-agent", "NodeJSClient/9.13.7"},
                    {"x-launchdarkly-wrapper", "wrap/9"},
                    {"x-launchdarkly-tags", "application-id/my-app application-version/1.2.3"},
                    {"x-launchdarkly-instance-id", "5f30811a-fee8-47d7-9170-a927d9998c3e"},
                    {"x-launchdarkly-payload-id", "270025a2-c710-4e80-9c14-bf8d18248706"},
                    {"x-launchDarkly-event-schema", "4"}}));
  EXPECT_EQ(facts.user_agent(), "NodeJSClient/9.13.7");
  EXPECT_EQ(facts.wrapper(), "wrap/9");
  EXPECT_EQ(facts.tags(), "application-id/my-app application-version/1.2.3");
  EXPECT_EQ(facts.instance_id(), "5f30811a-fee8-47d7-9170-a927d9998c3e");
  EXPECT_EQ(facts.payload_id(), "270025a2-c710-4e80-9c14-bf8d18248706");
  EXPECT_EQ(facts.schema(), 4u);
  EXPECT_FALSE(facts.unsummarized());
}

TEST(RequestFacts, NothingIsRequired) {
  const auto facts = facts_of(request_with({}));
  EXPECT_EQ(facts.schema(), 1u);
  EXPECT_EQ(facts.payload_id(), "");
  EXPECT_EQ(facts.user_agent(), "");
}

TEST(RequestFacts, ABrowserSdksOwnNameWins) {
  const auto facts = facts_of(request_with(
      {{"User-Agent", "Mozilla/5.0"}, {"X-LaunchDarkly-User-Agent", "JSClient/4.10.3"}}));
  EXPECT_EQ(facts.user_agent(), "JSClient/4.10.3");
}

TEST(RequestFacts, UnsummarizedIsJudgedByPresence) {
  EXPECT_TRUE(facts_of(request_with({{"X-LaunchDarkly-Unsummarized", ""}})).unsummarized());
}

TEST(RequestFacts, ASchemaThatIsNoSmallNumberCountsAsOne) {
  for (const char* schema : {"", "x", "-1", "0", "4.0", "1001", "99999999999999999999"}) {
    EXPECT_EQ(facts_of(request_with({{"X-LaunchDarkly-Event-Schema", schema}})).schema(), 1u)
        << schema;
  }
}

TEST(RequestFacts, TextsAreMadePrintableAndCut) {
  const auto facts = facts_of(request_with({{"User-Agent",
                                             "a\xff\x01"
                                             "b"},
                                            {"X-LaunchDarkly-Tags", std::string(5'000, 't')}}));
  EXPECT_EQ(facts.user_agent(), "a??b");
  EXPECT_EQ(facts.tags().size(), 512u);
}

TEST(RequestFacts, AnOddPayloadIdStandsInByItsHash) {
  // SHA-256 of "é" in Latin-1, from coreutils.
  EXPECT_EQ(facts_of(request_with({{"X-LaunchDarkly-Payload-ID", "\xe9"}})).payload_id(),
            "sha256:de2e331d891ae267a7009cb45b4e8830f170e0c937288ea2731a1941c7a53b0d");
  const auto long_id =
      facts_of(request_with({{"X-LaunchDarkly-Payload-ID", std::string(129, 'p')}})).payload_id();
  EXPECT_EQ(long_id.size(), 71u);
}

TEST(Network, IsCutTo24BitsOr48) {
  EXPECT_EQ(network_of("192.0.2.77"), "192.0.2.0/24");
  EXPECT_EQ(network_of("2001:db8:1:2:3:4:5:6"), "2001:db8:1::/48");
  EXPECT_EQ(network_of("::ffff:192.0.2.77"), "192.0.2.0/24");
  EXPECT_EQ(network_of("::1"), "::/48");
  EXPECT_EQ(network_of(""), "");
  EXPECT_EQ(network_of("no address"), "");
}

TEST(ContentEncoding, GzipAndIdentityAreTaken) {
  const auto encoding = [](const char* value) {
    return content_encoding_of(request_with({{"Content-Encoding", value}}).headers);
  };
  EXPECT_EQ(content_encoding_of(http::Headers()), ContentEncoding::Identity);
  EXPECT_EQ(encoding("identity"), ContentEncoding::Identity);
  EXPECT_EQ(encoding("gzip"), ContentEncoding::Gzip);
  EXPECT_EQ(encoding(" GZIP "), ContentEncoding::Gzip);
  EXPECT_EQ(encoding("x-gzip"), ContentEncoding::Gzip);
  EXPECT_EQ(encoding("identity, gzip"), ContentEncoding::Gzip);
  EXPECT_EQ(encoding(" , "), ContentEncoding::Identity);
  EXPECT_FALSE(content_encoding_of(
      request_with({{"Content-Encoding", "gzip"}, {"content-encoding", "gzip"}}).headers));
  for (const char* other : {"br", "deflate", "zstd", "gzip, gzip", "gzip,br", "gzipx"})
    EXPECT_FALSE(encoding(other)) << other;
}

}  // namespace
}  // namespace flagstream::ingest
