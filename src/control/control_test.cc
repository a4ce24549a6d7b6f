// Control as a whole: its socket, its database, the log behind it and the reading side of `config`.
#include "control/control.h"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>

#include "analytics/results_writer.h"
#include "catalog/catalog.h"
#include "control/test_control.h"
#include "environment/environments.h"

namespace flagstream::control {
namespace {

constexpr const char* kShop = R"({"key":"shop","name":"Shop"})";

class ApiTest : public ControlTest {
 protected:
  void SetUp() override {
    ControlTest::SetUp();
    start();
    ASSERT_EQ(api("POST", "/api/v2/projects", kShop).status, 201);
  }

  std::string role_token(catalog::Role role) {
    auto catalog = catalog::Catalog::open(folder_ / "catalog.db", clock_);
    return *catalog->access().create_token("test", role);
  }
  Answer as(catalog::Role role, std::string_view method, const std::string& target,
            const std::string& body = "") {
    return send(method, target, "Authorization: " + role_token(role) + "\r\n", body);
  }
  json::Value flag(const std::string& key) {
    return api("GET", "/api/v2/flags/shop/" + key).json();
  }
  bool is_on(const std::string& key, const char* environment = "production") {
    return flag(key).at("environments").at(environment).at("on").as_bool();
  }
};

TEST_F(ApiTest, AFlagIsCreatedListedChangedAndDeleted) {
  const Answer created = api("POST", "/api/v2/flags/shop", R"({"key":"a","name":"A"})");
  ASSERT_EQ(created.status, 201) << created.body;
  EXPECT_EQ(created.json().at("kind").as_string(), "boolean");
  EXPECT_EQ(api("POST", "/api/v2/flags/shop", R"({"key":"a","name":"A"})").status, 409);

  const std::string on =
      R"({"environmentKey":"production","instructions":[{"kind":"turnFlagOn"}]})";
  const Answer dry = api("PATCH", "/api/v2/flags/shop/a?dryRun=true", on);
  EXPECT_TRUE(dry.json().at("environments").at("production").at("on").as_bool());
  EXPECT_FALSE(is_on("a"));
  ASSERT_EQ(api("PATCH", "/api/v2/flags/shop/a", on).status, 200);
  EXPECT_TRUE(is_on("a"));
  EXPECT_FALSE(is_on("a", "test"));
  ASSERT_EQ(api("PATCH", "/api/v2/flags/shop/a",
                R"([{"op":"replace","path":"/environments/production/on","value":false}])")
                .status,
            200);
  EXPECT_FALSE(is_on("a"));

  const auto listed = api("GET", "/api/v2/flags/shop").json();
  EXPECT_EQ(listed.at("totalCount").as_int64(), 1);
  EXPECT_FALSE(listed.at("items").at(0).as_object().contains("environments"));
  const auto full = api("GET", "/api/v2/flags/shop?env=production&summary=0").json();
  EXPECT_EQ(full.at("items").at(0).at("environments").as_object().size(), 1u);
  EXPECT_TRUE(full.at("items")
                  .at(0)
                  .at("environments")
                  .at("production")
                  .as_object()
                  .contains("fallthrough"));

  EXPECT_EQ(api("DELETE", "/api/v2/flags/shop/a").status, 204);
  EXPECT_EQ(api("GET", "/api/v2/flags/shop/a").status, 404);
}

TEST_F(ApiTest, SegmentsAreMadeEditedAndDeleted) {
  const char* all = "/api/v2/segments/shop/production";
  const Answer made = api("POST", all, R"({"key":"beta","name":"Beta"})");
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(api("POST", all, R"({"key":"beta","name":"Beta"})").status, 409);
  const Answer edited = api("PATCH", "/api/v2/segments/shop/production/beta",
                            R"({"instructions":[{"kind":"addIncludedTargets","values":["u1"]}]})");
  ASSERT_EQ(edited.status, 200) << edited.body;
  EXPECT_EQ(edited.json().at("included").as_array().size(), 1u);
  EXPECT_EQ(edited.json().at("version").as_int64(), 2);
  EXPECT_EQ(api("GET", all).json().at("totalCount").as_int64(), 1);
  EXPECT_EQ(api("PATCH", "/api/v2/segments/shop/production/beta", R"([{"op":"x"}])").status, 400);
  EXPECT_EQ(api("DELETE", "/api/v2/segments/shop/production/beta").status, 204);
  EXPECT_EQ(api("GET", "/api/v2/segments/shop/production/beta").status, 404);
  EXPECT_EQ(api("GET", "/api/v2/segments/shop/nowhere").status, 404);
}

TEST_F(ApiTest, ABigSegmentTakesItsMembersInBulk) {
  const std::string all = "/api/v2/segments/shop/production";
  ASSERT_EQ(api("POST", all, R"({"key":"big","name":"Big","unbounded":true})").status, 201);
  ASSERT_EQ(api("POST", all, R"({"key":"small","name":"Small"})").status, 201);
  const char* members = R"({"included":{"add":["u1","u2"]},"excluded":{"add":["u3"]}})";
  EXPECT_EQ(api("POST", all + "/big/contexts", members).status, 204);
  EXPECT_EQ(api("POST", all + "/small/contexts", members).status, 409);
  EXPECT_EQ(api("POST", all + "/big/contexts", R"({"included":["u1"]})").status, 400);
  EXPECT_EQ(api("POST", all + "/big/contexts", R"({"included":{"add":[1]}})").status, 400);
  EXPECT_EQ(api("POST", all + "/big/contexts", R"({"included":{"remove":["u2"]}})").status, 204);
  EXPECT_TRUE(api("GET", all + "/big/contexts/u1").json().at("included").as_bool());
  EXPECT_FALSE(api("GET", all + "/big/contexts/u2").json().at("included").as_bool());
  EXPECT_TRUE(api("GET", all + "/big/contexts/u3").json().at("excluded").as_bool());
  const auto shown = api("GET", all + "/big").json();
  EXPECT_EQ(shown.at("_unboundedMetadata").at("memberCount").as_int64(), 2);
  EXPECT_TRUE(shown.at("included").as_array().empty());
}

TEST_F(ApiTest, RolloutsAndRulesAreEditedBySemanticPatch) {
  const auto created = api("POST", "/api/v2/flags/shop", R"({"key":"a","name":"A"})").json();
  const std::string first(created.at("variations").at(0).at("_id").as_string());
  const std::string second(created.at("variations").at(1).at("_id").as_string());
  const Answer edited =
      api("PATCH", "/api/v2/flags/shop/a",
          R"({"comment":"try","environmentKey":"production","instructions":[)"
          R"({"kind":"updateFallthroughVariationOrRollout","rolloutWeights":{")" +
              first + R"(":25000,")" + second + R"(":75000}},{"kind":"addRule","variationId":")" +
              first + R"(","clauses":[{"attribute":"country","op":"in","values":["de"]}]}]})");
  ASSERT_EQ(edited.status, 200) << edited.body;
  const auto production = edited.json().at("environments").at("production");
  EXPECT_EQ(
      production.at("fallthrough").at("rollout").at("variations").at(0).at("weight").as_int64(),
      25'000);
  const std::string rule(production.at("rules").at(0).at("_id").as_string());
  ASSERT_EQ(
      api("PATCH", "/api/v2/flags/shop/a",
          R"({"environmentKey":"production","instructions":[{"kind":"removeRule","ruleId":")" +
              rule + R"("}]})")
          .status,
      200);
  EXPECT_TRUE(flag("a").at("environments").at("production").at("rules").as_array().empty());
  const std::string unlike =
      R"({"kind":"addRule","variationId":")" + first +
      R"j(","clauses":[{"attribute":"v","op":"matches","values":["(?=x)"]}]})j";
  const Answer refused = api("PATCH", "/api/v2/flags/shop/a",
                             R"({"environmentKey":"production","instructions":[)" + unlike + "]}");
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.json().at("code").as_string(), "invalid_request");
}

