#include "delivery/ofrep.h"

#include <future>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "delivery/test_delivery.h"

namespace flagstream::delivery {
namespace {

using environment::Environments;
namespace proto = environment::proto;

constexpr char kFlags[] = "/ofrep/v1/evaluate/flags";
constexpr char kUser[] = R"({"context":{"targetingKey":"u1"}})";
constexpr char kServer[] = "Authorization: Bearer sdk-7\r\n";
constexpr char kMobile[] = "X-API-Key: mob-7\r\n";
constexpr char kBrowser[] = "Authorization: client-7\r\n";

// A flag that is on and serves "v"; `more` ends with a comma.
proto::Item flag_with(std::uint64_t revision, const std::string& key, std::int64_t version,
                      const std::string& more, const std::string& value = "\"v\"") {
  proto::Item item = flag(revision, key, version);
  item.set_document(R"({"key":")" + key + R"(","version":)" + std::to_string(version) +
                    R"(,"on":true,)" + more + R"("fallthrough":{"variation":0},"variations":[)" +
                    value + "]}");
  return item;
}

std::string available(bool for_mobile, bool for_browser) {
  const auto text = [](bool is) { return std::string(is ? "true" : "false"); };
  return R"("clientSideAvailability":{"usingMobileKey":)" + text(for_mobile) +
         R"(,"usingEnvironmentId":)" + text(for_browser) + "},";
}

proto::Item keys(std::uint64_t revision) {
  proto::Item item = environment_item(revision);
  auto document = *environment::decode_environment(item.document());
  auto* mobile = document.add_credentials();
  mobile->set_kind(proto::Credential::MOBILE_KEY);
  mobile->set_sha256(sha256("mob-7"));
  item.set_document(*environment::encode_environment(document));
  return item;
}

class OfrepTest : public DeliveryTest {
 protected:
  void TearDown() override {
    server_.reset();
    ofrep_.reset();
    DeliveryTest::TearDown();
  }
  void start(std::chrono::milliseconds deadline = std::chrono::milliseconds(60'000)) {
    follow(deadline);
    ofrep_ = std::make_unique<Ofrep>(OfrepSettings{.heartbeat = std::chrono::milliseconds(60'000)},
                                     *access_, evaluators_, *environments_, clock_, registry_);
    serve(ofrep_->routes());
  }
  void append(const std::vector<std::string>& records) {
    DeliveryTest::append(records);
    if (environments_ == nullptr) return;
    // Evaluations may be 20 ms behind the end of `config`; from here on they are not.
    std::promise<bool> is_read;
    environments_->read_to_end([&](const Result<void>& read) { is_read.set_value(!!read); });
    EXPECT_TRUE(is_read.get_future().get());
  }
  // One flag for everybody, one for mobile applications too, one for servers.
  void append_three_flags() {
    append({change(keys(1)), change(flag_with(2, "all", 1, available(true, true))),
            change(flag_with(3, "mobile", 1, available(true, false))),
            change(flag_with(4, "server", 1, available(false, false)))});
  }
  std::string post(const std::string& rest, const std::string& fields,
                   const std::string& body = kUser) {
    return ask("POST " + (kFlags + rest), fields, body);
  }
  // Where a bulk answer sends its client for changes.
  std::string events_uri(const std::string& fields) {
    const std::string body = body_of(post("", fields));
    const std::size_t begin = body.find("\"requestUri\":\"") + 14;
    return body.substr(begin, body.find('"', begin) - begin);
  }
  std::unique_ptr<Client> listen(const std::string& uri, const std::string& fields = "") {
    auto client = std::make_unique<Client>(server_->address());
    client->send("GET " + uri + " HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n");
    return client;
  }

  Evaluators evaluators_;
  std::unique_ptr<Ofrep> ofrep_;
};

TEST_F(OfrepTest, EveryKindOfCredentialIsTakenFromEveryHeader) {
  append_three_flags();
  start();
  for (const char* key : {"sdk-7", "mob-7", "client-7"}) {
    for (const char* header :
         {"Authorization: Bearer ", "Authorization: bearer  ",
          "Authorization: ", "X-API-Key: ", "Authorization: Basic dXNlcg==\r\nX-API-Key: "}) {
      const std::string answer = post("/all", header + std::string(key) + "\r\n");
      EXPECT_EQ(status_of(answer), 200) << header << key << answer;
      EXPECT_EQ(
          body_of(answer),
          R"({"key":"all","value":"v","reason":"STATIC","variant":"0","metadata":{"version":1}})");
      EXPECT_EQ(field_of(answer, "Content-Type"), "application/json");
    }
  }
}

TEST_F(OfrepTest, AClientIsNeverToldOfAFlagThatIsNotForIt) {
  append_three_flags();
  start();
  const std::string bulk = body_of(post("", kBrowser));
  EXPECT_NE(bulk.find("\"all\""), std::string::npos) << bulk;
  EXPECT_EQ(bulk.find("\"mobile\""), std::string::npos) << bulk;
  EXPECT_EQ(bulk.find("\"server\""), std::string::npos) << bulk;
  const std::string mobile = body_of(post("", kMobile));
  EXPECT_NE(mobile.find("\"mobile\""), std::string::npos) << mobile;
  EXPECT_EQ(mobile.find("\"server\""), std::string::npos) << mobile;
  EXPECT_NE(body_of(post("", kServer)).find("\"server\""), std::string::npos);
  const std::string hidden = post("/server", kBrowser);
  const std::string missing = post("/nobody", kBrowser);
  EXPECT_EQ(status_of(hidden), 404);
  EXPECT_EQ(
      body_of(hidden),
      R"({"key":"server","errorCode":"FLAG_NOT_FOUND","errorDetails":"there is no such flag"})");
  EXPECT_EQ(
      body_of(missing),
      R"({"key":"nobody","errorCode":"FLAG_NOT_FOUND","errorDetails":"there is no such flag"})");
}

TEST_F(OfrepTest, TheRestOfThePathIsTheKeyEscapedOrNot) {
  append_three_flags();
  start();
  EXPECT_EQ(status_of(post("/a%6C%6c", kServer)), 200);
  for (const char* path : {"/bool/x%20y", "/bool%2Fx%20y"}) {
    const std::string answer = post(path, kServer);
    EXPECT_NE(body_of(answer).find(R"({"key":"bool/x y","errorCode":"FLAG_NOT_FOUND")"),
              std::string::npos)
        << answer;
  }
  EXPECT_NE(body_of(post("/", kServer)).find(R"("key":"","errorCode":"FLAG_NOT_FOUND")"),
            std::string::npos);
  const std::string not_text = post("/a%FFb", kServer);
  EXPECT_EQ(status_of(not_text), 404);
  EXPECT_NE(body_of(not_text).find(R"("key":"")"), std::string::npos) << not_text;
}

TEST_F(OfrepTest, OnlyACredentialThatIsKnownToBeUnknownIs401) {
  start(std::chrono::milliseconds(20));
  EXPECT_EQ(status_of(post("/all", kServer)), 503) << "nothing has been loaded";
  EXPECT_EQ(field_of(post("", kServer), "Retry-After"), "1");
  EXPECT_EQ(status_of(post("/all", "")), 401) << "no credential at all";
  EXPECT_EQ(status_of(ask(std::string("GET /ofrep/v1/events?auth=client-7"), "", "")), 503);
}

TEST_F(OfrepTest, AnUnknownCredentialIsToldSoInTheShapeOfTheProtocol) {
  append_three_flags();
  start();
  const std::string answer = post("/all", "X-API-Key: sdk-8\r\n");
  EXPECT_EQ(status_of(answer), 401);
  EXPECT_EQ(body_of(answer),
            R"({"key":"all","errorCode":"GENERAL","errorDetails":"unknown credential"})");
  EXPECT_EQ(body_of(post("", "X-API-Key: sdk-8\r\n")),
            R"({"errorCode":"GENERAL","errorDetails":"unknown credential"})");
  for (const char* query : {"?auth=sdk-7", "?auth=client-8", "?token=client-7", "?token=", ""})
    EXPECT_EQ(status_of(ask(std::string("GET /ofrep/v1/events") + query, "", "")), 401) << query;
}

TEST_F(OfrepTest, BadRequestsAreRefusedWithTheirCode) {
  append_three_flags();
  start();
  const std::string single = post("/all", kServer, R"({"context":{}})");
  EXPECT_EQ(status_of(single), 400);
  EXPECT_NE(body_of(single).find(R"({"key":"all","errorCode":"TARGETING_KEY_MISSING")"),
            std::string::npos);
  const std::string bulk = post("", kServer, R"({"context":[]})");
  EXPECT_EQ(status_of(bulk), 400);
  EXPECT_NE(body_of(bulk).find(R"({"errorCode":"INVALID_CONTEXT")"), std::string::npos);
  EXPECT_NE(body_of(post("/all", kServer, "{")).find("PARSE_ERROR"), std::string::npos);
  const std::string large = post("/all", kServer, std::string((256 << 10) + 1, ' '));
  EXPECT_EQ(status_of(large), 413);
  EXPECT_NE(body_of(large).find(R"({"key":"all","errorCode":"GENERAL")"), std::string::npos);
  EXPECT_EQ(status_of(ask("GET " + (kFlags + std::string("/all")), kServer, "")), 405);
}

TEST_F(OfrepTest, AMalformedFlagFailsAlone) {
  append({change(keys(1)), change(flag_with(2, "bad", 1, R"("rules":5,)")),
          change(flag_with(3, "good", 1, ""))});
  start();
  EXPECT_EQ(status_of(post("/bad", kServer)), 400);
  const std::string bulk = body_of(post("", kServer));
  EXPECT_NE(bulk.find(R"({"key":"bad","errorCode":"PARSE_ERROR")"), std::string::npos) << bulk;
  EXPECT_NE(bulk.find(R"({"key":"good","value":"v")"), std::string::npos) << bulk;
}

TEST_F(OfrepTest, ABulkEvaluationIsConditional) {
  append_three_flags();
  start();
  const std::string first = post("", kBrowser);
  const std::string etag = field_of(first, "ETag");
  const std::string condition = kBrowser + ("If-None-Match: " + etag + "\r\n");
  for (const char* query : {"", "?flagConfigEtag=x&flagConfigLastModified=1"}) {
    const std::string again = post(query, condition);
    EXPECT_EQ(status_of(again), 304);
    EXPECT_EQ(body_of(again), "");
    EXPECT_EQ(field_of(again, "ETag"), etag);
  }
  append({change(flag_with(5, "server", 2, available(false, false), "\"w\""))});
  EXPECT_EQ(status_of(post("", condition)), 304) << "nothing of its own has changed";
  append({change(flag_with(6, "all", 2, available(true, true), "\"w\""))});
  const std::string changed = post("", condition);
  EXPECT_EQ(status_of(changed), 200);
  EXPECT_NE(field_of(changed, "ETag"), etag);
}

TEST_F(OfrepTest, BrowsersCanReadWhateverIsAnswered) {
  append_three_flags();
  start();
  const std::string origin = "Origin: http://shop.example\r\n";
  const std::string preflight = ask("OPTIONS " + std::string(kFlags), origin, "");
  EXPECT_EQ(status_of(preflight), 204);
  EXPECT_EQ(status_of(ask("OPTIONS /ofrep/v1/events", origin, "")), 204);
  const std::string allowed = field_of(preflight, "Access-Control-Allow-Headers");
  for (const char* name : {"Content-Type", "Authorization", "If-None-Match", "X-API-Key"})
    EXPECT_NE(allowed.find(name), std::string::npos) << allowed;
  const std::string etag = field_of(post("", kBrowser), "ETag");
  for (const std::string& answer :
       {post("", kBrowser + origin),
        post("", kBrowser + origin + "If-None-Match: " + etag + "\r\n"), post("", origin),
        post("/nobody", kBrowser + origin), post("", kBrowser + origin, "{"),
        post("", kBrowser + origin, std::string((256 << 10) + 1, ' ')),
        ask("GET " + std::string(kFlags), origin, ""),
        ask("GET /ofrep/v1/events?auth=nobody", origin, "")}) {
    EXPECT_EQ(field_of(answer, "Access-Control-Allow-Origin"), "http://shop.example") << answer;
    const std::string exposed = field_of(answer, "Access-Control-Expose-Headers");
    EXPECT_NE(exposed.find("ETag"), std::string::npos);
    EXPECT_NE(exposed.find("Retry-After"), std::string::npos);
  }
}

TEST_F(OfrepTest, AnEventStreamTellsOfEveryChangeThatMattersToItsClient) {
  append_three_flags();
  start();
  const std::string uri = events_uri(kBrowser);
  EXPECT_EQ(uri, "/ofrep/v1/events?auth=client-7");
  const auto client = listen(uri);
  const std::string head = client->read_until("\n\n\r\n");
  EXPECT_EQ(field_of(head, "Content-Type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(field_of(head, "Access-Control-Allow-Origin"), "*");
  EXPECT_NE(head.find("event: message\ndata: {\"type\":\"refetchEvaluation\",\"etag\":\""),
            std::string::npos)
      << head;
  EXPECT_EQ(head.find("lastModified"), std::string::npos);
  append({change(flag_with(5, "server", 2, available(false, false), "\"w\""))});
  append({change(flag_with(6, "all", 2, available(true, true), "\"w\""))});
  const std::string next = client->read_until("\n\n\r\n");
  const std::size_t modified = next.find(",\"lastModified\":");
  ASSERT_NE(modified, std::string::npos) << next;
  EXPECT_LE(std::abs(std::stoll(next.substr(modified + 16)) - clock_.now() / kMicrosPerSecond), 60);
  append({change(flag_with(7, "all", 3, available(true, true), "\"x\""))});
  const std::string last = client->read_until("\n\n\r\n");
  EXPECT_NE(last.substr(last.find("id: ")), next.substr(next.find("id: ")));
}

TEST_F(OfrepTest, WhoComesBackIsToldOnlyOfWhatItHasNotSeen) {
  append_three_flags();
  start();
  const std::string uri = events_uri(kMobile);
  EXPECT_EQ(uri, "/ofrep/v1/events?token=" + sha256_hex("mob-7"));
  const std::string first = listen(uri)->read_until("\n\n\r\n");
  const std::size_t begin = first.find("\nid: ") + 5;
  const std::string id = first.substr(begin, first.find('\n', begin) - begin);
  const auto back = listen(uri, "Last-Event-ID: " + id + "\r\n");
  back->read_until("\r\n\r\n");
  append({change(flag_with(5, "mobile", 2, available(true, false), "\"w\""))});
  const std::string next = back->read_until("\n\n\r\n");
  EXPECT_EQ(next.find(id), std::string::npos) << next;
  const auto late = listen(uri, "Last-Event-ID: " + id + "\r\n");
  EXPECT_NE(late->read_until("\n\n\r\n").find("refetchEvaluation"), std::string::npos);
}

TEST_F(OfrepTest, AChangeOfAPrerequisiteOrASegmentMattersToo) {
  const std::string depends =
      available(true, true) + R"("prerequisites":[{"key":"server","variation":0}],)" +
      R"("rules":[{"id":"r","variation":0,"clauses":[{"attribute":"","op":"segmentMatch","values":["s"]}]}],)";
  append({change(keys(1)), change(flag_with(2, "all", 1, depends)),
          change(flag_with(3, "server", 1, available(false, false)))});
  start();
  const auto client = listen(events_uri(kBrowser));
  client->read_until("\n\n\r\n");
  append({change(flag_with(4, "server", 2, available(false, false), "\"w\""))});
  client->read_until("\n\n\r\n");
  proto::Item segment = flag(5, "s", 1);
  segment.set_kind(proto::Item::SEGMENT);
  append({change(segment)});
  EXPECT_NE(client->read_until("\n\n\r\n").find("refetchEvaluation"), std::string::npos);
}

TEST_F(OfrepTest, AnEventStreamEndsWithItsKey) {
  append_three_flags();
  start();
  const auto client = listen(events_uri(kMobile));
  client->read_until("\n\n\r\n");
  proto::Item without = environment_item(5);
  without.set_version(2);
  append({change(without)});
  EXPECT_EQ(client->read_all(), "0\r\n\r\n(closed)");
}

}  // namespace
}  // namespace flagstream::delivery
