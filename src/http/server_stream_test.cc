#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "http/test_server.h"
#include "io/pause.h"
#include "io/timer.h"

namespace flagstream::http {
namespace {

using std::chrono::milliseconds;
using testing_client::Client;

class ServerStreamTest : public ServerTest {};

TEST_F(ServerStreamTest, AStreamIsChunkedAndItsHeadComesAtOnce) {
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

TEST_F(ServerStreamTest, AStreamEndsWhenItsClientClosesOrTheServerDrains) {
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

TEST_F(ServerStreamTest, AStreamIsToldWhenItsClientClosesOrTalksOrTheServerDrains) {
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

TEST_F(ServerStreamTest, ADrainingServerEndsItsStreamsOneAfterTheOther) {
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

TEST_F(ServerStreamTest, WhatIsOfferedGoesOutAtOnceOrIsLeft) {
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

TEST_F(ServerStreamTest, AReaderThatDoesNotReadEndsItsStream) {
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

TEST_F(ServerStreamTest, AReaderThatReadsTooSlowlyEndsItsStream) {
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

TEST_F(ServerStreamTest, AClientThatTalksIntoItsStreamIsClosed) {
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

TEST_F(ServerStreamTest, AStreamHoldsWhatItNeedsUntilItEnds) {
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

}  // namespace
}  // namespace flagstream::http