// The members that strict clients demand.
TEST_F(ApiTest, EveryRequiredMemberIsThere) {
  ASSERT_EQ(api("POST", "/api/v2/flags/shop", R"({"key":"a","name":"A"})").status, 201);
  const auto expect_all = [](const json::Value& value, std::initializer_list<const char*> names) {
    for (const char* name : names) EXPECT_TRUE(value.as_object().contains(name)) << name;
  };
  const auto one = flag("a");
  expect_all(one, {"name", "kind", "key", "_version", "creationDate", "variations", "temporary",
                   "tags", "_links", "experiments", "customProperties", "archived"});
  expect_all(one.at("environments").at("production"),
             {"on", "archived", "salt", "sel", "lastModified", "version", "_site",
              "_environmentName", "trackEvents", "trackEventsFallthrough"});
  expect_all(api("GET", "/api/v2/projects/shop").json(),
             {"_links", "_id", "key", "includeInSnippetByDefault", "name", "tags"});
  expect_all(
      api("GET", "/api/v2/projects/shop/environments/production").json(),
      {"_links", "_id", "key", "name", "apiKey", "mobileKey", "color", "defaultTtl", "secureMode",
       "defaultTrackEvents", "requireComments", "confirmChanges", "tags", "critical"});
  expect_all(api("GET", "/api/v2/projects/shop/environments").json(),
             {"items", "_links", "totalCount"});
  expect_all(api("GET", "/api/v2/caller-identity").json(), {"accountId", "authKind", "tokenName"});
}

