#include "delivery/client_side.h"

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "base/hash.h"
#include "delivery/client_context.h"
#include "delivery/test_delivery.h"

namespace flagstream::delivery {
namespace {

using environment::Environments;
namespace proto = environment::proto;

constexpr char kAlice[] =
    "eyJraW5kIjoidXNlciIsImtleSI6ImFsaWNlIn0";  // {"kind":"user","key":"alice"}
constexpr char kAliceJson[] = R"({"kind":"user","key":"alice"})";
constexpr char kLegacy[] = "eyJrZXkiOiJhbGljZSJ9";  // {"key":"alice"}
constexpr char kOrigin[] = "Origin: http://shop.example\r\n";
constexpr char kMobile[] = "Authorization: mob-7\r\n";
constexpr char kSdk[] = "Authorization: sdk-7\r\n";

// A flag that everybody may see, which serves its own version as text.
proto::Item client_flag(std::uint64_t revision, const std::string& key, int version) {
  proto::Item item = flag(revision, key, version);
  item.set_document(
      R"({"key":")" + key + R"(","version":)" + std::to_string(version) +
      R"(,"on":true,"variations":["v)" + std::to_string(version) +
      R"("],"fallthrough":{"variation":0},"clientSideAvailability":{"usingMobileKey":true,"usingEnvironmentId":true}})");
  return item;
}

proto::Item client_environment(std::uint64_t revision, bool is_secure = false,
                               const std::string& mobile_key = "mob-7",
                               const std::string& client_side_id = "client-7") {
  proto::Environment document;
  document.set_project_key("p");
  document.set_key("production");
  document.set_client_side_id(client_side_id);
  document.set_secure_mode(is_secure);
  *document.add_credentials() = environment::credential_of(proto::Credential::SDK_KEY, "sdk-7");
  *document.add_credentials() =
      environment::credential_of(proto::Credential::MOBILE_KEY, mobile_key);
  proto::Item item = environment_item(revision);
  item.set_version(static_cast<std::int64_t>(revision));
  item.set_document(*environment::encode_environment(document));
  return item;
}

std::string result(int revision, int version) {
  return R"({"version":)" + std::to_string(revision) + R"(,"flagVersion":)" +
         std::to_string(version) + R"(,"value":"v)" + std::to_string(version) +
         R"(","variation":0})";
}

