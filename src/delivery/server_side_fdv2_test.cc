#include "delivery/server_side_fdv2.h"

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "delivery/test_server_side.h"
#include "http/inflate.h"

namespace flagstream::delivery {
namespace {

namespace proto = environment::proto;

class ServerSideFdv2Test : public ServerSideTest {
 protected:
  // The newest selector in what was received.
  static std::string state_in(const std::string& text) {
    const std::string before = R"({"state":")";
    const std::size_t at = text.rfind(before);
    if (at == std::string::npos) return "";
    const std::size_t begin = at + before.size();
    return text.substr(begin, text.find('"', begin) - begin);
  }
  static bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }
  static std::string read_transfer(Client& client) {
    std::string all;
    do {
      all += client.read_until("\n\n\r\n");
    } while (!has(all, "payload-transferred") && !has(all, "(closed)") && !has(all, "silent)"));
    return all;
  }
};

TEST_F(ServerSideFdv2Test, APollGivesEverythingThenChangesThenNothing) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  const std::string first = get("/sdk/poll");
  EXPECT_TRUE(first.starts_with("HTTP/1.1 200 ")) << first;
  EXPECT_EQ(field_of(first, "Content-Type"), "application/json");
  EXPECT_EQ(field_of(first, "X-LD-EnvID"), "client-7");
  EXPECT_TRUE(has(first, "xfer-full")) << first;
  const std::string state = state_in(first);
  const std::string current = get("/sdk/poll?basis=" + state);
  EXPECT_TRUE(has(current, R"("intentCode":"none")")) << current;
  EXPECT_FALSE(has(current, "put-object"));
  append({change(flag(3, "b", 1)), change(deleted(flag(4, "a", 2)))});
  const std::string changed = get("/sdk/poll?basis=" + state);
  EXPECT_TRUE(has(changed, "xfer-changes")) << changed;
  EXPECT_TRUE(has(changed, R"({"kind":"flag","key":"a","version":2})")) << changed;
  EXPECT_TRUE(has(changed, R"({"kind":"flag","key":"b","version":1,"object":{)")) << changed;
  for (const char* odd : {"", "(p:p1:7)", "%28p%3Ap1%3A7%29", "%ff", "1.8.2.0000000000000000"})
    EXPECT_TRUE(has(get(std::string("/sdk/poll?basis=") + odd), "xfer-full")) << odd;
  EXPECT_TRUE(has(get("/sdk/latest-all?basis=" + state), R"({"flags":{"b":)"))
      << "a client that fell back";
}

TEST_F(ServerSideFdv2Test, APollHasATagForEachCodingAndTransfer) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  const std::string key = "Authorization: sdk-7\r\n";
  const std::string plain = get("/sdk/poll");
  const std::string packed = get("/sdk/poll", key + "Accept-Encoding: gzip\r\n");
  std::string inflated;
  ASSERT_TRUE(http::inflate_gzip(body_of(packed), {}, inflated));
  EXPECT_EQ(inflated, body_of(plain));
  EXPECT_NE(field_of(plain, "ETag"), field_of(packed, "ETag"));
  const std::string none = get("/sdk/poll?basis=" + state_in(plain));
  EXPECT_NE(field_of(plain, "ETag"), field_of(none, "ETag"));
  const std::string again =
      get("/sdk/poll", key + "If-None-Match: " + field_of(plain, "ETag") + "\r\n");
  EXPECT_TRUE(again.starts_with("HTTP/1.1 304 ")) << again;
  EXPECT_EQ(body_of(again), "");
  append({change(flag(3, "a", 2))});
  EXPECT_TRUE(get("/sdk/poll", key + "If-None-Match: " + field_of(plain, "ETag") + "\r\n")
                  .starts_with("HTTP/1.1 200 "));
}

TEST_F(ServerSideFdv2Test, AStreamBeginsWithAnIntentAndGoesOnWithChanges) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  const auto client = open_stream("/sdk/stream");
  const std::string head = read_transfer(*client);
  EXPECT_EQ(field_of(head, "Content-Type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(field_of(head, "X-Accel-Buffering"), "no");
  EXPECT_EQ(field_of(head, "X-LD-EnvID"), "client-7");
  EXPECT_TRUE(has(head, "event: server-intent\ndata: {\"payloads\":[{")) << head;
  EXPECT_TRUE(has(head, "xfer-full")) << head;
  append({change(flag(3, "a", 2))});
  const std::string live = read_transfer(*client);
  EXPECT_FALSE(has(live, "server-intent")) << live;
  EXPECT_TRUE(has(live, R"({"kind":"flag","key":"a","version":2,"object":{)")) << live;
  append({change(deleted(flag(4, "a", 3)))});
  const std::string gone = read_transfer(*client);
  EXPECT_TRUE(has(gone, "event: delete-object\n")) << gone;

  const auto current = open_stream("/sdk/stream?basis=" + state_in(gone));
  EXPECT_TRUE(has(current->read_until("\n\n\r\n"), R"("intentCode":"none")"));
  const auto older = open_stream("/sdk/stream?basis=" + state_in(live));
  const std::string changes = read_transfer(*older);
  EXPECT_TRUE(has(changes, "xfer-changes")) << changes;
  EXPECT_TRUE(has(changes, "event: delete-object\n")) << changes;
  append({change(flag(5, "b", 1))});
  for (Client* each : {current.get(), older.get(), client.get()}) {
    const std::string next = read_transfer(*each);
    EXPECT_TRUE(has(next, R"("key":"b")")) << next;
    EXPECT_FALSE(has(next, "server-intent")) << next;
  }
}

TEST_F(ServerSideFdv2Test, ASelectorOutlivesTheGateway) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  const std::string first = state_in(get("/sdk/poll"));
  append({change(flag(3, "a", 2))});
  const std::string second = state_in(get("/sdk/poll"));
  start();
  EXPECT_TRUE(has(get("/sdk/poll?basis=" + second), R"("intentCode":"none")"));
  EXPECT_TRUE(has(get("/sdk/poll?basis=" + first), "xfer-changes"));
}