TEST_F(ApiTest, OnlyTokensOfTheRightRoleOpenIt) {
  const auto production = api("GET", "/api/v2/projects/shop/environments/production").json();
  for (const char* key : {"apiKey", "mobileKey", "_id"}) {
    const std::string credential(production.at(key).as_string());
    EXPECT_EQ(send("GET", "/api/v2/projects", "Authorization: " + credential + "\r\n").status, 401)
        << key;
  }
  EXPECT_EQ(send("GET", "/api/v2/projects", "").status, 401);
  EXPECT_EQ(send("GET", "/api/v2/projects", "Authorization: Bearer " + token() + "\r\n").status,
            200);
  using enum catalog::Role;
  EXPECT_EQ(as(Reader, "GET", "/api/v2/projects").status, 200);
  EXPECT_EQ(as(Reader, "POST", "/api/v2/projects", R"({"key":"x","name":"x"})").status, 403);
  EXPECT_EQ(as(Writer, "POST", "/api/v2/projects", R"({"key":"x","name":"x"})").status, 201);
  EXPECT_EQ(as(Writer, "POST", "/api/internal/sql", R"({"query":"SELECT 1"})").status, 403);
  EXPECT_EQ(as(Writer, "POST", "/api/internal/setup-link").status, 403);
}

TEST_F(ApiTest, TokensAreMadeShownOnceAndRemoved) {
  const Answer made = api("POST", "/api/v2/tokens", R"({"name":"ci","role":"reader"})");
  ASSERT_EQ(made.status, 201) << made.body;
  const std::string secret(made.json().at("token").as_string());
  const std::string fields = "Authorization: " + secret + "\r\n";
  EXPECT_EQ(send("GET", "/api/v2/projects", fields).status, 200);
  EXPECT_EQ(send("GET", "/api/v2/tokens", fields).status, 403);
  const Answer listed = api("GET", "/api/v2/tokens");
  EXPECT_EQ(listed.json().at("totalCount").as_int64(), 2) << "and the one of this machine";
  EXPECT_EQ(listed.body.find("api-"), std::string::npos);
  const std::string id(made.json().at("_id").as_string());
  EXPECT_EQ(api("DELETE", "/api/v2/tokens/" + id).status, 204);
  EXPECT_EQ(api("DELETE", "/api/v2/tokens/" + id).status, 404);
  EXPECT_EQ(send("GET", "/api/v2/projects", fields).status, 401);
  EXPECT_EQ(api("POST", "/api/v2/tokens", R"({"name":"ci","role":"owner"})").status, 400);
}

TEST_F(ApiTest, EnvironmentsOfFlagsAreChosenByRepeatedOrListedKeys) {
  ASSERT_EQ(api("POST", "/api/v2/flags/shop", R"({"key":"a","name":"A"})").status, 201);
  const auto shown = [&](const std::string& query) {
    const auto item = api("GET", "/api/v2/flags/shop" + query).json().at("items").at(0);
    const auto* environments = item.as_object().if_contains("environments");
    return environments == nullptr ? 0 : environments->as_object().size();
  };
  EXPECT_EQ(shown(""), 0u);
  EXPECT_EQ(shown("?env=test"), 1u);
  EXPECT_EQ(shown("?env=test&env=production"), 2u);
  EXPECT_EQ(shown("?env=test%2Cproduction"), 2u);
  EXPECT_EQ(shown("?env=moon"), 0u);
}

