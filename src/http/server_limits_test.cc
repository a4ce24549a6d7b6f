#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "http/address_counts.h"
#include "http/test_server.h"

namespace flagstream::http {
namespace {

using std::chrono::milliseconds;
using testing_client::Client;

class ServerLimitsTest : public ServerTest {};

TEST_F(ServerLimitsTest, ABodyAtTheLimitPassesAndOneByteMoreIs413EvenWhileTheClientStillSends) {
  start({echo("POST", "/a", 8 << 20)});
  const std::string head = "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ";
  const std::string body(8 << 20, 'b');
  EXPECT_TRUE(exchange(head + std::to_string(body.size()) + "\r\n\r\n" + body)
                  .starts_with("HTTP/1.1 200 OK"));
  EXPECT_TRUE(exchange(head + std::to_string(body.size() + 1) + "\r\n\r\n" + body + "b")
                  .starts_with("HTTP/1.1 413 "));
}

TEST_F(ServerLimitsTest, SlowHeadersAndSlowBodiesAre408) {
  Limits limits;
  limits.header_deadline = limits.body_deadline = milliseconds(40);
  start({echo("POST", "/a")}, limits);
  EXPECT_TRUE(exchange("POST /a HTTP/1.1\r\nHost:").starts_with("HTTP/1.1 408 "));
  EXPECT_TRUE(exchange("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
                  .starts_with("HTTP/1.1 408 "));
}

TEST_F(ServerLimitsTest, ALargeBodyMustArriveAtALeastRateAndASmallOneNeedNot) {
  start({echo("POST", "/a", 1 << 20)}, {.body_deadline = milliseconds(10'000),
                                        .body_bytes_per_second_min = 1'000'000,
                                        .body_rate_window = milliseconds(200)});
  const auto send_slowly = [&](std::size_t announced) {
    Client client(server_->address());
    client.send("POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " +
                std::to_string(announced) + "\r\n\r\n");
    for (std::size_t i = 0; i < 5; ++i) {
      client.send(std::string(announced / 5, 'b'));
      std::this_thread::sleep_for(milliseconds(100));
    }
    return client.read_all();
  };
  EXPECT_TRUE(send_slowly(100'000).starts_with("HTTP/1.1 408 ")) << "500,000 bytes a second";
  EXPECT_TRUE(send_slowly(60'000).starts_with("HTTP/1.1 200 ")) << "small";
  Client steady(server_->address());
  steady.send(
      "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n");
  for (int i = 0; i < 10; ++i) {
    steady.send(std::string(100'000, 'b'));
    std::this_thread::sleep_for(milliseconds(40));
  }
  EXPECT_TRUE(steady.read_all().starts_with("HTTP/1.1 200 ")) << "2,500,000 bytes a second";
}

TEST_F(ServerLimitsTest, AChunkedBodyMustArriveAtALeastRateOnceItIsLarge) {
  start({echo("POST", "/a", 1 << 20)}, {.body_deadline = milliseconds(10'000),
                                        .body_bytes_per_second_min = 1'000'000,
                                        .body_rate_window = milliseconds(200)});
  Client client(server_->address());
  client.send("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n11170\r\n" +
              std::string(0x11170, 'b') + "\r\n");
  EXPECT_TRUE(client.read_all().starts_with("HTTP/1.1 408 "));
}

// Admits what says so in its path.
Route choosy(std::atomic<int>& handled) {
  Route route = echo("POST", "/{verdict}", 1 << 20);
  route.admit = [](Request& request,
                   std::optional<std::uint64_t>) -> io::Task<std::optional<Response>> {
    if (request.captures.at(0) == "throw") throw std::runtime_error("not today");
    if (request.captures.at(0) == "yes") co_return std::nullopt;
    Response response;
    response.status = 429;
    co_return response;
  };
  route.handler = [&handled, inner = std::move(route.handler)](Request& request) {
    ++handled;
    return inner(request);
  };
  return route;
}

TEST_F(ServerLimitsTest, ARequestRefusedByItsHeadKeepsItsConnectionIfItsBodyIsSmall) {
  std::atomic<int> handled{0};
  start({choosy(handled)});
  Client client(server_->address());
  for (int i = 0; i < 3; ++i) {
    client.send("POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" +
                std::string(200'000, 'b'));
    EXPECT_TRUE(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 429 "));
  }
  client.send("POST /yes HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_NE(client.read_all().find("[yes] <hi>"), std::string::npos);
  EXPECT_EQ(handled, 1);
}

TEST_F(ServerLimitsTest, ARequestRefusedByItsHeadIsClosedIfItsBodyIsLargeChunkedOrWaits) {
  std::atomic<int> handled{0};
  start({choosy(handled)});
  for (const std::string& rest :
       {"Content-Length: 1000000\r\n\r\n" + std::string(1'000'000, 'b'),
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" + std::string(),
        "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n" + std::string()}) {
    const std::string answer = exchange("POST /no HTTP/1.1\r\nHost: x\r\n" + rest);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 429 ")) << answer;
    EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos) << answer;
    EXPECT_TRUE(answer.ends_with("(closed)")) << answer;
  }
  EXPECT_TRUE(exchange("POST /throw HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
                  .starts_with("HTTP/1.1 500 "));
  EXPECT_EQ(handled, 0);
}

// Has room for so many bytes.
class SmallTicket final : public BodyTicket {
 public:
  explicit SmallTicket(std::size_t room) : room_(room) {}
  std::optional<Response> grow_to(std::size_t bytes) override {
    if (bytes <= room_) return std::nullopt;
    Response response;
    response.status = 429;
    response.headers.add("Retry-After", "7");
    return response;
  }

 private:
  std::size_t room_;
};

TEST_F(ServerLimitsTest, ABodyThatFindsNoRoomOnItsWayIsRefusedWithWhatItsTicketSays) {
  Route route = echo("POST", "/a", 1 << 20);
  route.admit = [](Request& request,
                   std::optional<std::uint64_t>) -> io::Task<std::optional<Response>> {
    request.ticket = std::make_unique<SmallTicket>(200'000);
    co_return std::nullopt;
  };
  start({route});
  const std::string body(300'000, 'b');
  const std::string chunked =
      "Transfer-Encoding: chunked\r\n\r\n493e0\r\n" + body + "\r\n0\r\n\r\n";
  for (const std::string& rest : {"Content-Length: 300000\r\n\r\n" + body, chunked}) {
    const std::string answer = exchange("POST /a HTTP/1.1\r\nHost: x\r\n" + rest);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 429 ")) << answer.substr(0, 80);
    EXPECT_NE(answer.find("Retry-After: 7\r\n"), std::string::npos);
    EXPECT_TRUE(answer.ends_with("(closed)"));
  }
}

TEST_F(ServerLimitsTest, OneAddressHasSoManyConnectionsAndNoMore) {
  start({echo("GET", "/a")}, {.connections_per_address_max = 3});
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<Client>(server_->address()));
    clients.back()->send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    ASSERT_TRUE(clients.back()->read_until("<>").starts_with("HTTP/1.1 200 "));
  }
  const std::string answer = Client(server_->address()).read_all();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 429 ")) << answer;
  EXPECT_NE(answer.find("Retry-After: "), std::string::npos);
  clients.pop_back();
  std::string again;
  for (int i = 0; i < 200 && !again.starts_with("HTTP/1.1 200 "); ++i) {
    std::this_thread::sleep_for(milliseconds(10));  // until the server has seen the close
    again = exchange("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  }
  EXPECT_TRUE(again.starts_with("HTTP/1.1 200 ")) << again;
  EXPECT_NE(registry_.scrape().find("flagstream_http_address_refused_total{server=\"test\"}"),
            std::string::npos);
}

TEST(AddressCounts, ANetworkOfIpv6IsOneClient) {
  AddressCounts counts;
  const auto first = counts.take("2001:db8:1:2::1", 1);
  ASSERT_TRUE(first);
  EXPECT_FALSE(counts.take("2001:db8:1:2:ffff::9", 1));
  EXPECT_TRUE(counts.take("2001:db8:1:3::1", 1));
  const auto four = counts.take("192.0.2.1", 1);
  ASSERT_TRUE(four);
  EXPECT_FALSE(counts.take("::ffff:192.0.2.1", 1));
  EXPECT_TRUE(counts.take("192.0.2.2", 1));
}

TEST_F(ServerLimitsTest, AnIdleConnectionIsClosedQuietly) {
  Limits limits;
  limits.idle_timeout = milliseconds(40);
  start({echo("GET", "/a")}, limits);
  EXPECT_EQ(exchange(""), "(closed)");
}

TEST_F(ServerLimitsTest, BodiesOverTheBudgetInFlightAre503) {
  Limits limits;
  limits.body_bytes_in_flight_max = 1000;
  start({echo("POST", "/a")}, limits);
  const std::string head = "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ";
  EXPECT_TRUE(exchange(head + "1000\r\n\r\n" + std::string(1000, 'b')).starts_with("HTTP/1.1 200"));
  const std::string answer = exchange(head + "1001\r\n\r\n" + std::string(1001, 'b'));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_NE(answer.find("Retry-After: 1\r\n"), std::string::npos);
}

TEST_F(ServerLimitsTest, WhatFollowsARefusedRequestIsNotServed) {
  start({echo("POST", "/a", 4), echo("GET", "/b")});
  const std::string next = "GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  for (const std::string& first :
       {"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
        "GET /b HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"}) {
    Client client(server_->address());
    client.send(first + next);
    client.finish_sending();
    const std::string answer = client.read_all();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 4")) << answer;
    EXPECT_EQ(answer.find("GET /b"), std::string::npos) << answer;
  }
}

TEST_F(ServerLimitsTest, ARefusedRequestIsNotToldToContinue) {
  start({echo("POST", "/a", 4)});
  const std::string fields =
      " HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
  for (const std::string path : {"/a", "/nothing"}) {
    Client client(server_->address());
    client.send("POST " + path + fields);
    client.finish_sending();
    EXPECT_TRUE(client.read_all().starts_with("HTTP/1.1 4")) << path;
  }
}

TEST_F(ServerLimitsTest, HeadsCountAgainstTheBudgetInFlight) {
  Limits limits;
  limits.body_bytes_in_flight_max = 10'000;
  start({echo("GET", "/a")}, limits);
  const std::string small = "GET /a HTTP/1.0\r\nA: " + std::string(5'000, 'b') + "\r\n\r\n";
  EXPECT_TRUE(exchange(small).starts_with("HTTP/1.1 200 "));
  const std::string large = "GET /a HTTP/1.0\r\nA: " + std::string(12'000, 'b') + "\r\n\r\n";
  EXPECT_TRUE(exchange(large).starts_with("HTTP/1.1 503 "));
  // Clients see the end of a connection before it has gone.
  while (registry_.scrape().find("flagstream_http_connections{server=\"test\"} 0") ==
         std::string::npos)
    std::this_thread::yield();
  EXPECT_TRUE(exchange(small).starts_with("HTTP/1.1 200 ")) << "given back";
}

TEST_F(ServerLimitsTest, AnswersOverTheBudgetInFlightAre503) {
  Limits limits;
  limits.answer_bytes_in_flight_max = 50'000;
  auto route = echo("POST", "/a");
  route.complete_error = [](const Request&, Response& response) {
    response.headers.add("Completed", "yes");
  };
  start({std::move(route)}, limits);
  const auto post = [&](int bytes) {
    return exchange("POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " +
                    std::to_string(bytes) + "\r\n\r\n" +
                    std::string(static_cast<std::size_t>(bytes), 'b'));
  };
  EXPECT_TRUE(post(49'000).starts_with("HTTP/1.1 200 "));
  const std::string answer = post(50'000);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer.substr(0, 500);
  EXPECT_NE(answer.find("Completed: yes\r\n"), std::string::npos);
  EXPECT_TRUE(post(49'000).starts_with("HTTP/1.1 200 ")) << "given back";
}

TEST_F(ServerLimitsTest, OverTheConnectionLimitASlowHeadGivesWay) {
  FakeClock clock(1'000 * kMicrosPerSecond);
  Limits limits;
  limits.connections_max = 1;
  server_ =
      *Server::start({"test", "127.0.0.1:0", 1, limits}, {echo("GET", "/a")}, clock, registry_);
  Client slow(server_->address());
  slow.send("GET /a HT");
  while (registry_.scrape().find("received_bytes_total{server=\"test\"} 9") == std::string::npos)
    std::this_thread::yield();
  clock.advance(2 * kMicrosPerSecond);
  Client second(server_->address());
  second.send("GET /a HTTP/1.0\r\n\r\n");
  EXPECT_NE(second.read_all().find("200 OK"), std::string::npos);
  EXPECT_EQ(slow.read_all(), "(closed)");
  server_.reset();
}

TEST_F(ServerLimitsTest, OverTheConnectionLimitTheOldestIdleOneGoes) {
  Limits limits;
  limits.connections_max = 1;
  auto started =
      Server::start({"test", "127.0.0.1:0", 1, limits}, {echo("GET", "/a")}, clock_, registry_);
  ASSERT_TRUE(started.has_value());
  server_ = *std::move(started);
  Client first(server_->address());
  first.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  first.read_until("<>");
  Client second(server_->address());
  second.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(second.read_until("<>").find("200 OK"), std::string::npos);
  EXPECT_EQ(first.read_all(), "(closed)");
}

}  // namespace
}  // namespace flagstream::http