TEST_F(ServerSideFdv2Test, AGatewayThatIsBehindDoesNotTakeAClientBack) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start();
  (void)get("/sdk/poll");
  const std::string newer = "1.7.3.0000000000000001";
  EXPECT_TRUE(has(get("/sdk/poll?basis=" + newer), "xfer-full")) << "there is no revision 3";
  // Without the log it cannot know.
  server_.reset();
  appender_.reset();
  std::filesystem::remove_all(folder_ + "/log");
  start(std::chrono::milliseconds(20));
  EXPECT_TRUE(has(get("/sdk/poll?basis=" + newer), R"("intentCode":"none")"));
  start(std::chrono::milliseconds(20), {.heartbeat = std::chrono::milliseconds(10)});
  const auto client = open_stream("/sdk/stream?basis=" + newer);
  EXPECT_TRUE(has(client->read_until("\n\n\r\n"), R"("intentCode":"none")"));
  // The log is there again, and another one.
  append({change(environment_item(1)), change(flag(2, "z", 1))});
  const std::string full = read_transfer(*client);
  EXPECT_TRUE(has(full, "xfer-full")) << full;
  EXPECT_TRUE(has(full, R"("key":"z")")) << full;
}

TEST_F(ServerSideFdv2Test, AnOldStreamSaysGoodbye) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start(std::chrono::milliseconds(60'000), {.heartbeat = std::chrono::milliseconds(60'000),
                                            .max_stream_age = std::chrono::milliseconds(10)});
  const std::string all = open_stream("/sdk/stream")->read_all();
  EXPECT_TRUE(has(all, "event: goodbye\ndata: {\"reason\":")) << all;
  EXPECT_TRUE(all.ends_with("\n\n\r\n0\r\n\r\n(closed)")) << all;
}

TEST_F(ServerSideFdv2Test, AnIdleStreamHasAHeartbeat) {
  append({change(environment_item(1))});
  start(std::chrono::milliseconds(60'000), {.heartbeat = std::chrono::milliseconds(10)});
  const auto client = open_stream("/sdk/stream");
  read_transfer(*client);
  EXPECT_TRUE(client->read_until("2\r\n:\n\r\n", 2).ends_with("2\r\n:\n\r\n"));
}

TEST_F(ServerSideFdv2Test, StatusesAreThoseOfTheOlderProtocol) {
  start(std::chrono::milliseconds(20));
  for (const char* target : {"/sdk/poll", "/sdk/stream"}) {
    EXPECT_TRUE(get(target).starts_with("HTTP/1.1 503 ")) << "nothing has been loaded";
    EXPECT_TRUE(get(target, "").starts_with("HTTP/1.1 401 "));
  }
  append({change(environment_item(1))});
  start();
  EXPECT_TRUE(get("/sdk/poll", "Authorization: sdk-8\r\n").starts_with("HTTP/1.1 401 "));
}

TEST_F(ServerSideFdv2Test, ABrowserIsSentToTheOlderProtocolAndEverybodyWhereItIsOff) {
  start(std::chrono::milliseconds(20), {.has_fdv2 = false});
  for (const char* target : {"/sdk/poll?basis=x", "/sdk/stream", "/sdk/poll/eval/e30?auth=x",
                             "/sdk/stream/eval", "/sdk/poll/eval", "/sdk/stream/eval/e30"}) {
    const std::string answer = get(target, "Origin: http://a\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 404 ")) << answer;
    EXPECT_EQ(field_of(answer, "X-LD-FD-Fallback"), "true");
    EXPECT_EQ(field_of(answer, "Access-Control-Allow-Origin"), "http://a");
  }
  start(std::chrono::milliseconds(20));
  for (const char* target : {"/sdk/poll/eval/e30?auth=x", "/sdk/stream/eval"})
    EXPECT_EQ(field_of(get(target), "X-LD-FD-Fallback"), "true");
  Client client(server_->address());
  client.send("OPTIONS /sdk/poll/eval HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(client.read_all().starts_with("HTTP/1.1 204 "));
}

}  // namespace
}  // namespace flagstream::delivery