TEST_F(ApiTest, BadInputIsRefusedInTheOneErrorShape) {
  const auto expect_refused = [&](int status, const Answer& answer) {
    EXPECT_EQ(answer.status, status) << answer.body;
    EXPECT_FALSE(answer.json().at("code").as_string().empty());
    EXPECT_FALSE(answer.json().at("message").as_string().empty());
  };
  expect_refused(400, api("POST", "/api/v2/projects", "{"));
  expect_refused(400, api("POST", "/api/v2/projects", "[]"));
  expect_refused(400, api("POST", "/api/v2/projects", R"({"key":"a b","name":"x"})"));
  expect_refused(400, api("POST", "/api/v2/projects", R"({"key":"a","name":""})"));
  expect_refused(400, api("POST", "/api/v2/projects",
                          R"({"key":"a","name":")" + std::string(257, 'x') + "\"}"));
  expect_refused(400,
                 api("POST", "/api/v2/flags/shop",
                     R"({"key":"a","name":"A","description":")" + std::string(9'000, 'x') + "\"}"));
  expect_refused(400, api("POST", "/api/v2/flags/shop", R"({"key":"a","name":"A","tags":[""]})"));
  expect_refused(
      400, api("POST", "/api/v2/flags/shop",
               R"({"key":"a","name":"A","variations":[{"value":9007199254740993},{"value":1}]})"));
  expect_refused(400, api("POST", "/api/v2/projects/shop/environments",
                          R"({"key":"a","name":"A","color":"red"})"));
  expect_refused(400, api("GET", "/api/v2/projects?limit=x"));
  expect_refused(404, api("GET", "/api/v2/projects/nope"));
  expect_refused(404, api("POST", "/api/v2/flags/nope", R"({"key":"a","name":"A"})"));
  expect_refused(404, api("GET", "/api/v2/nothing/here"));
  expect_refused(413, api("POST", "/api/v2/projects", std::string((1 << 20) + 1, ' ')));
  EXPECT_EQ(
      api("POST", "/api/internal/sql", std::string(70'000, ' ')).json().at("code").as_string(),
      "request_entity_too_large");
  expect_refused(404, api("GET", "/api/v2/projects/shop/environments/moon/sdks"));
  expect_refused(503, api("GET", "/api/v2/projects/shop/environments/production/sdks"));
  expect_refused(400, api("GET", "/api/internal/health?project=shop"));
  expect_refused(404, api("GET", "/api/internal/health?project=shop&environment=moon"));
  expect_refused(400, api("GET", "/api/v2/usage/evaluations/shop/production/a?from=5&to=5"));
  expect_refused(400, api("GET", "/api/v2/usage/evaluations/shop/production/a?from=x"));
  expect_refused(400, api("GET", "/api/v2/usage/evaluations/shop/production/a?from=0"));
}

TEST_F(ApiTest, WhatIsEditedIsServedByTheReadingSide) {
  ASSERT_EQ(api("POST", "/api/v2/flags/shop", R"({"key":"a","name":"A"})").status, 201);
  const auto production = api("GET", "/api/v2/projects/shop/environments/production").json();
  control_.reset();  // publishes what waits
  auto environments = environment::Environments::start({.state_path = folder_ / "gateway"}, *log_,
                                                       io::posix_file_system(), clock_, registry_);
  ASSERT_TRUE(environments);
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Result<void>> read;
  (*environments)->read_to_end([&](Result<void> result) {
    const std::lock_guard lock(mutex);
    read = std::move(result);
    changed.notify_one();
  });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return read.has_value(); });
  const auto id = (*environments)
                      ->find(environment::CredentialKind::SdkKey,
                             std::string(production.at("apiKey").as_string()));
  ASSERT_TRUE(id);
  EXPECT_TRUE((*environments)->flag_set(*id)->flags.contains("a"));
}

