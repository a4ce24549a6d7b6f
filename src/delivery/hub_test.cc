#include "delivery/hub.h"

#include <memory>
#include <string>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include "delivery/test_server_side.h"

namespace flagstream::delivery {
namespace {

using environment::Credential;
using environment::CredentialKind;
namespace proto = environment::proto;

// A client that takes what it is offered, up to `room` bytes.
class Reader final : public http::StreamWriter {
 public:
  io::Task<Result<void>> write(std::string_view bytes) override {
    received += bytes;
    co_return Result<void>();
  }
  std::size_t offer(const http::Chunk& chunk) override {
    if (on_offer) on_offer();
    const std::string_view bytes = chunk.text();
    const std::size_t taken = std::min(room, bytes.size());
    received += bytes.substr(0, taken);
    return bytes.size() - taken;
  }
  io::Task<Result<void>> write_rest(const http::Chunk& chunk, std::size_t left) override {
    while (room == 0 && !is_gone) co_await may_read.wait();
    if (is_gone) co_return fail(ErrorKind::Unavailable, "it has gone");
    received += chunk.text().substr(chunk.text().size() - left);
    co_return Result<void>();
  }
  io::Task<void> until_closed() override { co_return; }
  void notify_closed(std::function<void()> notify) override { close_ = std::move(notify); }

  void read_again() {
    room = kAll;
    may_read.end();
  }
  void go() {
    is_gone = true;
    may_read.end();
    if (close_) close_();
  }

  void end() {
    is_ended = true;
    close_ = nullptr;
  }

  static constexpr std::size_t kAll = 1 << 20;
  std::string received;
  std::size_t room = kAll;
  bool is_gone = false;
  bool is_ended = false;
  io::Pause may_read;
  std::function<void()> on_offer;

 private:
  std::function<void()> close_;
};

// Counts from 1 to what the test says.
class Counting final : public Feed {
 public:
  explicit Counting(const int& to) : to_(to) {}

  std::optional<http::SharedChunk> next() override {
    if (at_ == to_) return http::SharedChunk();
    at_ = to_;
    return std::make_shared<const http::Chunk>(std::to_string(at_) + ";");
  }
  http::SharedChunk goodbye() override { return std::make_shared<const http::Chunk>("bye"); }

 private:
  const int& to_;
  int at_ = 0;
};

// A hub on a shard that runs only when the test lets it, over a real environment.
class HubTest : public ServerSideTest {
 protected:
  void SetUp() override {
    ServerSideTest::SetUp();
    append({change(environment_item(1))});
    start();
    (void)get("/sdk/latest-all");
    make_hub({});
  }
  void TearDown() override {
    for (auto& client : clients_) client->go();
    context_.restart();
    context_.run();
    hub_.reset();
    ServerSideTest::TearDown();
  }

