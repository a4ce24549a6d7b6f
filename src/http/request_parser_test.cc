#include "http/request_parser.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace flagstream::http {
namespace {

struct Parsed {
  int refused = 0;  // 0: a request, -1: more is needed
  RequestHead head;
  std::size_t size = 0;
};

// Fed in pieces of `step` bytes.
Parsed parse(std::string_view bytes, std::size_t step = 1 << 20) {
  HeadParser parser({64 << 10, 32 << 10, 100});
  Progress progress = Progress::NeedMore;
  for (std::size_t end = 0; progress == Progress::NeedMore && end < bytes.size();) {
    end = std::min(bytes.size(), end + step);
    progress = parser.parse(bytes.substr(0, end));
  }
  Parsed parsed;
  if (progress == Progress::NeedMore) parsed.refused = -1;
  if (progress == Progress::Refused) parsed.refused = parser.refusal().status;
  if (progress != Progress::Done) return parsed;
  parsed.size = parser.size();
  if (const auto refusal =
          read_request_head(parser.first_line(bytes), parser.take_headers(), parsed.head)) {
    parsed.refused = refusal->status;
  }
  return parsed;
}

TEST(RequestParser, ReadsARequestHoweverItIsCut) {
  const std::string bytes =
      "REPORT //a%20b/c?q=1&r HTTP/1.1\r\nHost: x\r\nX-A:  \t v w\t \r\nContent-Length: "
      "12\r\n\r\nrest";
  for (const std::size_t step : {1, 2, 3, 7, 1000}) {
    const Parsed parsed = parse(bytes, step);
    ASSERT_EQ(parsed.refused, 0) << step;
    const Request& request = parsed.head.request;
    EXPECT_EQ(request.method, "REPORT");
    EXPECT_EQ(request.target, "//a%20b/c?q=1&r");
    EXPECT_EQ(request.path, "/a b/c");
    EXPECT_EQ(parsed.head.raw_path, "/a%20b/c");
    EXPECT_EQ(request.query, "q=1&r");
    EXPECT_EQ(request.headers.find("x-a"), "v w");
    EXPECT_EQ(parsed.head.content_length, 12u);
    EXPECT_EQ(bytes.substr(parsed.size), "rest");
  }
}

TEST(RequestParser, RefusesWhatIsNotExactlyHttp) {
  const std::string line = "GET / HTTP/1.1\r\nHost: x\r\n";
  const std::vector<std::pair<std::string, int>> cases = {
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {line + "Host: x\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
      {line + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {line + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n", 400},
      {line + "Content-Length: -2\r\n\r\n", 400},
      {line + "Content-Length: +2\r\n\r\n", 400},
      {line + "Content-Length: 2, 2\r\n\r\n", 400},
      {line + "Content-Length:\r\n\r\n", 400},
      {line + "Content-Length: 99999999999999999999\r\n\r\n", 413},
      {line + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {line + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {line + "X-A: 1\r\n 2\r\n\r\n", 400},
      {line + "nonsense\r\n\r\n", 400},
      {line + "A : 1\r\n\r\n", 400},
      {line + ": 1\r\n\r\n", 400},
      {line + "A: 1\rB: 2\r\n\r\n", 400},
      {line + "A: \x01\r\n\r\n", 400},
      {line + std::string("A: \0\r\n\r\n", 8), 400},
      {line + "Expect: tea\r\n\r\n", 417},
      {"GET / HTTP/1.1\nHost: x\n\n", 400},
      {"GET /\r\n\r\n", 400},
      {"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"GET / http/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {std::string("GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n", 30), 400},
      {"GET /\xe9 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /%4 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /a/../b HTTP/1.1\r\nHost: x\r\n\r\n", 404},
      {"GET /.. HTTP/1.1\r\nHost: x\r\n\r\n", 404},
      {"GET /./a HTTP/1.1\r\nHost: x\r\n\r\n", 404},
      {"GET /a/%2e%2E/b HTTP/1.1\r\nHost: x\r\n\r\n", 404},
      {"GET /a%2f..%2fb HTTP/1.1\r\nHost: x\r\n\r\n", 404},
      {"GET / HTTP/1.a\r\nHost: x\r\n\r\n", 400},
      {"GET / HTTP/a.1\r\nHost: x\r\n\r\n", 400},
      {line + "Transfer-Encoding: \x0b"
              "chunked\r\n\r\n",
       400},
      {line + "Transfer-Encoding: chunked, chunked\r\n\r\n", 501},
      {line + "Transfer-Encoding: identity\r\n\r\n", 501},
      {line + "Content-Length: 2\r\ncontent-length: 2\r\n\r\n", 400},
      {line + "Content-Length : 2\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400},
      {"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"\x16\x03\x01\x02", 400},
      {"G@T / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"\r\n\r\n\r\n", 400},
  };
  for (const auto& [bytes, status] : cases) {
    EXPECT_EQ(parse(bytes).refused, status) << bytes;
    EXPECT_EQ(parse(bytes, 1).refused, status) << "byte by byte: " << bytes;
  }
}

TEST(RequestParser, EveryLimitHoldsExactly) {
  const auto request = [](std::size_t line_bytes, std::size_t field_bytes, int fields) {
    std::string bytes = "GET /" + std::string(line_bytes - 14, 'a') + " HTTP/1.1\r\nHost: x\r\n";
    bytes += "A: " + std::string(field_bytes - 14, 'b') + "\r\n";
    for (int i = 2; i < fields; ++i) bytes += "B:\r\n";
    return bytes + "\r\n";
  };
  EXPECT_EQ(parse(request(64 << 10, 100, 2)).refused, 0);
  EXPECT_EQ(parse(request((64 << 10) + 1, 100, 2)).refused, 414);
  EXPECT_EQ(parse(request(100, 32 << 10, 2)).refused, 0);
  EXPECT_EQ(parse(request(100, (32 << 10) + 1, 2)).refused, 431);
  EXPECT_EQ(parse(request(64 << 10, 100, 2), 1).refused, 0);
  EXPECT_EQ(parse(request(100, 32 << 10, 2), 1).refused, 0);
  EXPECT_EQ(parse(request(100, 100, 100)).refused, 0);
  EXPECT_EQ(parse(request(100, 100, 101)).refused, 431);
  // Without waiting for an end that never comes.
  EXPECT_EQ(parse("GET /" + std::string(1 << 20, 'a'), 4096).refused, 414);
  EXPECT_EQ(parse("GET / HTTP/1.1\r\nA: " + std::string(1 << 20, 'a'), 4096).refused, 431);
}

TEST(RequestParser, KeepAliveFollowsVersionAndConnection) {
  EXPECT_TRUE(parse("GET / HTTP/1.1\r\nHost: x\r\n\r\n").head.keeps_alive);
  EXPECT_FALSE(parse("GET / HTTP/1.1\r\nHost: x\r\nConnection: a, Close\r\n\r\n").head.keeps_alive);
  EXPECT_FALSE(parse("GET / HTTP/1.0\r\n\r\n").head.keeps_alive);
  EXPECT_TRUE(parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").head.keeps_alive);
}

TEST(RequestParser, AbsoluteTargetsAreServedByTheirPath) {
  const Parsed parsed = parse("GET http://h:1/a?b HTTP/1.1\r\nHost: h:1\r\n\r\n");
  EXPECT_EQ(parsed.head.request.path, "/a");
  EXPECT_EQ(parsed.head.request.query, "b");
  EXPECT_EQ(parse("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n").head.request.path, "/");
}

struct Unchunked {
  int refused = 0;  // -1: more is needed
  std::string body;
  std::string rest;
};

Unchunked unchunk(std::string_view bytes, std::size_t step, std::size_t limit = 100) {
  ChunkedDecoder decoder(limit);
  Unchunked result{-1, "", ""};
  while (!bytes.empty()) {
    std::size_t consumed = 0;
    const Progress progress = decoder.decode(bytes.substr(0, step), consumed, result.body);
    bytes.remove_prefix(consumed);
    if (progress == Progress::NeedMore) continue;
    result.refused = progress == Progress::Refused ? decoder.refusal().status : 0;
    result.rest = bytes;
    break;
  }
  return result;
}

TEST(ChunkedDecoder, UndoesTheCodingHoweverItIsCut) {
  for (const std::size_t step : {1, 2, 5, 1000}) {
    const Unchunked result =
        unchunk("5;a=\"b\"\r\nhello\r\n00a\r\n0123456789\r\n0\r\nT: 1\r\n\r\nNEXT", step);
    EXPECT_EQ(result.refused, 0);
    EXPECT_EQ(result.body, "hello0123456789");
    EXPECT_EQ(result.rest, "NEXT");
  }
}

TEST(RequestParser, DotsInsideASegmentAreNothingSpecial) {
  EXPECT_EQ(parse("GET /a..b/...,/.c HTTP/1.1\r\nHost: x\r\n\r\n").refused, 0);
  EXPECT_EQ(parse("GET /a?x=/../y HTTP/1.1\r\nHost: x\r\n\r\n").refused, 0);
}

TEST(ChunkedDecoder, BlanksMayStandBeforeAnExtension) {
  EXPECT_EQ(unchunk("1 ;x\r\na\r\n0 \r\n\r\n", 3).body, "a");
}

TEST(ChunkedDecoder, RefusesWhatIsDamagedOrTooLarge) {
  const std::vector<std::pair<std::string, int>> cases = {
      {"zz\r\n", 400},
      {" 1\r\n", 400},
      {"\t1\r\n", 400},
      {"1 1\r\n", 400},
      {"1\r;x\r\n", 400},
      {"1;x\ra\r\n", 400},
      {"1;x\na\r\n", 400},
      {"\r\n", 400},
      {"-1\r\n", 400},
      {"0x1\r\n", 400},
      {"1\na", 400},
      {"1\r\nab\r\n", 400},
      {"1\r\na\n0\r\n\r\n", 400},
      {"1;" + std::string(300, 'x') + "\r\na\r\n", 400},
      {"0\r\n" + std::string(9'000, 'x'), 400},
      {"65\r\n", 413},
      {"ffffffff\r\n", 413},
      {"fffffffffffffffff\r\n", 413},
  };
  for (const auto& [bytes, status] : cases) {
    EXPECT_EQ(unchunk(bytes, 1'000).refused, status) << bytes;
    EXPECT_EQ(unchunk(bytes, 1).refused, status) << bytes;
  }
  EXPECT_EQ(unchunk("64\r\n" + std::string(100, 'x') + "\r\n0\r\n\r\n", 9).refused, 0);
}

TEST(QueryValue, IsDecodedAndTheFirstOfItsName) {
  Request request;
  request.query = "a=1%202+3&b&a=4&%63=5&d=%zz";
  EXPECT_EQ(request.query_value("a"), "1 2 3");
  EXPECT_EQ(request.query_value("b"), "");
  EXPECT_EQ(request.query_value("c"), "5");
  EXPECT_EQ(request.query_value("d"), std::nullopt);
  EXPECT_EQ(request.query_value("e"), std::nullopt);
}

TEST(ErrorResponse, GivesCodeMessageAndRetryAfter) {
  const Response response = error_response(Error(ErrorKind::ResourceExhausted, "say \"no\"\n"));
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.headers.find("retry-after"), "1");
  EXPECT_EQ(response.body, R"({"code":"rate_limited","message":"say \"no\"\n"})");
}

}  // namespace
}  // namespace flagstream::http