TEST_F(ApiTest, ASessionChangesThingsFromItsOwnPageOnly) {
  const auto said = json::parse(control_->announcement());
  ASSERT_TRUE(said);
  const std::string path(said->at("setupPath").as_string());
  EXPECT_EQ(send("HEAD", path, "").status, 200) << "looking at the link does not use it up";
  const Answer entered = send("GET", path, "");
  ASSERT_EQ(entered.status, 303);
  EXPECT_EQ(entered.field("Location"), "/ui/");
  const std::string cookie = entered.field("Set-Cookie");
  EXPECT_NE(cookie.find("; HttpOnly"), std::string::npos);
  EXPECT_NE(cookie.find("; SameSite=Lax"), std::string::npos);
  EXPECT_EQ(send("GET", path, "").status, 401) << "once";

  const std::string session = "Cookie: other=1; " + cookie.substr(0, cookie.find(';')) + "\r\n";
  EXPECT_EQ(send("GET", "/api/internal/session", session).status, 200);
  const std::string body = R"({"key":"x","name":"x"})";
  EXPECT_EQ(send("POST", "/api/v2/projects", session, body).status, 403);
  EXPECT_EQ(send("POST", "/api/v2/projects", session + "Origin: http://evil.test\r\n", body).status,
            403);
  EXPECT_EQ(send("POST", "/api/v2/projects", session + "Origin: null\r\n", body).status, 403);
  EXPECT_EQ(
      send("POST", "/api/v2/projects", session + "Origin: http://flags.test\r\n", body).status,
      201);

  const std::string own = session + "Origin: http://flags.test\r\n";
  EXPECT_EQ(send("DELETE", "/api/internal/session", own).status, 204);
  EXPECT_EQ(send("GET", "/api/internal/session", session).status, 401);
}

TEST_F(ApiTest, ASetupLinkCanBeMadeAnew) {
  const Answer made = api("POST", "/api/internal/setup-link");
  ASSERT_EQ(made.status, 201);
  EXPECT_EQ(send("GET", std::string(made.json().at("setupPath").as_string()), "").status, 303);
  EXPECT_EQ(send("GET", "/ui/setup", "").status, 400);
  EXPECT_EQ(send("GET", "/ui/setup?token=nope", "").status, 401);
}

TEST_F(ApiTest, UsageAndHealthComeFromTheResults) {
  const auto environment = catalog::Catalog::open(folder_ / "catalog.db", clock_)
                               ->environment(ProjectId{1}, "production");
  ASSERT_TRUE(environment);
  const std::uint64_t id = to_number(environment->id);
  auto writer = analytics::ResultsWriter::open(folder_ / "results.db", 1, registry_);
  ASSERT_TRUE(writer);
  ASSERT_TRUE((*writer)->make_current());
  const MicrosUtc minute = 1'700'000'040ll * kMicrosPerSecond;
  using analytics::ResultRow;
  using analytics::Table;
  const auto point = [&](std::int64_t variation, std::int64_t version, std::int64_t count) {
    return ResultRow{.table = Table::Evaluations,
                     .environment = id,
                     .minute = minute,
                     .text = "a",
                     .variation = variation,
                     .version = version,
                     .values = {count},
                     .position = 1};
  };
  const std::vector<ResultRow> rows = {point(0, 1, 3), point(0, 2, 4), point(1, 2, 5),
                                       point(analytics::kNone, analytics::kNone, 2)};
  ASSERT_TRUE((*writer)->publish({.log_id = {1, 2}, .partition = 0, .position = 1, .rows = rows}));
  const Answer usage =
      api("GET", "/api/v2/usage/evaluations/shop/production/a?from=1700000000000&to=1700000100000");
  EXPECT_EQ(usage.status, 200);
  EXPECT_EQ(usage.body, R"({"metadata":[{"key":"null"},{"key":"0"},{"key":"1"}],)"
                        R"("series":[{"time":1700000040000,"0":7,"1":5,"null":2}],"_links":{}})");
  const Answer none =
      api("GET", "/api/v2/usage/evaluations/shop/production/a?from=1700000100000&to=1700000200000");
  EXPECT_EQ(none.body, R"({"metadata":[],"series":[],"_links":{}})");

  auto payloads = log_->open_appender("payloads", {.partitions = 2});
  ASSERT_TRUE(payloads);
  log::Batch batch;
  for (int i = 0; i < 3; ++i) batch.add({"\x01\x01payload"});
  ASSERT_TRUE((*payloads)->append_and_wait(1, std::move(batch)));
  const Answer health = api("GET", "/api/internal/health?project=shop&environment=production");
  ASSERT_EQ(health.status, 200);
  const auto shape = health.json();
  EXPECT_EQ(shape.at("lag").at("payloads").as_int64(), 3) << health.body;
  EXPECT_EQ(shape.at("payloads").at("accepted").as_int64(), 0);
  EXPECT_EQ(shape.at("lake").at("committedAt").as_int64(), 0);
}

