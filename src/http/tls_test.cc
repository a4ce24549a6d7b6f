#include "http/tls.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "http/forward.h"
#include "http/server.h"
#include "http/tls_identity.h"
#include "http/tls_test_tools.h"
#include "io/timer.h"

namespace flagstream::http {
namespace {

using std::chrono::milliseconds;
using testing_client::Client;
using namespace testing_tls;

// Closed, in order or by a reset: the kernel resets where the server has not read everything.
bool is_cut(Client& client) {
  const std::string heard = client.read_all();
  return heard == "(closed)" || heard == "(reset or silent)";
}

// A network that a client's alert or a server's close travels through needs no time that could be
// foreseen: what is counted is waited for.
void wait_for(const telemetry::Registry& registry, const std::string& sample) {
  const SystemClock clock;
  const std::int64_t give_up = clock.monotonic() + 30 * kMicrosPerSecond;
  while (registry.scrape().find(sample) == std::string::npos) {
    if (clock.monotonic() > give_up) {
      ADD_FAILURE() << "never comes: " << sample;
      return;
    }
    std::this_thread::yield();
  }
}

Route echo(std::string method, std::string pattern, std::size_t body_bytes_max = 64 << 10) {
  return {std::move(method), std::move(pattern), body_bytes_max,
          [](Request& request) -> io::Task<Response> {
            Response response;
            response.body = (request.is_secure ? "secure " : "plain ") + request.client_address +
                            " <" + request.body + ">";
            co_return response;
          }};
}

Route stream_of(std::string pattern, std::function<io::Task<void>(StreamWriter&)> write) {
  return {"GET", std::move(pattern), 0, [write](Request&) -> io::Task<Response> {
            Response response;
            response.headers.add("Content-Type", "text/event-stream");
            response.stream = write;
            co_return response;
          }};
}

constexpr std::string_view kGet = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr std::string_view kGetAndClose = "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
constexpr std::string_view kGetStream = "GET /s HTTP/1.1\r\nHost: x\r\n\r\n";

class TlsTest : public testing::Test {
 protected:
  TlsTest() { authority_.install("first"); }

  TlsSettings tls() const {
    return {.listen = "127.0.0.1:0",
            .certificate_path = authority_.certificate_path(),
            .key_path = authority_.key_path(),
            .poll_interval = milliseconds(3'600'000)};
  }
  Server& start(std::vector<Route> routes, Limits limits = {}, std::uint32_t shards = 2) {
    return start_with(
        {.name = "test", .listen = {}, .shards = shards, .limits = limits, .tls = tls()},
        std::move(routes));
  }
  Server& start_with(ServerSettings settings, std::vector<Route> routes) {
    auto started = Server::start(std::move(settings), std::move(routes), clock_, registry_);
    if (!started) ADD_FAILURE() << started.error().what;
    server_ = *std::move(started);
    return *server_;
  }
  ClientOptions trusting() const { return {.root_path = authority_.root_path()}; }
  std::unique_ptr<TlsClient> connect() { return connect(trusting()); }
  std::unique_ptr<TlsClient> connect(const ClientOptions& options) {
    return std::make_unique<TlsClient>(server_->tls_address(), options);
  }
  std::string exchange(std::string_view bytes) {
    const auto client = connect();
    EXPECT_TRUE(client->is_open()) << client->failure();
    client->send(bytes);
    return client->read_all();
  }
  void wait_for_handshakes(const std::string& outcome, int count) {
    wait_for(registry_, "tls_handshakes_total{server=\"test\",outcome=\"" + outcome + "\"} " +
                            std::to_string(count) + "\n");
  }

  Authority authority_;
  telemetry::Registry registry_;
  SystemClock clock_;
  std::unique_ptr<Server> server_;
};

TEST_F(TlsTest, ARequestIsAnsweredToAClientThatTrustsTheRoot) {
  start({echo("GET", "/a")});
  const auto client = connect({.root_path = authority_.root_path(), .alpn = "\x02h2\x08http/1.1"});
  ASSERT_TRUE(client->is_open()) << client->failure();
  client->send(kGetAndClose);
  EXPECT_TRUE(client->read_all().ends_with("\r\n\r\nsecure 127.0.0.1 <>(closed)"));
  EXPECT_STREQ(SSL_get_version(client->native()), "TLSv1.3");
  const unsigned char* protocol = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(client->native(), &protocol, &size);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(protocol), size), "http/1.1");
  wait_for_handshakes("completed", 1);
}