  void make_hub(std::chrono::milliseconds max_age,
                std::chrono::milliseconds heartbeat = std::chrono::milliseconds(60'000)) {
    hub_ = std::make_shared<Hub>(Streaming{heartbeat, max_age, *environments_, clock_, aged_out_},
                                 context_.get_executor(), EnvironmentId{7});
    hub_->start();
  }

  Reader& open(const std::string& key = "sdk-7") {
    Reader& client = *clients_.emplace_back(std::make_unique<Reader>());
    io::net::co_spawn(
        context_.get_executor(),
        [this, &client, key]() -> io::Task<void> {
          Counting feed(to_);
          co_await hub_->run(Credential::of(CredentialKind::SdkKey, key), feed, client);
          client.end();
        },
        [](std::exception_ptr failure) {
          if (failure) std::rethrow_exception(failure);
        });
    return client;
  }

  // Whatever is ready now.
  void run() {
    context_.restart();
    context_.poll();
  }
  template <class Condition>
  void run_until(Condition is_met) {
    while (!is_met()) run();
  }
  // A change of the environment, whose wake-up the shard has got but not run.
  void wake(int to) {
    to_ = to;
    append({change(flag(++revision_, "a", to))});
    const auto is_known = [&] { return environments_->flag_set(EnvironmentId{7})->revision; };
    while (is_known() != revision_) std::this_thread::yield();
  }

  io::net::io_context context_{1};
  telemetry::Counter aged_out_{registry_, {"aged_out", "Aged out.", ""}};
  std::shared_ptr<Hub> hub_;
  std::vector<std::unique_ptr<Reader>> clients_;
  int to_ = 1;
  std::uint64_t revision_ = 1;
};

TEST_F(HubTest, ASlowClientKeepsNobodyWaitingAndGetsWhatItMissedAtOnce) {
  open();
  Reader& slow = open();
  Reader& last = open();
  run();
  slow.room = 0;
  wake(2);
  run_until([&] { return last.received == "1;2;"; });
  wake(3);
  run_until([&] { return last.received == "1;2;3;"; });
  wake(4);
  run_until([&] { return last.received == "1;2;3;4;"; });
  EXPECT_EQ(slow.received, "1;");
  slow.read_again();
  run();
  EXPECT_EQ(slow.received, "1;2;4;") << "the message that it was in, then all that is new";
  wake(5);
  run_until([&] { return slow.received == "1;2;4;5;"; });
}

TEST_F(HubTest, HalfAMessageIsCompletedBeforeAnythingElse) {
  Reader& client = open();
  run();
  client.room = 1;
  wake(2);
  run_until([&] { return client.received != "1;"; });
  EXPECT_EQ(client.received, "1;2;");
  wake(3);
  run_until([&] { return client.received == "1;2;3;"; });
}

TEST_F(HubTest, ChangesThatComeTogetherWakeOnce) {
  Reader& client = open();
  run();
  const std::uint64_t wakes = hub_->wakes();
  wake(2);
  wake(3);
  wake(4);
  run_until([&] { return client.received != "1;"; });
  EXPECT_EQ(client.received, "1;4;");
  EXPECT_LE(hub_->wakes(), wakes + 2) << "the last one may show its change after its flag set";
}

TEST_F(HubTest, StreamsMayComeAndGoWhileItGoesAround) {
  constexpr int kStreams = 700;  // more than two slices
  for (int i = 0; i < kStreams; ++i) open();
  run();
  // In the middle of the first slice: one goes that was told, one that was not, the next one, the
  // last one; and one comes.
  int offers = 0;
  clients_[100]->on_offer = [&] {
    if (++offers > 1) return;
    for (const int each : {0, 99, 100, 101, 300, kStreams - 1}) clients_[each]->go();
    open();
  };
  wake(2);
  run_until([&] { return clients_[kStreams - 2]->received == "1;2;"; });
  run();
  for (int i = 0; i < kStreams; ++i) {
    if (clients_[i]->is_gone) {
      EXPECT_TRUE(clients_[i]->is_ended) << i;
    } else {
      EXPECT_EQ(clients_[i]->received, "1;2;") << i;
    }
  }
  EXPECT_EQ(clients_[kStreams]->received, "2;");
  wake(3);
  run_until([&] { return clients_[kStreams]->received == "2;3;"; });
}

TEST_F(HubTest, OthersOfTheShardHaveTheirTurnInARound) {
  constexpr int kStreams = 2'000;
  for (int i = 0; i < kStreams; ++i) open();
  run();
  int told = 0;
  int told_before_other = -1;
  for (auto& client : clients_) {
    client->on_offer = [&] {
      if (told++ == 0) io::net::post(context_, [&] { told_before_other = told; });
    };
  }
  wake(2);
  run_until([&] { return told == kStreams; });
  run();
  EXPECT_GT(told_before_other, 0);
  EXPECT_LT(told_before_other, kStreams / 2);
}

TEST_F(HubTest, AChangeInTheMiddleOfARoundReachesEveryoneInOrder) {
  constexpr int kStreams = 700;
  for (int i = 0; i < kStreams; ++i) open();
  run();
  clients_[300]->on_offer = [&] {
    if (to_ == 2) wake(3);
  };
  wake(2);
  run_until([&] {
    return std::ranges::all_of(clients_, [](const auto& c) { return c->received.ends_with("3;"); });
  });
  EXPECT_EQ(clients_[0]->received, "1;2;3;");
  EXPECT_EQ(clients_[kStreams - 1]->received, "1;3;");
}

TEST_F(HubTest, AKeyIsLookedUpOnceForAllItsStreams) {
  proto::Item item = environment_item(2);
  auto document = *environment::decode_environment(item.document());
  auto* other = document.add_credentials();
  other->set_kind(proto::Credential::SDK_KEY);
  other->set_sha256(sha256("sdk-other"));
  item.set_version(2);
  item.set_document(*environment::encode_environment(document));
  revision_ = 2;
  append({change(item)});
  (void)get("/sdk/latest-all", "Authorization: sdk-other\r\n");
  std::vector<Reader*> mine, theirs;
  for (int i = 0; i < 5; ++i) {
    mine.push_back(&open());
    theirs.push_back(&open("sdk-other"));
  }
  Reader& nobody = open("sdk-unknown");
  run();
  EXPECT_TRUE(nobody.is_ended);
  EXPECT_EQ(nobody.received, "");
  // The other key goes.
  proto::Item without = environment_item(3);
  without.set_version(3);
  revision_ = 3;
  append({change(without)});
  run_until([&] { return theirs.back()->is_ended; });
  for (const Reader* client : theirs) EXPECT_TRUE(client->is_ended);
  wake(2);
  run_until([&] { return mine.back()->received == "1;2;"; });
  for (const Reader* client : mine) EXPECT_EQ(client->received, "1;2;");
}

TEST_F(HubTest, AnOldStreamSaysGoodbyeAlsoWhenItDoesNotReadAtFirst) {
  make_hub(std::chrono::milliseconds(20));
  Reader& client = open();
  Reader& slow = open();
  slow.room = 0;
  run_until([&] { return client.is_ended; });
  EXPECT_EQ(client.received, "1;bye");
  slow.read_again();
  run_until([&] { return slow.is_ended; });
  EXPECT_EQ(slow.received, "1;bye");
  EXPECT_EQ(aged_out_.value(), 2u);
}

TEST_F(HubTest, OnlyASilentStreamIsToldNothing) {
  make_hub({}, std::chrono::milliseconds(80));
  Reader& quiet = open();
  const std::int64_t began = clock_.monotonic();
  run();
  EXPECT_EQ(quiet.received, "1;");
  run_until([&] { return quiet.received == "1;:\n"; });
  EXPECT_GE(clock_.monotonic() - began, 60 * kMicrosPerMilli) << "not before three quarters";
  run_until([&] { return quiet.received == "1;:\n:\n"; });
}

TEST_F(ServerSideTest, AStreamThatCannotKeepUpIsCutAndTheOthersGoOn) {
  server_settings_.shards = 1;
  server_settings_.limits.stream_write_timeout = std::chrono::milliseconds(200);
  server_settings_.limits.stream_send_buffer_bytes = 4'096;
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  const auto quick = open_stream();
  quick->read_until("}}\n\n\r\n");
  const auto slow = open_stream();
  slow->read_until("}}\n\n\r\n");
  int version = 1;
  std::uint64_t revision = 2;
  const auto is_slow_there = [&] {
    return registry_.scrape().find("flagstream_delivery_streams 2\n") != std::string::npos;
  };
  while (is_slow_there()) {
    proto::Item big = flag(++revision, "a", ++version);
    big.set_document(R"({"key":"a","version":)" + std::to_string(version) + R"(,"x":")" +
                     std::string(100'000, 'x') + "\"}");
    append({change(big)});
    const std::string text = quick->read_until("\n\n\r\n");
    ASSERT_NE(text.find("\"version\":" + std::to_string(version) + ","), std::string::npos);
  }
  append({change(flag(++revision, "a", ++version))});
  EXPECT_NE(quick->read_until("\n\n\r\n").find("\"version\":" + std::to_string(version)),
            std::string::npos);
}

TEST_F(ServerSideTest, ManyChangesAtOnceComeInOrderInFewPieces) {
  append({change(environment_item(1))});
  start();
  const auto client = open_stream();
  client->read_until("}}\n\n\r\n");
  constexpr int kChanges = 300;
  std::vector<std::string> records;
  for (int i = 0; i < kChanges; ++i)
    records.push_back(change(flag(static_cast<std::uint64_t>(i) + 2, "a", i + 1)));
  append(records);
  const std::string all = client->read_until("\"version\":" + std::to_string(kChanges) + "}}\n\n");
  std::size_t at = 0;
  for (int i = 1; i <= kChanges; ++i) {
    at = all.find("\"version\":" + std::to_string(i) + "}", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
}

}  // namespace
}  // namespace flagstream::delivery