TEST_F(ApiTest, LiveDataBeginsAtOnceAndFollowsEdits) {
  Client client(folder_ / "control.sock");
  client.send(
      "GET /api/internal/live?project=shop&environment=production HTTP/1.1\r\nHost: flags.test\r\n"
      "Authorization: " +
      token() + "\r\n\r\n");
  std::string got = client.read_until("event: sdk");
  EXPECT_NE(got.find("Content-Type: text/event-stream"), std::string::npos) << got;
  for (const char* kind : {"health", "evaluations", "flags"})
    EXPECT_NE(got.find(std::string("event: ") + kind + "\ndata: {"), std::string::npos) << got;
  EXPECT_NE(got.find(R"({"revision":1})"), std::string::npos) << got;
  ASSERT_EQ(api("POST", "/api/v2/flags/shop", R"({"key":"a","name":"A"})").status, 201);
  got = client.read_until(R"({"revision":2})");
  EXPECT_NE(got.find("event: flags\ndata: {\"revision\":2}"), std::string::npos) << got;
  EXPECT_EQ(send("GET", "/api/internal/live?project=shop&environment=production", "").status, 401);
}

TEST_F(ApiTest, QueriesGoToTheRunner) {
  EXPECT_EQ(api("POST", "/api/internal/sql", R"({"query":"SELECT 1"})").status, 503);
  Settings with_lake = settings();
  with_lake.sql = [](std::string query) -> Result<std::string> {
    if (query == "bad") return fail(ErrorKind::InvalidArgument, "no such query");
    return R"({"columns":["a"],"rows":[[")" + query + R"("]],"truncated":false})";
  };
  start(with_lake);
  const Answer answer = api("POST", "/api/internal/sql", R"({"query":"SELECT 1"})");
  EXPECT_EQ(answer.body, R"({"columns":["a"],"rows":[["SELECT 1"]],"truncated":false})");
  EXPECT_EQ(api("POST", "/api/internal/sql", R"({"query":"bad"})").status, 400);
  EXPECT_EQ(api("POST", "/api/internal/sql", R"({"query":""})").status, 400);
  EXPECT_EQ(api("POST", "/api/internal/sql", "{}").status, 400);
}

TEST_F(ApiTest, ThePageIsServedWithItsPolicy) {
  for (const char* path : {"/ui/", "/ui/index.html", "/ui/flags/a"}) {
    const Answer page = send("GET", path, "");
    EXPECT_EQ(page.status, 200) << path;
    EXPECT_NE(page.body.find("<title>Flagstream"), std::string::npos) << path;
    EXPECT_NE(page.field("Content-Security-Policy").find("script-src 'self'"), std::string::npos);
  }
  const Answer script = send("GET", "/ui/assets/a-1.js", "");
  EXPECT_EQ(script.field("Content-Type"), "text/javascript; charset=utf-8");
  EXPECT_NE(script.field("Cache-Control").find("immutable"), std::string::npos);
  EXPECT_EQ(
      send("GET", "/ui/assets/a-1.js", "If-None-Match: " + script.field("ETag") + "\r\n").status,
      304);
  EXPECT_EQ(send("GET", "/ui/assets/none.js", "").status, 404);
  EXPECT_EQ(send("GET", "/ui/..%2fadmin-token", "").body.find("api-"), std::string::npos);
}

TEST_F(ApiTest, ARestartKeepsTheLocalTokenAndWhatWasEdited) {
  const std::string before = token();
  start();
  EXPECT_EQ(token(), before);
  EXPECT_EQ(api("GET", "/api/v2/projects/shop").status, 200);
  using std::filesystem::perms;
  for (const char* secret : {"admin-token", "catalog.db"}) {
    const auto mode = std::filesystem::status(folder_ / secret).permissions();
    EXPECT_EQ(mode & (perms::group_all | perms::others_all), perms::none) << secret;
  }
}