TEST_F(TlsTest, TheSameServerServesWithAndWithoutTls) {
  start_with({.name = "test", .listen = "127.0.0.1:0", .shards = 2, .limits = {}, .tls = tls()},
             {echo("GET", "/a")});
  EXPECT_NE(server_->address(), server_->tls_address());
  EXPECT_NE(exchange(kGetAndClose).find("secure"), std::string::npos);
  Client plain(server_->address());
  plain.send(kGetAndClose);
  EXPECT_NE(plain.read_all().find("plain"), std::string::npos);
}

TEST_F(TlsTest, ManyRequestsOfOneConnectionAreAnsweredInOrder) {
  start({echo("POST", "/a")});
  std::string requests;
  for (int i = 0; i < 100; ++i) {
    const std::string body(static_cast<std::size_t>(i), 'b');
    requests +=
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(i) + "\r\n\r\n" + body;
  }
  const auto client = connect();
  client->send(requests);
  const std::string answers = client->read_until(">", 100);
  std::size_t at = 0;
  for (int i = 0; i < 100; ++i) {
    at = answers.find("<" + std::string(static_cast<std::size_t>(i), 'b') + ">", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
}

TEST_F(TlsTest, LargeBodiesPassBothWays) {
  start({echo("POST", "/a", 8 << 20)});
  std::string body(8 << 20, 'b');
  for (std::size_t i = 0; i < body.size(); i += 997) body[i] = static_cast<char>('a' + i % 26);
  const auto client = connect();
  std::thread sender([&] {
    client->send("POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " +
                 std::to_string(body.size()) + "\r\n\r\n" + body);
  });
  sender.join();  // the server takes a body whole before it answers
  EXPECT_TRUE(client->read_all().ends_with("<" + body + ">(closed)"));
}

TEST_F(TlsTest, AChunkedBodyArrivesWholeAndALargeOneIs413) {
  start({echo("POST", "/a", 20)});
  EXPECT_NE(exchange("POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n")
                .find("<abc0123456789>"),
            std::string::npos);
  EXPECT_TRUE(
      exchange("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 21\r\n\r\n" + std::string(21, 'b'))
          .starts_with("HTTP/1.1 413 "));
}

TEST_F(TlsTest, AClientThatHasFinishedSendingIsAnswered) {
  start({echo("GET", "/a")});
  const auto client = connect();
  client->send(kGet);
  client->finish_sending();
  EXPECT_TRUE(client->read_all().ends_with("<>(closed)"));
}

TEST_F(TlsTest, SlowHeadersAre408) {
  Limits limits;
  limits.header_deadline = milliseconds(40);
  start({echo("GET", "/a")}, limits);
  EXPECT_TRUE(exchange("GET /a HTTP/1.1\r\nHost:").starts_with("HTTP/1.1 408 "));
}

TEST_F(TlsTest, EachMessageOfAStreamComesAtOnceAndTheEndIsInOrder) {
  std::atomic<int> heard{0};
  start({stream_of("/s", [&heard](StreamWriter& out) -> io::Task<void> {
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE((co_await out.write("message " + std::to_string(i) + "\n")).has_value());
      while (heard <= i) co_await io::sleep_for(milliseconds(1));
    }
  })});
  const auto client = connect();
  client->send(kGetStream);
  client->read_until("\r\n\r\n");
  for (; heard < 3; ++heard) {
    EXPECT_NE(client->read_until("\n\r\n").find("message " + std::to_string(heard)),
              std::string::npos);
  }
  EXPECT_EQ(client->read_all(), "0\r\n\r\n(closed)");
}

TEST_F(TlsTest, AStreamEndsWhenItsClientGoesWithOrWithoutAWordOrTheServerDrains) {
  std::atomic<int> open{0};
  start({stream_of("/s", [&open](StreamWriter& out) -> io::Task<void> {
    ++open;
    co_await out.until_closed();
    EXPECT_FALSE((co_await out.write("late")).has_value());
    --open;
  })});
  for (const bool with_a_word : {true, false}) {
    auto client = connect();
    client->send(kGetStream);
    client->read_until("\r\n\r\n");
    while (open == 0) std::this_thread::yield();
    if (with_a_word) client->finish_sending();
    if (!with_a_word) client.reset();
    while (open != 0) std::this_thread::yield();
  }
  const auto client = connect();
  client->send(kGetStream);
  client->read_until("\r\n\r\n");
  while (open == 0) std::this_thread::yield();
  server_->stop(milliseconds(100));
  EXPECT_EQ(open, 0);
  EXPECT_EQ(client->read_all(), "0\r\n\r\n(closed)");
}

TEST_F(TlsTest, AClientThatTalksIntoItsStreamIsClosed) {
  std::atomic<int> open{0};
  start({stream_of("/s", [&open](StreamWriter& out) -> io::Task<void> {
    ++open;
    co_await out.until_closed();
    --open;
  })});
  const auto client = connect();
  client->send(kGetStream);
  client->read_until("\r\n\r\n");
  while (open == 0) std::this_thread::yield();
  client->send(std::string(1 << 20, 'x'));
  while (open != 0) std::this_thread::yield();
}

TEST_F(TlsTest, WhatIsOfferedGoesOutAtOnceOrIsLeft) {
  const Chunk small("hello");
  const Chunk large(std::string(8 << 20, 'x'));
  std::atomic<bool> is_full{false};
  start({stream_of("/s", [&](StreamWriter& out) -> io::Task<void> {
    EXPECT_EQ(out.offer(small), 0u);
    const std::size_t left = out.offer(large);
    is_full = true;
    EXPECT_GT(left, 0u);
    EXPECT_TRUE((co_await out.write_rest(large, left)).has_value());
    EXPECT_EQ(out.offer(small), 0u);
  })});
  const auto client = connect();
  client->send(kGetStream);
  client->read_until("\r\n\r\n5\r\nhello\r\n");
  while (!is_full) std::this_thread::yield();
  EXPECT_TRUE(
      client->read_until("5\r\nhello\r\n0\r\n\r\n").ends_with("x\r\n5\r\nhello\r\n0\r\n\r\n"));
}

TEST_F(TlsTest, AReaderThatDoesNotReadEndsItsStream) {
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
  const auto client = connect();
  client->send(kGetStream);
  while (!is_ended) std::this_thread::yield();
}

TEST_F(TlsTest, AStreamUnderBackpressureLosesAndMixesNothing) {
  Limits limits;
  limits.stream_send_buffer_bytes = 4096;
  constexpr int kMessages = 2'000;
  start({stream_of("/s",
                   [](StreamWriter& out) -> io::Task<void> {
                     for (int i = 0; i < kMessages; ++i) {
                       const auto size = static_cast<std::size_t>(i % 97 == 0 ? 40'000 : i % 500);
                       std::string message = "[" + std::to_string(i) + ":";
                       message += std::string(size, static_cast<char>('a' + i % 26)) + "]";
                       if (!co_await out.write(message)) co_return;
                     }
                   })},
        limits);
  const auto client = connect();
  client->send("GET /s HTTP/1.0\r\n\r\n");  // not chunked
  std::string expected;
  for (int i = 0; i < kMessages; ++i) {
    const auto size = static_cast<std::size_t>(i % 97 == 0 ? 40'000 : i % 500);
    expected += "[" + std::to_string(i) + ":";
    expected += std::string(size, static_cast<char>('a' + i % 26)) + "]";
  }
  const std::string answer = client->read_all();
  EXPECT_TRUE(answer.ends_with("\r\n\r\n" + expected + "(closed)")) << answer.size();
}

TEST_F(TlsTest, KeysAreChangedWithinAStream) {
  std::atomic<bool> goes_on{false};
  start({stream_of("/s", [&](StreamWriter& out) -> io::Task<void> {
    EXPECT_TRUE((co_await out.write("before")).has_value());
    while (!goes_on) co_await io::sleep_for(milliseconds(1));
    EXPECT_TRUE((co_await out.write("after")).has_value());
    co_await out.until_closed();
  })});
  const auto client = connect();
  client->send("GET /s HTTP/1.0\r\n\r\n");
  client->read_until("before");
  SSL_key_update(client->native(), SSL_KEY_UPDATE_REQUESTED);
  client->send("x");
  goes_on = true;
  EXPECT_EQ(client->read_until("after"), "after");
}

TEST_F(TlsTest, OlderVersionsAreRefused) {
  start({echo("GET", "/a")});
  EXPECT_FALSE(
      connect({.root_path = authority_.root_path(), .version_max = TLS1_1_VERSION})->is_open());
  wait_for_handshakes("version", 1);
  const auto client = connect({.root_path = authority_.root_path(), .version_max = TLS1_2_VERSION});
  ASSERT_TRUE(client->is_open()) << client->failure();
  EXPECT_STREQ(SSL_get_version(client->native()), "TLSv1.2");
  client->send(kGetAndClose);
  EXPECT_TRUE(client->read_all().ends_with("<>(closed)"));
}

TEST_F(TlsTest, WhereOnly13IsTaken12IsRefused) {
  TlsSettings settings = tls();
  settings.version_min = TlsVersion::Tls13;
  start_with({.name = "test", .listen = {}, .shards = 1, .limits = {}, .tls = settings},
             {echo("GET", "/a")});
  EXPECT_FALSE(
      connect({.root_path = authority_.root_path(), .version_max = TLS1_2_VERSION})->is_open());
  EXPECT_TRUE(connect()->is_open());
  wait_for_handshakes("version", 1);
}

TEST_F(TlsTest, AClientThatTakesOnlyHttp2IsRefused) {
  start({echo("GET", "/a")});
  const auto client = connect({.root_path = authority_.root_path(), .alpn = "\x02h2"});
  EXPECT_FALSE(client->is_open());
  EXPECT_NE(client->failure().find("no application protocol"), std::string::npos)
      << client->failure();
  wait_for_handshakes("alpn", 1);
}

TEST_F(TlsTest, AClientThatDoesNotTrustTheRootIsCounted) {
  start({echo("GET", "/a")});
  const auto client = connect({.root_path = {}, .version_max = TLS1_2_VERSION});
  EXPECT_FALSE(client->is_open());
  wait_for_handshakes("refused", 1);
}

TEST_F(TlsTest, PlainHttpIsToldThatThePortSpeaksTls) {
  start({echo("GET", "/a")});
  for (const std::string method : {"GET", "REPORT"}) {
    Client client(server_->tls_address());
    client.send(method + " /a HTTP/1.1\r\nHost: x\r\n\r\n");
    client.finish_sending();
    const std::string answer = client.read_all();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
    EXPECT_NE(answer.find("this port speaks TLS"), std::string::npos) << answer;
    EXPECT_TRUE(answer.ends_with("(closed)")) << answer;
  }
  wait_for_handshakes("plain_http", 2);
}

TEST_F(TlsTest, GarbageIsClosedAndCounted) {
  start({echo("GET", "/a")});
  const std::vector<std::string> all = {
      std::string(100, '\0'), std::string(70'000, '\xff'),
      std::string("\x16\x03\x01\x01\0", 5) + std::string(256, 'x'),
      "\x16\x03\x01\xff\xff" + std::string(256, 'x')};
  for (const std::string& garbage : all) {
    Client client(server_->tls_address());
    client.send(garbage);
    client.finish_sending();
    const std::string answer = client.read_all();
    EXPECT_EQ(answer.find("HTTP"), std::string::npos) << answer;
  }
  wait_for_handshakes("malformed", static_cast<int>(all.size()));
  EXPECT_TRUE(connect()->is_open());
}

TEST_F(TlsTest, HalfHandshakesAreCutByTheDeadline) {
  Limits limits;
  limits.handshake_deadline = milliseconds(60);
  start({echo("GET", "/a")}, limits);
  Client silent(server_->tls_address());
  Client half(server_->tls_address());
  half.send("\x16\x03\x01\x01\x00\x01");
  EXPECT_EQ(silent.read_all(), "(closed)");
  EXPECT_TRUE(is_cut(half));
  wait_for_handshakes("timeout", 2);
}

TEST_F(TlsTest, HandshakesOverTheLimitWaitAndASlowOneGivesWay) {
  FakeClock clock(1'000 * kMicrosPerSecond);
  Limits limits;
  limits.handshakes_max = 1;
  server_ =
      *Server::start({.name = "test", .listen = {}, .shards = 1, .limits = limits, .tls = tls()},
                     {echo("GET", "/a")}, clock, registry_);
  Client slow(server_->tls_address());
  slow.send("\x16\x03");
  wait_for(registry_, "flagstream_http_connections{server=\"test\"} 1\n");
  std::unique_ptr<TlsClient> second;
  std::thread connecting([&] { second = connect(); });
  while (registry_.scrape().find("tls_handshake_waits_total{server=\"test\"} 0\n") !=
         std::string::npos)
    std::this_thread::yield();
  clock.advance(2 * kMicrosPerSecond);
  connecting.join();
  EXPECT_TRUE(second->is_open()) << second->failure();
  EXPECT_TRUE(is_cut(slow));
  second.reset();
  server_.reset();
}

TEST_F(TlsTest, AnEstablishedConnectionCountsAsNoHandshake) {
  Limits limits;
  limits.handshakes_max = 1;
  start({echo("GET", "/a")}, limits, 1);
  const auto first = connect();
  const auto second = connect();
  ASSERT_TRUE(first->is_open() && second->is_open());
  for (const auto& client : {first.get(), second.get()}) {
    client->send(kGet);
    EXPECT_TRUE(client->read_until("<>").ends_with("<>"));
  }
}

TEST_F(TlsTest, OverTheConnectionLimitTheOldestIdleOneGoes) {
  Limits limits;
  limits.connections_max = 1;
  start({echo("GET", "/a")}, limits, 1);
  const auto first = connect();
  first->send(kGet);
  first->read_until("<>");
  const auto second = connect();
  second->send(kGet);
  EXPECT_TRUE(second->read_until("<>").ends_with("<>"));
  EXPECT_EQ(first->read_all(), "(closed)");
}

TEST_F(TlsTest, StopCutsAHandshakeAfterThePatience) {
  start({echo("GET", "/a")});
  Client half(server_->tls_address());
  half.send("\x16\x03");
  wait_for(registry_, "flagstream_http_connections{server=\"test\"} 1\n");
  server_->stop(milliseconds(20));
  EXPECT_TRUE(is_cut(half));
}

TEST_F(TlsTest, SessionsAreResumedByTicket) {
  start({echo("GET", "/a")});
  const auto first = connect();
  first->send(kGet);
  first->read_until("<>");
  const Owned<SSL_SESSION> session(SSL_get1_session(first->native()));
  const auto second = connect({.root_path = authority_.root_path(), .resumed = session.get()});
  second->send(kGet);
  EXPECT_TRUE(second->read_until("<>").ends_with("<>"));
  wait_for_handshakes("resumed", 1);
}

TEST_F(TlsTest, ANewCertificateIsForNewConnectionsAndOldStreamsGoOn) {
  std::atomic<bool> goes_on{false};
  start({stream_of("/s", [&](StreamWriter& out) -> io::Task<void> {
    EXPECT_TRUE((co_await out.write("before")).has_value());
    while (!goes_on) co_await io::sleep_for(milliseconds(1));
    EXPECT_TRUE((co_await out.write("after")).has_value());
  })});
  const auto stream = connect();
  EXPECT_EQ(stream->server_name(), "first");
  stream->send("GET /s HTTP/1.0\r\n\r\n");
  stream->read_until("before");
  authority_.install("second");
  server_->reload_certificate();
  EXPECT_EQ(connect()->server_name(), "second");
  goes_on = true;
  EXPECT_EQ(stream->read_all(), "after(closed)");
  wait_for(registry_, "tls_reloads_total{server=\"test\",outcome=\"taken\"} 1\n");
}

TEST_F(TlsTest, NewFilesAreNoticedWithoutBeingTold) {
  TlsSettings settings = tls();
  settings.poll_interval = milliseconds(5);
  start_with({.name = "test", .listen = {}, .shards = 1, .limits = {}, .tls = settings},
             {echo("GET", "/a")});
  authority_.install("second");
  while (connect()->server_name() != "second") std::this_thread::yield();
}

TEST_F(TlsTest, ABadNewFileKeepsTheOldCertificateAndIsCountedOnce) {
  start({echo("GET", "/a")});
  write_file(authority_.certificate_path(), "no certificate");
  server_->reload_certificate();
  server_->reload_certificate();
  EXPECT_EQ(connect()->server_name(), "first");
  const std::string metrics = registry_.scrape();
  EXPECT_NE(metrics.find("tls_reloads_total{server=\"test\",outcome=\"refused\"} 1\n"),
            std::string::npos);
  EXPECT_NE(metrics.find("tls_certificate_stale{server=\"test\"} 1\n"), std::string::npos);
  authority_.install("second");
  server_->reload_certificate();
  EXPECT_EQ(connect()->server_name(), "second");
  EXPECT_NE(registry_.scrape().find("tls_certificate_stale{server=\"test\"} 0\n"),
            std::string::npos);
}

TEST_F(TlsTest, ANewCertificateThatHasExpiredOrWhoseKeyIsStillTheOldOneIsNotTaken) {
  start({echo("GET", "/a")});
  authority_.install("expired", -7'200, -3'600);
  server_->reload_certificate();
  const Key key = new_key();
  write_file(authority_.certificate_path(), authority_.issue(key.get(), "half"));
  server_->reload_certificate();
  EXPECT_EQ(connect()->server_name(), "first");
  write_file(authority_.key_path(), pem_of(key.get()));
  server_->reload_certificate();
  EXPECT_EQ(connect()->server_name(), "half");
}

TEST_F(TlsTest, WhatRemainsOfTheCertificateIsAMetric) {
  const SystemClock real;
  FakeClock clock(real.now());
  TlsProbe probe(registry_, "test");
  authority_.install("short", -60, 1'000);
  const auto identity = TlsIdentity::open(tls(), clock, probe);
  ASSERT_TRUE(identity) << identity.error().what;
  EXPECT_NEAR(probe.remaining_seconds.value(), 1'000, 60);
  clock.advance(2'000 * kMicrosPerSecond);
  (*identity)->reload();
  EXPECT_NEAR(probe.remaining_seconds.value(), -1'000, 60);
  EXPECT_NE((*identity)->new_session(), nullptr) << "an expired certificate is better than none";
}

TEST_F(TlsTest, EachDayTicketKeysAreNew) {
  const SystemClock real;
  FakeClock clock(real.now());
  TlsProbe probe(registry_, "test");
  const auto identity = TlsIdentity::open(tls(), clock, probe);
  ASSERT_TRUE(identity) << identity.error().what;
  const SslPointer before = (*identity)->new_session();
  (*identity)->reload();
  EXPECT_EQ(SSL_get_SSL_CTX(before.get()), SSL_get_SSL_CTX((*identity)->new_session().get()));
  clock.advance(kMicrosPerDay + 1);
  (*identity)->reload();
  EXPECT_NE(SSL_get_SSL_CTX(before.get()), SSL_get_SSL_CTX((*identity)->new_session().get()));
}

TEST_F(TlsTest, WhatCannotBeServedIsRefusedInASentence) {
  const auto why = [&] {
    const auto started =
        Server::start({.name = "test", .listen = {}, .shards = 1, .limits = {}, .tls = tls()}, {},
                      clock_, registry_);
    EXPECT_FALSE(started.has_value());
    if (started) return std::string();
    EXPECT_EQ(started.error().kind, ErrorKind::InvalidArgument);
    return started.error().what;
  };
  const std::string certificate = "the TLS certificate " + authority_.certificate_path();
  const std::string key = "the TLS key " + authority_.key_path();
  const Key own = new_key(), other = new_key();
  const Key rsa(EVP_RSA_gen(2048)), small_rsa(EVP_RSA_gen(1024));
  const std::string chain = authority_.issue(own.get(), "own");
  const auto with = [&](std::string_view certificates, const std::string& key_text,
                        mode_t mode = 0600) {
    write_file(authority_.certificate_path(), certificates);
    write_file(authority_.key_path(), key_text, mode);
    return why();
  };
  EXPECT_TRUE(with("", pem_of(own.get())).starts_with(certificate + " is no certificate in PEM"));
  EXPECT_TRUE(with("garbage", pem_of(own.get())).starts_with(certificate + " is no certificate"));
  EXPECT_TRUE(with(chain.substr(0, chain.size() - 200), pem_of(own.get()))
                  .starts_with(certificate + " has a damaged chain"));
  EXPECT_EQ(with(std::string((1 << 20) + 1, 'x'), pem_of(own.get())),
            certificate + " is over 1 MiB");
  EXPECT_TRUE(with(authority_.issue(small_rsa.get(), "small"), pem_of(small_rsa.get()))
                  .starts_with(certificate + " cannot be used (ee key too small)"));
  EXPECT_TRUE(with(chain, "garbage").starts_with(key + " is no private key in PEM"));
  EXPECT_TRUE(with(chain, pem_of(other.get())).starts_with(key + " does not belong to the certif"));
  EXPECT_TRUE(with(chain, pem_of(rsa.get())).starts_with(key + " does not belong to the certif"));
  EXPECT_EQ(with(chain, pem_of(own.get(), "secret")),
            key + " has a passphrase, which nobody could be asked for");
  EXPECT_EQ(with(chain, pem_of(own.get()), 0644),
            key + " is open to every user of this machine (mode 0644): chmod 640 it");
  std::filesystem::remove(authority_.key_path());
  EXPECT_EQ(why(), key + " cannot be read: No such file or directory");
  std::filesystem::create_directory(authority_.key_path());
  EXPECT_EQ(why(), key + " is not a file");
}

TEST_F(TlsTest, WhatIsForwardedSaysThatTheClientUsesTls) {
  const std::string path = authority_.path("back.sock");
  const auto back = Server::start({.name = "back", .listen = "unix:" + path, .limits = {}},
                                  {{"GET", "/a", 0,
                                    [](Request& request) -> io::Task<Response> {
                                      std::string said;
                                      for (const Header& header : request.headers.all()) {
                                        if (header.name == "X-Forwarded-Proto")
                                          said += header.value + ";";
                                      }
                                      co_return json_response(200, "<" + said + ">");
                                    }}},
                                  clock_, registry_);
  ASSERT_TRUE(back) << back.error().what;
  Forwarder forwarder({.socket_path = path, .role = "back"}, registry_);
  start_with({.name = "test", .listen = "127.0.0.1:0", .shards = 1, .limits = {}, .tls = tls()},
             {{"GET", "/a", 0, forwarder.handler()}});
  const std::string request =
      "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close, X-Forwarded-Proto\r\n"
      "X-Forwarded-Proto: http\r\n\r\n";
  EXPECT_NE(exchange(request).find("<https;>"), std::string::npos);
  Client plain(server_->address());
  plain.send(request);
  EXPECT_NE(plain.read_all().find("<>"), std::string::npos);
  server_.reset();
}

TEST_F(TlsTest, AServerWithoutAnyAddressIsRefused) {
  const auto started = Server::start({.name = "test", .listen = {}, .shards = 1, .limits = {}}, {},
                                     clock_, registry_);
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().kind, ErrorKind::InvalidArgument);
}

}  // namespace
}  // namespace flagstream::http