class ClientSideTest : public DeliveryTest {
 protected:
  void TearDown() override {
    server_.reset();
    client_side_.reset();
    DeliveryTest::TearDown();
  }
  void start(ClientSideSettings settings = {}, int catch_up_ms = 60'000) {
    follow(std::chrono::milliseconds(catch_up_ms));
    client_side_ = std::make_unique<ClientSide>(
        settings, ClientSide::Collaborators{.access = *access_,
                                            .evaluators = evaluators_,
                                            .environments = *environments_,
                                            .clock = clock_,
                                            .registry = registry_});
    serve(client_side_->routes());
  }
  void begin_with(const std::vector<std::string>& records, ClientSideSettings settings = {}) {
    append(records);
    start(settings);
  }
  std::string report(const std::string& target, const std::string& fields,
                     const std::string& body) {
    return ask("REPORT " + target, "Content-Type: application/json\r\n" + fields, body);
  }
  std::unique_ptr<Client> open_stream(const std::string& line, const std::string& fields = "",
                                      const std::string& body = "") {
    auto client = std::make_unique<Client>(server_->address());
    client->send(line + " HTTP/1.1\r\nHost: x\r\n" + fields +
                 (body.empty()
                      ? "\r\n"
                      : "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body));
    return client;
  }

  Evaluators evaluators_;
  std::unique_ptr<ClientSide> client_side_;
};

TEST_F(ClientSideTest, EveryRouteEvaluates) {
  begin_with({change(client_environment(1)), change(client_flag(2, "a", 1))});
  const std::string expected = R"({"a":)" + result(2, 1) + "}";
  for (const char* target : {"/sdk/evalx/client-7/contexts/", "/sdk/evalx/client-7/users/"}) {
    for (const std::string& context :
         {std::string(kAlice), std::string(kAlice) + "=", std::string(kLegacy)}) {
      const std::string answer = ask("GET " + std::string(target) + context);
      EXPECT_EQ(status_of(answer), 200) << answer;
      EXPECT_EQ(body_of(answer), expected);
      EXPECT_EQ(field_of(answer, "Content-Type"), "application/json");
      EXPECT_EQ(field_of(answer, "X-LD-EnvID"), "client-7");
    }
  }
  for (const auto& [prefix, fields] :
       {std::pair{"/msdk/evalx", kMobile}, {"/sdk/evalx", kSdk}, {"/sdk/evalx/client-7", ""}}) {
    for (const char* plural : {"/contexts/", "/users/"})
      EXPECT_EQ(body_of(ask("GET " + std::string(prefix) + plural + kAlice, fields)), expected)
          << prefix << plural;
    for (const char* singular : {"/context", "/user"})
      EXPECT_EQ(body_of(report(std::string(prefix) + singular, fields, kAliceJson)), expected)
          << prefix << singular;
  }
  EXPECT_EQ(body_of(ask("GET /msdk/evalx/contexts/" + std::string(kAlice),
                        "Authorization: api_key mob-7\r\n")),
            expected);
  EXPECT_EQ(body_of(ask("GET //msdk/evalx/contexts/" + std::string(kAlice), kMobile)), expected);
}

TEST_F(ClientSideTest, ReasonsAreThereIfTheyAreAskedFor) {
  begin_with({change(client_environment(1)), change(client_flag(2, "a", 1))});
  const std::string target = "GET /sdk/evalx/client-7/contexts/" + std::string(kAlice);
  EXPECT_NE(ask(target + "?x=1&withReasons=true").find(R"("reason":{"kind":"FALLTHROUGH"})"),
            std::string::npos);
  for (const char* query : {"", "?withReasons=false", "?withReasons", "?withreasons=true"})
    EXPECT_EQ(ask(target + query).find("reason"), std::string::npos) << query;
}

TEST_F(ClientSideTest, AnAnswerThatIsKnownIsNotSentAgain) {
  begin_with({change(client_environment(1)), change(client_flag(2, "a", 1))});
  const std::string target = "GET /sdk/evalx/client-7/contexts/" + std::string(kAlice);
  const std::string etag = field_of(ask(target), "ETag");
  const std::string again = ask(target, "If-None-Match: " + etag + "\r\n" + kOrigin);
  EXPECT_EQ(status_of(again), 304) << again;
  EXPECT_EQ(body_of(again), "");
  EXPECT_EQ(field_of(again, "ETag"), etag);
  EXPECT_EQ(field_of(again, "Access-Control-Allow-Origin"), "http://shop.example");
  EXPECT_NE(field_of(ask(target + "?withReasons=true"), "ETag"), etag) << "other bytes";
}

TEST_F(ClientSideTest, BadInputIsRefusedWithAReason) {
  begin_with({change(client_environment(1)), change(client_flag(2, "a", 1))});
  const std::string evalx = "/sdk/evalx/client-7/contexts/";
  const std::string huge =
      R"({"kind":"user","key":"alice","x":")" + std::string(kContextBytesMax, 'x') + "\"}";
  struct Case {
    std::string answer;
    int status;
  };
  const Case cases[] = {
      {ask("GET " + evalx + "!!!", kOrigin), 400},
      {ask("GET " + evalx + "A", kOrigin), 400},
      {ask("GET " + evalx + "AAAA", kOrigin), 400},
      {ask("GET " + evalx + "e30", kOrigin), 400},
      {ask("GET " + evalx + "eyJrZXkiOiIifQ", kOrigin), 400},
      {ask("GET " + evalx + std::string(70'000, 'A'), kOrigin), 414},
      {report("/sdk/evalx/client-7/context", kOrigin, ""), 400},
      {report("/sdk/evalx/client-7/context", kOrigin, "{"), 400},
      {report("/sdk/evalx/client-7/context", kOrigin, huge), 413},
      {ask("REPORT /sdk/evalx/client-7/context", kOrigin, kAliceJson), 415},
      {ask("REPORT /sdk/evalx/client-7/context",
           std::string(kOrigin) + "Content-Type: text/plain\r\n", kAliceJson),
       415},
      {ask("REPORT /eval/client-7", kOrigin, kAliceJson), 415},
      {report("/eval/client-7", kOrigin, "[]"), 400},
      {ask("GET /eval/client-7/!!!", kOrigin), 400},
      {ask("GET /sdk/evalx/client-8/contexts/" + std::string(kAlice), kOrigin), 404},
      {ask("GET /eval/client-8/" + std::string(kAlice), kOrigin), 404},
      {ask("GET /ping/client-8", kOrigin), 404},
      {ask("GET /sdk/goals/client-8", kOrigin), 404},
      {ask("DELETE /sdk/evalx/client-7/contexts/" + std::string(kAlice), kOrigin), 405},
      {ask("POST /eval/client-7", kOrigin), 405},
  };
  for (const Case& each : cases) {
    EXPECT_EQ(status_of(each.answer), each.status) << each.answer;
    EXPECT_NE(body_of(each.answer).find(R"("message":")"), std::string::npos) << each.answer;
    EXPECT_EQ(field_of(each.answer, "Content-Type"), "application/json");
    if (each.status != 414)  // of no route
      EXPECT_EQ(field_of(each.answer, "Access-Control-Allow-Origin"), "http://shop.example")
          << each.answer;
  }
  EXPECT_EQ(status_of(ask("REPORT /sdk/evalx/client-7/context",
                          "Content-Type: Application/JSON ; charset=utf-8\r\n", kAliceJson)),
            200);
}

TEST_F(ClientSideTest, OnlyWhatIsKnownToBeUnknownIsRefusedForGood) {
  start({}, 20);
  const std::string context = kAlice;
  EXPECT_EQ(status_of(ask("GET /sdk/evalx/client-7/contexts/" + context)), 503)
      << "nothing has been loaded";
  EXPECT_EQ(status_of(ask("GET /meval/" + context, kMobile)), 503);
  EXPECT_EQ(status_of(ask("GET /mping")), 401) << "no key at all";
}

TEST_F(ClientSideTest, EachCredentialOpensItsOwnRoutesOnly) {
  begin_with({change(client_environment(1)), change(client_flag(2, "a", 1))});
  const std::string context = kAlice;
  for (const char* fields : {"", kSdk, "Authorization: client-7\r\n", "Authorization: mob-8\r\n"}) {
    EXPECT_EQ(status_of(ask("GET /msdk/evalx/contexts/" + context, fields)), 401) << fields;
    EXPECT_EQ(status_of(ask("GET /meval/" + context, fields)), 401) << fields;
    EXPECT_EQ(status_of(ask("GET /mping", fields)), 401) << fields;
  }
  EXPECT_EQ(status_of(ask("GET /sdk/evalx/contexts/" + context, kMobile)), 401);
  EXPECT_EQ(status_of(ask("GET /sdk/evalx/mob-7/contexts/" + context)), 404);
}

TEST_F(ClientSideTest, PagesOfOtherOriginsMayAsk) {
  begin_with({change(client_environment(1)), change(client_flag(2, "a", 1))});
  const std::string context = kAlice;
  for (const std::string& target :
       {"/sdk/evalx/nobody/contexts/" + context, "/sdk/evalx/nobody/users/" + context,
        std::string("/sdk/evalx/nobody/context"), std::string("/sdk/evalx/nobody/user"),
        "/eval/nobody/" + context, std::string("/eval/nobody"), std::string("/ping/nobody"),
        std::string("/sdk/goals/nobody")}) {
    const std::string answer =
        ask("OPTIONS " + target, std::string(kOrigin) +
                                     "Access-Control-Request-Method: REPORT\r\n"
                                     "Access-Control-Request-Headers: content-type\r\n");
    EXPECT_EQ(status_of(answer), 204) << answer;
    EXPECT_EQ(field_of(answer, "Access-Control-Allow-Origin"), "http://shop.example");
    EXPECT_EQ(field_of(answer, "Access-Control-Allow-Methods"), "GET,POST,REPORT,OPTIONS");
    EXPECT_NE(field_of(answer, "Access-Control-Allow-Headers").find("X-LaunchDarkly-Wrapper"),
              std::string::npos);
    EXPECT_EQ(field_of(answer, "Access-Control-Max-Age"), "300");
  }
  const std::string answer = ask("GET /sdk/evalx/client-7/contexts/" + context, kOrigin);
  EXPECT_EQ(field_of(answer, "Access-Control-Allow-Origin"), "http://shop.example");
  EXPECT_EQ(field_of(answer, "Access-Control-Expose-Headers"),
            "Date,ETag,X-LD-EnvID,X-LD-FD-Fallback,X-LD-FD-Fallback-TTL,Retry-After");
  EXPECT_EQ(field_of(answer, "Vary"), "Origin");
  const auto stream = open_stream("GET /eval/client-7/" + context, kOrigin);
  EXPECT_EQ(field_of(stream->read_until("\n\n\r\n"), "Access-Control-Allow-Origin"),
            "http://shop.example");
  EXPECT_EQ(
      field_of(ask("GET /msdk/evalx/contexts/" + context, kMobile), "Access-Control-Allow-Origin"),
      "");
}

TEST_F(ClientSideTest, ThereAreNoGoals) {
  begin_with({change(client_environment(1))});
  const std::string answer = ask("GET /sdk/goals/client-7", kOrigin);
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_EQ(body_of(answer), "[]");
}

TEST_F(ClientSideTest, AStreamGivesAPutAndThenWhatDiffers) {
  begin_with({change(client_environment(1)), change(client_flag(2, "a", 1))});
  const std::string context = kAlice;
  const auto browser = open_stream("GET /eval/client-7/" + context, kOrigin);
  const auto mobile = open_stream("GET /meval/" + context, kMobile);
  const auto reporting = open_stream("REPORT /eval/client-7?withReasons=true",
                                     "Content-Type: application/json\r\n", kAliceJson);
  const std::string head = browser->read_until("\n\n\r\n");
  EXPECT_EQ(field_of(head, "Content-Type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(field_of(head, "X-LD-EnvID"), "client-7");
  EXPECT_NE(head.find("event: put\ndata: {\"a\":" + result(2, 1) + "}\n\n"), std::string::npos);
  mobile->read_until("\n\n\r\n");
  EXPECT_NE(reporting->read_until("\n\n\r\n").find(R"("reason":{"kind":"FALLTHROUGH"})"),
            std::string::npos);
  append({change(client_flag(3, "a", 2))});
  const std::string patch = "event: patch\ndata: {\"key\":\"a\"," + result(3, 2).substr(1) + "\n\n";
  EXPECT_NE(browser->read_until("\n\n\r\n").find(patch), std::string::npos);
  EXPECT_NE(mobile->read_until("\n\n\r\n").find(patch), std::string::npos);
  append({change(deleted(client_flag(4, "a", 3)))});
  const std::string gone = "event: delete\ndata: {\"key\":\"a\",\"version\":4}\n\n";
  EXPECT_NE(browser->read_until("\n\n\r\n").find(gone), std::string::npos);
  append({change(client_flag(5, "a", 4))});
  EXPECT_NE(browser->read_until("\n\n\r\n").find(R"({"key":"a","version":5,"flagVersion":4)"),
            std::string::npos)
      << "it has come back";
}

TEST_F(ClientSideTest, AStreamGetsAPutOfAnotherLog) {
  begin_with({change(client_environment(1)), change(client_flag(2, "a", 1)),
              change(client_flag(3, "b", 1))});
  const auto client = open_stream("GET /eval/client-7/" + std::string(kAlice));
  client->read_until("\n\n\r\n");
  appender_.reset();
  std::filesystem::remove_all(folder_ + "/log");
  append({change(client_environment(1)), change(client_flag(2, "z", 1))});
  EXPECT_NE(client->read_until("\n\n\r\n").find("event: put\ndata: {\"z\":" + result(2, 1) + "}"),
            std::string::npos)
      << "though its revision is lower";
}

TEST_F(ClientSideTest, AStreamEndsWithItsCredential) {
  begin_with({change(client_environment(1)), change(client_flag(2, "a", 1))});
  const auto browser = open_stream("GET /eval/client-7/" + std::string(kAlice));
  const auto mobile = open_stream("GET /mping", kMobile);
  browser->read_until("\n\n\r\n");
  mobile->read_until("\n\n\r\n");
  append({change(client_environment(3, false, "mob-8"))});
  EXPECT_EQ(mobile->read_all(), "0\r\n\r\n(closed)");
  append({change(client_environment(4, false, "mob-8", "client-8"))});
  EXPECT_EQ(browser->read_all(), "0\r\n\r\n(closed)");
}

TEST_F(ClientSideTest, PingsComeAtFirstAndAfterEveryChange) {
  begin_with({change(client_environment(1)), change(client_flag(2, "a", 1))});
  const auto browser = open_stream("GET /ping/client-7?h=none", kOrigin);
  const auto mobile = open_stream("GET /mping", kMobile);
  EXPECT_NE(browser->read_until("\n\n\r\n").find("event: ping\ndata: {}\n\n"), std::string::npos);
  EXPECT_NE(mobile->read_until("\n\n\r\n").find("event: ping\ndata: {}\n\n"), std::string::npos);
  append({change(client_flag(3, "a", 2))});
  EXPECT_NE(browser->read_until("\n\n\r\n").find("event: ping\ndata: {}\n\n"), std::string::npos);
}

TEST_F(ClientSideTest, AnIdleStreamHasAHeartbeat) {
  begin_with({change(client_environment(1))}, {.heartbeat = std::chrono::milliseconds(10)});
  const auto client = open_stream("GET /eval/client-7/" + std::string(kAlice));
  client->read_until("\n\n\r\n");
  EXPECT_TRUE(client->read_until("2\r\n:\n\r\n", 2).starts_with("2\r\n:\n\r\n2\r\n:\n\r\n"));
}

TEST_F(ClientSideTest, UnderLoadAStreamIsToldToAskAndGetsEverythingLater) {
  begin_with({change(client_environment(1)), change(client_flag(2, "a", 1))},
             {.heartbeat = std::chrono::milliseconds(200), .waiting_streams_max = 0});
  const auto client = open_stream("GET /eval/client-7/" + std::string(kAlice));
  client->read_until("event: put");
  append({change(client_flag(3, "a", 2))});
  const std::string rest = client->read_until("event: put\ndata: {\"a\":" + result(3, 2) + "}\n\n");
  EXPECT_NE(rest.find("event: ping\ndata: {}\n\n"), std::string::npos) << rest;
  EXPECT_EQ(rest.find("event: patch"), std::string::npos) << rest;
}

TEST_F(ClientSideTest, ClientsThatDoNotReadKeepOthersFromFillingTheMemory) {
  std::vector<std::string> records{change(client_environment(1))};
  for (std::uint64_t i = 0; i < 4; ++i) {
    proto::Item item = client_flag(2 + i, "large-" + std::to_string(i), 1);
    std::string document = item.document();
    document.replace(document.find("v1"), 2, std::string(4u << 20, 'v'));
    item.set_document(document);
    records.push_back(change(item));
  }
  begin_with(records, {.heartbeat = std::chrono::milliseconds(50), .unsent_bytes_max = 1u << 20});
  const std::string line = "GET /eval/client-7/" + std::string(kAlice);
  auto lazy = open_stream(line);
  lazy->read_until("event: put");
  const auto other = open_stream(line);
  EXPECT_NE(other->read_until("\n\n").find("event: ping\n"), std::string::npos);
  lazy.reset();
  EXPECT_TRUE(other->read_until("event: put\n").find("event: put\n") != std::string::npos);
}

TEST_F(ClientSideTest, WhatStreamsKeepIsLimited) {
  begin_with({change(client_environment(1)), change(client_flag(2, "a", 1))},
             {.stream_context_bytes_max = 2 * sizeof kAliceJson});
  const auto line_of = [](const char* key) {
    return "GET /eval/client-7/" +
           base64_encode(R"({"kind":"user","key":")" + std::string(key) + R"("})");
  };
  auto first = open_stream(line_of("alice"));
  const auto second = open_stream(line_of("brian"));
  first->read_until("\n\n\r\n");
  second->read_until("\n\n\r\n");
  EXPECT_EQ(status_of(ask(line_of("carol"))), 503);
  first.reset();
  std::string answer;
  for (int tries = 0; tries < 10'000 && !answer.starts_with("HTTP/1.1 200"); ++tries)
    answer = open_stream(line_of("carol"))->read_until("\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << "the one that has gone keeps nothing";
}

TEST_F(ClientSideTest, SecureModeNeedsTheHashOfTheContext) {
  begin_with({change(client_environment(1, true)), change(client_flag(2, "a", 1))});
  const std::string context = kAlice;
  const std::string right = "?h=" + hmac_sha256_hex("sdk-7", "alice");
  for (const std::string& target :
       {"GET /sdk/evalx/client-7/contexts/" + context, "GET /eval/client-7/" + context}) {
    for (const std::string& wrong :
         {std::string(), std::string("?h="), std::string("?h=00"),
          "?h=" + hmac_sha256_hex("sdk-7", "bob"), "?h=" + hmac_sha256_hex("mob-7", "alice")}) {
      const std::string answer = ask(target + wrong, kOrigin);
      EXPECT_EQ(status_of(answer), 400) << target << wrong;
      EXPECT_EQ(field_of(answer, "Access-Control-Allow-Origin"), "http://shop.example");
    }
  }
  EXPECT_EQ(status_of(ask("GET /sdk/evalx/client-7/contexts/" + context + right)), 200);
  EXPECT_EQ(status_of(report("/sdk/evalx/client-7/context" + right, "", kAliceJson)), 200);
  EXPECT_EQ(status_of(report("/sdk/evalx/client-7/context", "", kAliceJson)), 400);
  EXPECT_EQ(status_of(ask("GET /msdk/evalx/contexts/" + context, kMobile)), 200)
      << "a mobile key is a secret itself";
  open_stream("GET /ping/client-7")->read_until("event: ping");
  EXPECT_EQ(status_of(ask("GET /sdk/goals/client-7")), 200);
  open_stream("GET /eval/client-7/" + context + right)->read_until("event: put");
}

TEST_F(ClientSideTest, AStreamEndsWhereSecureModeBegins) {
  begin_with({change(client_environment(1)), change(client_flag(2, "a", 1))});
  const std::string context = kAlice;
  const auto with_hash =
      open_stream("GET /eval/client-7/" + context + "?h=" + hmac_sha256_hex("sdk-7", "alice"));
  const auto without = open_stream("GET /eval/client-7/" + context);
  with_hash->read_until("\n\n\r\n");
  without->read_until("\n\n\r\n");
  append({change(client_environment(3, true))});
  EXPECT_EQ(without->read_all(), "0\r\n\r\n(closed)");
  append({change(client_flag(4, "a", 2))});
  EXPECT_NE(with_hash->read_until("\n\n\r\n").find(R"("key":"a","version":4)"), std::string::npos);
}

}  // namespace
}  // namespace flagstream::delivery
