#include "http/trusted_proxies.h"

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "http/server.h"
#include "http/test_client.h"

namespace flagstream::http {
namespace {

TrustedProxies trusting(std::string_view text) {
  auto parsed = TrustedProxies::parse(text);
  if (!parsed) ADD_FAILURE() << parsed.error().what;
  return *std::move(parsed);
}

TEST(TrustedProxies, NetworksOfBothFamiliesAreRead) {
  const TrustedProxies proxies = trusting("10.1.0.0/16, 192.0.2.7 2001:db8::/33,::1");
  for (const char* in :
       {"10.1.0.0", "10.1.255.255", "192.0.2.7", "::ffff:192.0.2.7", "2001:db8:7fff::1", "::1"}) {
    EXPECT_TRUE(proxies.contains(in)) << in;
  }
  for (const char* out : {"10.2.0.0", "10.0.255.255", "192.0.2.6", "2001:db8:8000::1", "::2",
                          "127.0.0.1", "", "unknown"}) {
    EXPECT_FALSE(proxies.contains(out)) << out;
  }
}

TEST(TrustedProxies, NobodyIsTrustedByDefaultAndEverybodyCanBe) {
  EXPECT_FALSE(TrustedProxies().contains("127.0.0.1"));
  EXPECT_FALSE(trusting("").contains("127.0.0.1"));
  EXPECT_TRUE(trusting("0.0.0.0/0").contains("203.0.113.9"));
  EXPECT_FALSE(trusting("0.0.0.0/0").contains("2001:db8::1"));
  EXPECT_TRUE(trusting("::/0").contains("2001:db8::1"));
}

TEST(TrustedProxies, WhatIsNoNetworkIsNamed) {
  for (const char* bad :
       {"10.0.0.0/33", "10.0.0.1/8", "10.0.0/8", "proxy.test", "10.0.0.0/", "10.0.0.0/x", "::1/129",
        "2001:db8::1/32", "10.0.0.0/8/8", "fe80::1%lo", "/8", "10.0.0.1:80"}) {
    const auto parsed = TrustedProxies::parse(std::string("127.0.0.1, ") + bad);
    ASSERT_FALSE(parsed.has_value()) << bad;
    EXPECT_EQ(parsed.error().kind, ErrorKind::InvalidArgument);
    EXPECT_TRUE(parsed.error().what.starts_with("'" + std::string(bad) + "' "))
        << parsed.error().what;
  }
  std::string many;
  for (int i = 0; i < 65; ++i) many += "10.0.0." + std::to_string(i) + ",";
  EXPECT_FALSE(TrustedProxies::parse(many).has_value());
}

TEST(TrustedProxies, TheClientIsTheLastAddressThatIsNoTrustedProxy) {
  const TrustedProxies proxies = trusting("10.0.0.0/8");
  const auto client = [&](std::vector<std::string> fields) {
    Headers headers;
    headers.add("Host", "x");
    for (std::string& each : fields) headers.add("x-forwarded-FOR", std::move(each));
    return proxies.client_of("10.0.0.1", headers);
  };
  EXPECT_EQ(client({}), "10.0.0.1");
  EXPECT_EQ(client({"203.0.113.9"}), "203.0.113.9");
  EXPECT_EQ(client({"198.51.100.1, 203.0.113.9"}), "203.0.113.9")
      << "the first is the client's own";
  EXPECT_EQ(client({"198.51.100.1,203.0.113.9 ,10.0.0.2"}), "203.0.113.9");
  EXPECT_EQ(client({"198.51.100.1", "203.0.113.9", "10.0.0.2, 10.0.0.3"}), "203.0.113.9");
  EXPECT_EQ(client({"10.0.0.9, 10.0.0.2"}), "10.0.0.9") << "all trusted: the farthest";
  EXPECT_EQ(client({"198.51.100.1, unknown, 10.0.0.2"}), "10.0.0.2");
  EXPECT_EQ(client({"198.51.100.1,, 10.0.0.2"}), "10.0.0.2");
  EXPECT_EQ(client({"203.0.113.9:4711"}), "203.0.113.9");
  EXPECT_EQ(client({"2001:DB8::1"}), "2001:db8::1");
  EXPECT_EQ(client({"[2001:db8::1]:80"}), "2001:db8::1");
  EXPECT_EQ(client({"::ffff:203.0.113.9"}), "203.0.113.9");
  EXPECT_EQ(client({"[", "]"}), "10.0.0.1");
}

class ProxiedServerTest : public testing::Test {
 protected:
  std::string answer_to(std::string_view trusted, std::string_view fields) {
    auto server = Server::start(
        {.name = "test",
         .listen = "127.0.0.1:0",
         .limits = {},
         .trusted_proxies = trusting(trusted)},
        {{"GET", "/", 0,
          [](Request& request) -> io::Task<Response> {
            co_return json_response(
                200, request.client_address + (request.is_secure ? " secure" : " plain"));
          }}},
        clock_, registry_);
    if (!server) return server.error().what;
    testing_client::Client client((*server)->address());
    client.send("GET / HTTP/1.0\r\n" + std::string(fields) + "\r\n");
    const std::string answer = client.read_all();
    return answer.substr(answer.find("\r\n\r\n") + 4);
  }

  telemetry::Registry registry_;
  SystemClock clock_;
};

TEST_F(ProxiedServerTest, OnlyATrustedProxyIsBelieved) {
  const std::string_view fields = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n";
  EXPECT_EQ(answer_to("127.0.0.0/8", fields), "203.0.113.9 secure(closed)");
  EXPECT_EQ(answer_to("127.0.0.2", fields), "127.0.0.1 plain(closed)");
  EXPECT_EQ(answer_to("", fields), "127.0.0.1 plain(closed)");
  EXPECT_EQ(answer_to("127.0.0.1", ""), "127.0.0.1 plain(closed)");
}

}  // namespace
}  // namespace flagstream::http
