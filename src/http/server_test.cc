#include "http/server.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/address_counts.h"
#include "http/test_client.h"
#include "io/pause.h"
#include "io/timer.h"

namespace flagstream::http {
namespace {

using std::chrono::milliseconds;
using testing_client::Client;

Route echo(std::string method, std::string pattern, std::size_t body_bytes_max = 64 << 10) {
  return {std::move(method), std::move(pattern), body_bytes_max,
          [](Request& request) -> io::Task<Response> {
            std::string text = request.method + " " + request.path;
            for (const std::string& capture : request.captures) text += " [" + capture + "]";
            co_return Response{.status = 200,
                               .headers = {},
                               .body = text + " <" + request.body + ">",
                               .shared_body = {},
                               .stream = {}};
          }};
}

class ServerTest : public testing::Test {
 protected:
  Server& start(std::vector<Route> routes, Limits limits = {}, std::string listen = "127.0.0.1:0") {
    auto started =
        Server::start({"test", std::move(listen), 2, limits}, std::move(routes), clock_, registry_);
    if (!started) ADD_FAILURE() << started.error().what;
    server_ = *std::move(started);
    return *server_;
  }
  std::string exchange(std::string_view bytes) {
    Client client(server_->address());
    client.send(bytes);
    return client.read_all();
  }

