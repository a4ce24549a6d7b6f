#include <atomic>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "http/test_server.h"
#include "io/timer.h"

namespace flagstream::http {
namespace {

using std::chrono::milliseconds;
using testing_client::Client;

class ServerStopTest : public ServerTest {};

TEST_F(ServerStopTest, StopLetsARequestInFlightFinishAndRefusesNewConnections) {
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

TEST_F(ServerStopTest, WhileItStopsAConnectionJustUsedHasItsNextRequestAnswered) {
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

TEST_F(ServerStopTest, WhoStillSendsWhenItHasStoppedIsTold) {
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

TEST_F(ServerStopTest, StopWaitsForNobodyWhoIsSilent) {
  start({echo("GET", "/a")});
  Client client(server_->address());
  client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(client.read_until("<>").starts_with("HTTP/1.1 200 "));
  const std::int64_t begin = clock_.monotonic();
  server_->stop(milliseconds(20'000));
  EXPECT_LT(clock_.monotonic() - begin, kMicrosPerSecond);
}

TEST_F(ServerStopTest, WhoConnectsAtTheLastMomentAndIsSilentDoesNotHoldItUp) {
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

TEST_F(ServerStopTest, AHandlerThatNeverEndsIsAbortedAfterThePatience) {
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

}  // namespace
}  // namespace flagstream::http