// What SDKs get of the demo is what examples/shop expects, but for what is random or only the
// editor's.
TEST_F(ControlTest, TheDemoServesTheFlagsOfTheExample) {
  Settings demo = settings();
  demo.demo = true;
  start(demo);
  start(demo);  // seeding again changes nothing
  const auto said = json::parse(control_->announcement());
  ASSERT_TRUE(said);
  EXPECT_TRUE(std::string_view(said->at("sdkKey").as_string()).starts_with("sdk-"));
  EXPECT_TRUE(std::string_view(said->at("mobileKey").as_string()).starts_with("mob-"));
  EXPECT_EQ(said->at("clientSideId").as_string().size(), 24u);

  const auto expected = json::parse(
      *io::posix_file_system().read_file(FLAGSTREAM_SOURCE_DIR "/examples/shop/flags.json"));
  ASSERT_TRUE(expected);
  auto catalog = catalog::Catalog::open(folder_ / "catalog.db", clock_);
  const auto items = catalog->items();
  ASSERT_TRUE(items);
  const auto environment = catalog->environment(catalog->project("demo")->id, "production");
  std::size_t seen = 0;
  for (const catalog::Item& item : *items) {
    if (item.kind != catalog::ItemKind::Flag || item.environment != environment->id) continue;
    ++seen;
    json::Object ours = json::parse(item.document)->as_object();
    json::Object theirs = expected->at("flags").at(item.key).as_object();
    for (const char* each : {"version", "salt", "clientSideAvailability", "clientSide",
                             "trackEvents", "trackEventsFallthrough"}) {
      ours.erase(each);
      theirs.erase(each);
    }
    for (json::Object* flag : {&ours, &theirs}) {
      for (json::Value& rule : (*flag)["rules"].as_array()) {
        rule.as_object().erase("id");
        rule.as_object().erase("trackEvents");
      }
      if (flag->at("fallthrough").as_object().contains("rollout"))
        (*flag)["fallthrough"].at("rollout").as_object().erase("kind");
    }
    EXPECT_EQ(json::Value(ours), json::Value(theirs)) << item.document;
  }
  EXPECT_EQ(seen, 5u);
}

TEST_F(ControlTest, HealthTellsHowFarTheLakeIs) {
  Settings with_lake = settings();
  with_lake.lake = []() -> Result<LakeStatus> {
    return LakeStatus{
        .version = 7, .committed_at = 1'700'000'000'123'456, .next_offsets = {{0, 2}}};
  };
  start(with_lake);
  ASSERT_EQ(api("POST", "/api/v2/projects", kShop).status, 201);
  auto events = log_->open_appender("events", {.partitions = 2});
  ASSERT_TRUE(events);
  for (const log::Partition partition : {0u, 1u}) {
    log::Batch batch;
    for (int i = 0; i < 3; ++i) batch.add({"\x03\x01event"});
    ASSERT_TRUE((*events)->append_and_wait(partition, std::move(batch)));
  }
  const auto health = api("GET", "/api/internal/health?project=shop&environment=test").json();
  EXPECT_EQ(health.at("lag").at("lake").as_int64(), 1 + 3);
  EXPECT_EQ(health.at("lake").at("version").as_int64(), 7);
  EXPECT_EQ(health.at("lake").at("committedAt").as_int64(), 1'700'000'000'123);
}

TEST_F(ControlTest, WithoutABuiltPageItSaysSo) {
  Settings bare = settings();
  bare.web_folder = folder_ / "nowhere";
  start(bare);
  const Answer page = send("GET", "/ui/", "");
  EXPECT_EQ(page.status, 200);
  EXPECT_NE(page.body.find("not built"), std::string::npos);
}

TEST_F(ControlTest, TwoControlsDoNotShareALog) {
  start();
  Settings second = settings();
  second.socket_path = folder_ / "second.sock";
  second.hand_over_patience = std::chrono::milliseconds(0);
  const auto refused = Control::start(second, *log_, io::posix_file_system(), clock_, registry_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::Conflict);
}

}  // namespace
}  // namespace flagstream::control