  telemetry::Registry registry_;
  SystemClock clock_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, AnswersInTheOrderOfPipelinedRequests) {
  start({echo("GET", "/{name}")});
  std::string requests;
  for (int i = 0; i < 100; ++i) {
    requests += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n";
  }
  Client client(server_->address());
  client.send(requests);
  const std::string answers = client.read_until("<>", 100);
  std::size_t at = 0;
  for (int i = 0; i < 100; ++i) {
    at = answers.find("[" + std::to_string(i) + "]", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
}

TEST_F(ServerTest, EveryAnswerHasDateAndLength) {
  start({echo("GET", "/a")});
  const std::string answer = exchange("GET /a HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\nDate: ")) << answer;
  EXPECT_NE(answer.find(" GMT\r\nContent-Length: 9\r\nConnection: close\r\n\r\nGET /a <>(closed)"),
            std::string::npos)
      << answer;
}

TEST_F(ServerTest, HeadIsServedByGetWithoutItsBody) {
  start({echo("GET", "/a")});
  const std::string answer = exchange("HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_NE(answer.find("Content-Length: 10\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\n(closed)")) << answer;
}

TEST_F(ServerTest, AChunkedBodyArrivesWhole) {
  start({echo("POST", "/a")});
  const std::string answer = exchange(
      "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n");
  EXPECT_NE(answer.find("POST /a <abc0123456789>"), std::string::npos) << answer;
}

TEST_F(ServerTest, AnExpectedContinueIsGiven) {
  start({echo("POST", "/a")});
  Client client(server_->address());
  client.send("POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("hi");
  EXPECT_NE(client.read_until("<hi>").find("200 OK"), std::string::npos);
}

TEST_F(ServerTest, ABodyAtTheLimitPassesAndOneByteMoreIs413EvenWhileTheClientStillSends) {
  start({echo("POST", "/a", 8 << 20)});
  const std::string head = "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ";
  const std::string body(8 << 20, 'b');
  EXPECT_TRUE(exchange(head + std::to_string(body.size()) + "\r\n\r\n" + body)
                  .starts_with("HTTP/1.1 200 OK"));
  EXPECT_TRUE(exchange(head + std::to_string(body.size() + 1) + "\r\n\r\n" + body + "b")
                  .starts_with("HTTP/1.1 413 "));
}

TEST_F(ServerTest, UnknownPathIs404AndKnownPathWithAnotherMethod405) {
  start({echo("POST", "/a"), echo("REPORT", "/b/{x}")});
  EXPECT_TRUE(exchange("GET /c HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404 "));
  const std::string answer = exchange("BREW /a HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 405 ")) << answer;
  EXPECT_NE(answer.find("Allow: POST\r\n"), std::string::npos) << answer;
  EXPECT_NE(exchange("REPORT /b/%2fq HTTP/1.0\r\n\r\n").find("[/q]"), std::string::npos);
}

TEST_F(ServerTest, MoreExactPatternsWinAndARestMayBeEmpty) {
  start({echo("*", "/a/*"), echo("GET", "/a/b/{x}"), echo("GET", "/a/b/c")});
  EXPECT_NE(exchange("GET /a/b/c HTTP/1.0\r\n\r\n").find("/a/b/c <>"), std::string::npos);
  EXPECT_NE(exchange("GET /a/b/d HTTP/1.0\r\n\r\n").find("[d]"), std::string::npos);
  EXPECT_NE(exchange("PUT /a/b/d HTTP/1.0\r\n\r\n").find("/a/b/d <>"), std::string::npos);
  EXPECT_NE(exchange("GET /a/ HTTP/1.0\r\n\r\n").find("/a/ <>"), std::string::npos);
}

TEST_F(ServerTest, AHandlerThatThrowsIs500AndCloses) {
  start({{"GET", "/a", 0, [](Request&) -> io::Task<Response> {
            throw std::runtime_error("boom");
            co_return Response();
          }}});
  const std::string answer = exchange("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 500 ")) << answer;
  EXPECT_EQ(answer.find("boom"), std::string::npos);
}

TEST_F(ServerTest, ServersOwnErrorsOnARouteAreCompleted) {
  Route route = echo("POST", "/a", 1);
  route.complete_error = [](const Request& request, Response& response) {
    response.headers.add("X-Origin", std::string(request.headers.find("origin").value_or("none")));
  };
  start({route});
  const std::string answer =
      exchange("POST /a HTTP/1.1\r\nHost: x\r\nOrigin: o\r\nContent-Length: 2\r\n\r\nab");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 413 ")) << answer;
  EXPECT_NE(answer.find("X-Origin: o\r\n"), std::string::npos) << answer;
  const std::string other = exchange("PUT /a HTTP/1.0\r\nOrigin: p\r\n\r\n");
  EXPECT_TRUE(other.starts_with("HTTP/1.1 405 ")) << other;
  EXPECT_NE(other.find("X-Origin: p\r\n"), std::string::npos) << other;
}

TEST_F(ServerTest, SlowHeadersAndSlowBodiesAre408) {
  Limits limits;
  limits.header_deadline = limits.body_deadline = milliseconds(40);
  start({echo("POST", "/a")}, limits);
  EXPECT_TRUE(exchange("POST /a HTTP/1.1\r\nHost:").starts_with("HTTP/1.1 408 "));
  EXPECT_TRUE(exchange("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
                  .starts_with("HTTP/1.1 408 "));
}

TEST_F(ServerTest, ALargeBodyMustArriveAtALeastRateAndASmallOneNeedNot) {
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

TEST_F(ServerTest, AChunkedBodyMustArriveAtALeastRateOnceItIsLarge) {
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

TEST_F(ServerTest, ARequestRefusedByItsHeadKeepsItsConnectionIfItsBodyIsSmall) {
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

TEST_F(ServerTest, ARequestRefusedByItsHeadIsClosedIfItsBodyIsLargeChunkedOrWaits) {
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

TEST_F(ServerTest, ABodyThatFindsNoRoomOnItsWayIsRefusedWithWhatItsTicketSays) {
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

TEST_F(ServerTest, OneAddressHasSoManyConnectionsAndNoMore) {
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

TEST_F(ServerTest, AnIdleConnectionIsClosedQuietly) {
  Limits limits;
  limits.idle_timeout = milliseconds(40);
  start({echo("GET", "/a")}, limits);
  EXPECT_EQ(exchange(""), "(closed)");
}

TEST_F(ServerTest, BodiesOverTheBudgetInFlightAre503) {
  Limits limits;
  limits.body_bytes_in_flight_max = 1000;
  start({echo("POST", "/a")}, limits);
  const std::string head = "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ";
  EXPECT_TRUE(exchange(head + "1000\r\n\r\n" + std::string(1000, 'b')).starts_with("HTTP/1.1 200"));
  const std::string answer = exchange(head + "1001\r\n\r\n" + std::string(1001, 'b'));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_NE(answer.find("Retry-After: 1\r\n"), std::string::npos);
}

Route stream_of(std::string pattern, std::function<io::Task<void>(StreamWriter&)> write) {
  return {"GET", std::move(pattern), 0, [write](Request&) -> io::Task<Response> {
            Response response;
            response.headers.add("Content-Type", "text/event-stream");
            response.stream = write;
            co_return response;
          }};
}

TEST_F(ServerTest, AStreamIsChunkedAndItsHeadComesAtOnce) {
  start({stream_of("/s", [](StreamWriter& out) -> io::Task<void> {
    co_await io::sleep_for(milliseconds(20));
    EXPECT_TRUE((co_await out.write("hello")).has_value());
  })});
  Client client(server_->address());
  client.send("GET /s HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(client.read_until("\r\n\r\n").ends_with("Connection: close\r\n\r\n"));
  EXPECT_EQ(client.read_all(), "5\r\nhello\r\n0\r\n\r\n(closed)");
  EXPECT_TRUE(exchange("GET /s HTTP/1.0\r\n\r\n").ends_with("\r\n\r\nhello(closed)"));
}

TEST_F(ServerTest, AStreamEndsWhenItsClientClosesOrTheServerDrains) {
  std::atomic<int> open{0};
  start({stream_of("/s", [&open](StreamWriter& out) -> io::Task<void> {
    ++open;
    co_await out.until_closed();
    EXPECT_FALSE((co_await out.write("late")).has_value());
    --open;
  })});
  {
    Client client(server_->address());
    client.send("GET /s HTTP/1.1\r\nHost: x\r\n\r\n");
    client.read_until("\r\n\r\n");
    while (open == 0) std::this_thread::yield();
  }
  while (open != 0) std::this_thread::yield();
  Client client(server_->address());
  client.send("GET /s HTTP/1.1\r\nHost: x\r\n\r\n");
  client.read_until("\r\n\r\n");
  while (open == 0) std::this_thread::yield();
  server_->stop(milliseconds(100));
  EXPECT_EQ(open, 0);
  EXPECT_EQ(client.read_all(), "0\r\n\r\n(closed)");
}

// Waits for a client's end as one who has more to wait for.
io::Task<void> wait_for_notice(StreamWriter& out) {
  io::Pause pause;
  bool is_closed = false;
  out.notify_closed([&] {
    is_closed = true;
    pause.end();
  });
  if (!is_closed) co_await pause.wait();
}

TEST_F(ServerTest, AStreamIsToldWhenItsClientClosesOrTalksOrTheServerDrains) {
  std::atomic<int> open{0};
  start({stream_of("/s", [&open](StreamWriter& out) -> io::Task<void> {
    ++open;
    co_await wait_for_notice(out);
    EXPECT_FALSE((co_await out.write("late")).has_value());
    --open;
  })});
  const auto begin = [&](Client& client) {
    client.send("GET /s HTTP/1.1\r\nHost: x\r\n\r\n");
    client.read_until("\r\n\r\n");
    while (open == 0) std::this_thread::yield();
  };
  {
    Client client(server_->address());
    begin(client);
  }
  while (open != 0) std::this_thread::yield();
  Client talker(server_->address());
  begin(talker);
  talker.send("a little is read and dropped");
  talker.send(std::string(1 << 20, 'x'));
  while (open != 0) std::this_thread::yield();
  Client client(server_->address());
  begin(client);
  server_->stop(milliseconds(100));
  EXPECT_EQ(open, 0);
  EXPECT_EQ(client.read_all(), "0\r\n\r\n(closed)");
}

TEST_F(ServerTest, ADrainingServerEndsItsStreamsOneAfterTheOther) {
  constexpr int kStreams = 300;
  SystemClock clock;
  std::atomic<int> open{0};
  std::atomic<std::int64_t> first{0};
  std::atomic<std::int64_t> last{0};
  start({stream_of("/s", [&](StreamWriter& out) -> io::Task<void> {
    ++open;
    co_await wait_for_notice(out);
    --open;
    const std::int64_t now = clock.monotonic();
    std::int64_t none = 0;
    first.compare_exchange_strong(none, now);
    last = std::max(last.load(), now);
  })});
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < kStreams; ++i) {
    clients.push_back(std::make_unique<Client>(server_->address()));
    clients.back()->send("GET /s HTTP/1.1\r\nHost: x\r\n\r\n");
    clients.back()->read_until("\r\n\r\n");
  }
  while (open != kStreams) std::this_thread::yield();
  server_->stop(milliseconds(1'000));
  EXPECT_EQ(open, 0);
  // At least 25 steps of 10 ms, whatever shard they are on; a busy machine only takes longer.
  EXPECT_GT(last - first, 200 * kMicrosPerMilli);
  for (const auto& client : clients) EXPECT_EQ(client->read_all(), "0\r\n\r\n(closed)");
}

TEST_F(ServerTest, WhatIsOfferedGoesOutAtOnceOrIsLeft) {
  const Chunk small("hello");
  const Chunk large(std::string(8 << 20, 'x'));
  std::atomic<std::size_t> left{0};
  start({stream_of("/s", [&](StreamWriter& out) -> io::Task<void> {
    EXPECT_EQ(out.offer(small), 0u);
    left = out.offer(large);
    EXPECT_GT(left, 0u);
    EXPECT_TRUE((co_await out.write_rest(large, left)).has_value());
    EXPECT_TRUE((co_await out.write_rest(small, small.framed().size())).has_value());
  })});
  Client client(server_->address());
  client.send("GET /s HTTP/1.1\r\nHost: x\r\n\r\n");
  client.read_until("\r\n\r\n5\r\nhello\r\n");
  while (left == 0) std::this_thread::yield();
  const std::string rest = client.read_until("5\r\nhello\r\n0\r\n\r\n");
  EXPECT_TRUE(rest.ends_with("x\r\n5\r\nhello\r\n0\r\n\r\n"));
}

TEST_F(ServerTest, AReaderThatDoesNotReadEndsItsStream) {
  Limits limits;
  limits.stream_write_timeout = milliseconds(50);
  limits.stream_send_buffer_bytes = 4096;
  std::atomic<bool> is_ended{false};
  start({stream_of("/s",
                   [&](StreamWriter& out) -> io::Task<void> {
                     const std::string part(64 << 10, 'x');
                     while (co_await out.write(part)) {
                     }
                     is_ended = true;
                   })},
        limits);
  Client client(server_->address());
  client.send("GET /s HTTP/1.1\r\nHost: x\r\n\r\n");
  while (!is_ended) std::this_thread::yield();
}

TEST_F(ServerTest, AReaderThatReadsTooSlowlyEndsItsStream) {
  Limits limits;
  limits.stream_write_timeout = milliseconds(50);
  limits.write_bytes_per_second_min = 1u << 30;
  limits.stream_send_buffer_bytes = 4096;
  std::atomic<bool> is_ended{false};
  start({stream_of("/s",
                   [&](StreamWriter& out) -> io::Task<void> {
                     EXPECT_FALSE((co_await out.write(std::string(64 << 20, 'x'))).has_value());
                     is_ended = true;
                   })},
        limits);
  Client client(server_->address());
  client.send("GET /s HTTP/1.1\r\nHost: x\r\n\r\n");
  while (!is_ended) client.read_byte();
}

TEST_F(ServerTest, AClientThatTalksIntoItsStreamIsClosed) {
  std::atomic<int> open{0};
  start({stream_of("/s", [&open](StreamWriter& out) -> io::Task<void> {
    ++open;
    co_await out.until_closed();
    --open;
  })});
  Client client(server_->address());
  client.send("GET /s HTTP/1.1\r\nHost: x\r\n\r\n");
  client.read_until("\r\n\r\n");
  while (open == 0) std::this_thread::yield();
  client.send(std::string(1 << 20, 'x'));
  while (open != 0) std::this_thread::yield();
}

TEST_F(ServerTest, AStreamHoldsWhatItNeedsUntilItEnds) {
  const auto kept = std::make_shared<int>(0);
  start({{"GET", "/s", 0, [kept](Request&) -> io::Task<Response> {
            Response response;
            response.stream = [in_stream = kept](StreamWriter& out) -> io::Task<void> {
              EXPECT_TRUE((co_await out.write("x")).has_value());
            };
            co_return response;
          }}});
  EXPECT_NE(exchange("GET /s HTTP/1.0\r\nA: b\r\n\r\n").find("\r\n\r\nx(closed)"),
            std::string::npos);
  EXPECT_TRUE(exchange("HEAD /s HTTP/1.0\r\n\r\n").ends_with("\r\n\r\n(closed)"));
  server_.reset();
  EXPECT_EQ(kept.use_count(), 1) << "with the stream goes what it holds";
}

TEST_F(ServerTest, ABodyIsNotTheNextRequest) {
  start({echo("POST", "/a"), echo("GET", "/b")});
  const std::string smuggled = "GET /b HTTP/1.1\r\nHost: x\r\n\r\n";
  Client client(server_->address());
  client.send(
      "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(smuggled.size()) +
      "\r\n\r\n" + smuggled +
      "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n" +
      "GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string answers = client.read_all();
  EXPECT_NE(answers.find("POST /a <" + smuggled + ">HTTP/1.1 200"), std::string::npos) << answers;
  EXPECT_NE(answers.find("POST /a <1>HTTP/1.1 200"), std::string::npos) << answers;
  EXPECT_TRUE(answers.ends_with("GET /b <>(closed)")) << answers;
}

TEST_F(ServerTest, WhatFollowsARefusedRequestIsNotServed) {
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

TEST_F(ServerTest, AClientThatHasFinishedSendingIsAnswered) {
  start({echo("POST", "/a")});
  Client client(server_->address());
  client.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
  client.finish_sending();
  EXPECT_TRUE(client.read_all().ends_with("POST /a <hi>(closed)"));
  Client cut(server_->address());
  cut.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nhi");
  cut.finish_sending();
  EXPECT_EQ(cut.read_all(), "(closed)") << "half a body is no request";
}

TEST_F(ServerTest, ARefusedRequestIsNotToldToContinue) {
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

TEST_F(ServerTest, HeadsCountAgainstTheBudgetInFlight) {
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

TEST_F(ServerTest, AnswersOverTheBudgetInFlightAre503) {
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

TEST_F(ServerTest, OverTheConnectionLimitASlowHeadGivesWay) {
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

TEST_F(ServerTest, StopLetsARequestInFlightFinishAndRefusesNewConnections) {
  std::atomic<bool> is_inside{false};
  start({{"GET", "/a", 0, [&](Request&) -> io::Task<Response> {
            is_inside = true;
            co_await io::sleep_for(milliseconds(50));
            co_return json_response(200, "done");
          }}});
  const std::string address = server_->address();
  Client client(address);
  client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  while (!is_inside) std::this_thread::yield();
  server_->stop(milliseconds(5'000));
  const std::string answer = client.read_all();
  EXPECT_NE(answer.find("Connection: close\r\n\r\ndone"), std::string::npos) << answer;
  EXPECT_FALSE(Client(address).is_open());
}

TEST_F(ServerTest, WhileItStopsAConnectionJustUsedHasItsNextRequestAnswered) {
  start({echo("GET", "/a")});
  Client client(server_->address());
  client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(client.read_until("<>").starts_with("HTTP/1.1 200 "));
  std::jthread stopping([&] { server_->stop(milliseconds(5'000)); });
  std::this_thread::sleep_for(milliseconds(50));
  client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string answer = client.read_all();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
  EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("(closed)")) << answer;
}

TEST_F(ServerTest, WhoStillSendsWhenItHasStoppedIsTold) {
  start({echo("POST", "/a")});
  Client head(server_->address()), body(server_->address());
  head.send("POST /a HTTP/1.1\r\nHo");
  body.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf");
  std::this_thread::sleep_for(milliseconds(50));
  std::jthread stopping([&] { server_->stop(milliseconds(200)); });
  for (Client* each : {&head, &body}) {
    const std::string answer = each->read_until("}");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
    EXPECT_NE(answer.find("Retry-After: "), std::string::npos) << answer;
  }
}

TEST_F(ServerTest, StopWaitsForNobodyWhoIsSilent) {
  start({echo("GET", "/a")});
  Client client(server_->address());
  client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(client.read_until("<>").starts_with("HTTP/1.1 200 "));
  const std::int64_t begin = clock_.monotonic();
  server_->stop(milliseconds(20'000));
  EXPECT_LT(clock_.monotonic() - begin, kMicrosPerSecond);
}

TEST_F(ServerTest, WhoConnectsAtTheLastMomentAndIsSilentDoesNotHoldItUp) {
  std::atomic<bool> is_told{false}, goes_on{false};
  const Route route = stream_of("/s", [&](StreamWriter& out) -> io::Task<void> {
    out.notify_closed([&] {
      is_told = true;
      while (!goes_on) std::this_thread::yield();  // the shard stands still while it stops
    });
    co_await io::sleep_for(milliseconds(60'000));
  });
  auto started = Server::start({"test", "127.0.0.1:0", 1, {}}, {route}, clock_, registry_);
  ASSERT_TRUE(started.has_value());
  server_ = *std::move(started);
  Client reader(server_->address());
  reader.send("GET /s HTTP/1.1\r\nHost: x\r\n\r\n");
  reader.read_until("\r\n\r\n");
  std::jthread stopping([&] { server_->stop(milliseconds(0)); });
  while (!is_told) std::this_thread::yield();
  const Client silent(server_->address());
  goes_on = true;
  stopping.join();
}

TEST_F(ServerTest, AHandlerThatNeverEndsIsAbortedAfterThePatience) {
  std::atomic<bool> is_inside{false};
  start({{"GET", "/a", 0, [&](Request&) -> io::Task<Response> {
            is_inside = true;
            for (;;) co_await io::sleep_for(milliseconds(60'000));
          }}});
  Client client(server_->address());
  client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  while (!is_inside) std::this_thread::yield();
  server_->stop(milliseconds(20));
}

TEST_F(ServerTest, ATakenAddressIsAConflict) {
  start({echo("GET", "/a")});
  const auto second = Server::start({"other", server_->address(), 2, {}}, {}, clock_, registry_);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().kind, ErrorKind::Conflict);
}

TEST_F(ServerTest, OverTheConnectionLimitTheOldestIdleOneGoes) {
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

TEST_F(ServerTest, AUnixSocketLeftByADeadProcessIsReplaced) {
  const std::string path = testing::TempDir() + "/http_dead_" + std::to_string(::getpid());
  const int dead = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  ASSERT_EQ(::bind(dead, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  ::close(dead);
  start({echo("GET", "/a")}, {}, "unix:" + path);
  EXPECT_NE(exchange("GET /a HTTP/1.0\r\n\r\n").find("GET /a <>"), std::string::npos);
}

}  // namespace
}  // namespace flagstream::http
