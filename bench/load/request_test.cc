#include "request.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace flagstream::bench {
namespace {

const std::string kBody =
    R"([{"creationDate":1795407508889,"context":{"key":"u-297975"},"metricValue":9899999999999}])";

RequestHead http(bool chunked = false) {
  return {.host = "h:1", .path = "/bulk", .key = "sdk-1", .chunked = chunked};
}

TEST(RequestTemplate, HolesAreFilledInPlaceAndNothingElseChanges) {
  RequestTemplate request(http(), kBody);
  EXPECT_EQ(request.dates(), 1);
  EXPECT_EQ(request.users(), 1);
  const std::size_t size = request.bytes().size();
  request.fill(0x0123456789abcdef, 0xfedcba9876543210, 1'800'000'000'123, 702'030);
  EXPECT_EQ(request.bytes().size(), size);
  EXPECT_NE(
      request.bytes().find("X-LaunchDarkly-Payload-ID: 01234567-89ab-4def-8000-ba9876543210\r\n"),
      std::string_view::npos);
  EXPECT_TRUE(request.bytes().ends_with(
      R"([{"creationDate":1800000000123,"context":{"key":"u-000005"},"metricValue":9899999999999}])"))
      << request.bytes();
  EXPECT_NE(request.bytes().find(fmt::format("Content-Length: {}\r\n\r\n", kBody.size())),
            std::string_view::npos);
}

TEST(RequestTemplate, ChunksAreSixteenKibibytesAndEndWithAnEmptyOne) {
  const std::string body(40'000, 'x');
  const RequestTemplate request(http(true), body);
  const std::string_view bytes = request.bytes().substr(request.bytes().find("\r\n\r\n") + 4);
  const std::string expected = "4000\r\n" + body.substr(0, 16'384) + "\r\n4000\r\n" +
                               body.substr(0, 16'384) + "\r\n1c40\r\n" + body.substr(0, 7'232) +
                               "\r\n0\r\n\r\n";
  EXPECT_EQ(bytes, expected);
}

TEST(RequestTemplate, RedisAndNatsCountTheBodysBytes) {
  const RequestTemplate redis({.protocol = Protocol::kRedis, .path = "events"}, "12345");
  EXPECT_TRUE(redis.bytes().ends_with("$4\r\nbody\r\n$5\r\n12345\r\n"));
  RequestTemplate nats({.protocol = Protocol::kNats, .path = "events"}, "12345");
  nats.reply_to(17);
  EXPECT_EQ(nats.bytes(), "PUB events inbox.000017 5\r\n12345\r\n");
}

TEST(ParseAnswer, HttpAnswersOfEveryFraming) {
  const auto parse = [](std::string_view text) { return parse_answer(Protocol::kHttp, 202, text); };
  const std::string_view plain = "HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok";
  EXPECT_FALSE(parse(plain.substr(0, plain.size() - 1)));
  ASSERT_TRUE(parse(plain));
  EXPECT_TRUE(parse(plain)->is_accepted);
  EXPECT_EQ(parse(plain)->bytes, plain.size());
  const std::string_view chunked =
      "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\nConnection: "
      "close\r\n\r\n2\r\nno\r\n0\r\n\r\n";
  EXPECT_FALSE(parse(chunked.substr(0, chunked.size() - 1)));
  ASSERT_TRUE(parse(chunked));
  EXPECT_FALSE(parse(chunked)->is_accepted);
  EXPECT_TRUE(parse(chunked)->closes);
  EXPECT_EQ(parse(chunked)->bytes, chunked.size());
  EXPECT_TRUE(parse_answer(Protocol::kHttp, 204, "HTTP/1.1 204 No Content\r\n\r\n")->is_accepted);
  EXPECT_FALSE(parse("HTTP/1.1 202 Accepted\r\n"));
}

TEST(ParseAnswer, RedisSaysAnIdOrAnError) {
  const auto parse = [](std::string_view text) { return parse_answer(Protocol::kRedis, 0, text); };
  EXPECT_FALSE(parse("$15\r\n1526919030474-0"));
  EXPECT_TRUE(parse("$15\r\n1526919030474-0\r\n")->is_accepted);
  EXPECT_FALSE(parse("-OOM no\r\n")->is_accepted);
}

TEST(ParseAnswer, NatsSaysMoreThanWasAsked) {
  const auto parse = [](std::string_view text) { return parse_answer(Protocol::kNats, 0, text); };
  EXPECT_FALSE(parse("INFO {}\r\nPING\r\n"));
  const std::string_view good = "INFO {}\r\nMSG inbox 1 25\r\n{\"stream\":\"E\", \"seq\":123}\r\n";
  EXPECT_FALSE(parse(good.substr(0, good.size() - 1)));
  EXPECT_TRUE(parse(good)->is_accepted);
  EXPECT_EQ(parse(good)->bytes, good.size());
  EXPECT_FALSE(parse("MSG inbox 1 12\r\n{\"error\":{}}\r\n")->is_accepted);
  EXPECT_FALSE(parse("-ERR 'Maximum Payload Violation'\r\n")->is_accepted);
}

}  // namespace
}  // namespace flagstream::bench
