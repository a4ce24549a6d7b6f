#include "gateway/gateway.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "environment/test_records.h"
#include "http/test_client.h"
#include "log/local_log.h"

namespace flagstream::gateway {
namespace {

using namespace environment::testing_records;
using http::testing_client::Client;

// The whole role over a log in a temporary folder.
class GatewayTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "gateway_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    log_ = log::open_local_log(
        {.folder = folder_ + "/log", .segment_bytes = 1 << 20, .pool_segments = 0},
        io::posix_file_system(), clock_, registry_);
  }
  void TearDown() override {
    gateway_.reset();
    config_.reset();
    std::filesystem::remove_all(folder_);
  }
  void start(std::chrono::milliseconds deadline, bool with_status_page = false) {
    Settings settings;
    settings.listen = "127.0.0.1:0";
    settings.state_path = folder_ + "/state";
    settings.catch_up_deadline = deadline;
    settings.control_socket = folder_ + "/control.sock";
    settings.gateway_id = "g1";
    settings.payloads.partitions = 2;
    settings.status_page = with_status_page;
    settings.version = "1.2.3";
    auto started = Gateway::start(settings, *log_, io::posix_file_system(), clock_, registry_);
    ASSERT_TRUE(started) << started.error().what;
    gateway_ = *std::move(started);
  }
  void append(const std::vector<std::string>& records) {
    if (config_ == nullptr) config_ = *log_->open_appender("config", {.partitions = 1});
    log::Batch batch;
    for (const std::string& each : records) batch.add({each});
    ASSERT_TRUE(config_->append_and_wait(0, std::move(batch)));
  }
  std::string ask(const std::string& line, const std::string& fields = "",
                  const std::string& body = "") {
    Client client(gateway_->address());
    client.send(line + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + fields +
                "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return client.read_all();
  }
  int status_of(const std::string& line, const std::string& fields = "",
                const std::string& body = "") {
    return std::stoi(ask(line, fields, body).substr(9, 3));
  }

  std::string folder_;
  SystemClock clock_;
  telemetry::Registry registry_;
  std::unique_ptr<log::Log> log_;
  std::unique_ptr<log::Appender> config_;
  std::unique_ptr<Gateway> gateway_;
};

constexpr char kKey[] = "Authorization: sdk-7\r\n";
constexpr char kOther[] = "Authorization: sdk-8\r\n";

TEST_F(GatewayTest, BeforeAnyConfigurationNobodyIsSentAwayForGood) {
  start(std::chrono::milliseconds(20));
  EXPECT_EQ(status_of("GET /readyz"), 503);
  EXPECT_EQ(status_of("GET /livez"), 200);
  EXPECT_EQ(status_of("POST /bulk", kKey, "[]"), 503);
  EXPECT_EQ(status_of("POST /events/bulk/client-7", "", "[]"), 503);
  EXPECT_EQ(status_of("GET /all", kKey), 503);
  EXPECT_EQ(status_of("GET /sdk/latest-all", kKey), 503);
  config_ = *log_->open_appender("config", {.partitions = 1});
  EXPECT_EQ(status_of("POST /bulk", kKey, "[]"), 503) << "an empty topic says nothing";
  append({std::string("\x63\x01", 2)});
  EXPECT_EQ(status_of("POST /bulk", kKey, "[]"), 503) << "nor does a record of another kind";
}

TEST_F(GatewayTest, KnownCredentialsAreServedAndUnknownOnesRefused) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start(std::chrono::milliseconds(60'000));
  EXPECT_EQ(status_of("POST /bulk", kKey, "[]"), 202);
  EXPECT_EQ(status_of("POST /events/bulk/client-7", "", "[]"), 202);
  EXPECT_EQ(status_of("GET /sdk/latest-all", kKey), 200);
  EXPECT_EQ(status_of("GET /readyz"), 200);
  EXPECT_EQ(status_of("POST /bulk", kOther, "[]"), 401);
  EXPECT_EQ(status_of("POST /mobile", kKey, "[]"), 401);
  EXPECT_EQ(status_of("POST /events/bulk/client-8", "", "[]"), 404);
  EXPECT_EQ(status_of("GET /sdk/latest-all", kOther), 401);
}

TEST_F(GatewayTest, AKeyIsKnownAsSoonAsItWasAppended) {
  append({change(environment_item(1))});
  start(std::chrono::milliseconds(60'000));
  EXPECT_EQ(status_of("POST /bulk", kOther, "[]"), 401);
  environment::proto::Item item = environment_item(2);
  auto document = *environment::decode_environment(item.document());
  document.mutable_credentials(0)->set_sha256(sha256("sdk-8"));
  item.set_version(2);
  item.set_document(*environment::encode_environment(document));
  append({change(item)});
  EXPECT_EQ(status_of("POST /bulk", kOther, "[]"), 202);
}

TEST_F(GatewayTest, ClientSideSdksAreServed) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start(std::chrono::milliseconds(60'000));
  const std::string context = "eyJrZXkiOiJ1In0";  // {"key":"u"}
  EXPECT_EQ(status_of("GET /sdk/evalx/client-7/contexts/" + context), 200);
  EXPECT_EQ(status_of("GET /sdk/evalx/client-8/contexts/" + context), 404);
  EXPECT_EQ(status_of("GET /sdk/evalx/contexts/" + context, kKey), 200);
  EXPECT_EQ(status_of("GET /sdk/goals/client-7"), 200);
  EXPECT_EQ(status_of("GET /msdk/evalx/contexts/" + context, kKey), 401);
  EXPECT_EQ(status_of("OPTIONS /sdk/evalx/nobody/context"), 204);
  Client client(gateway_->address());
  client.send("GET /eval/client-7/" + context + " HTTP/1.1\r\nHost: x\r\n\r\n");
  client.read_until("event: put\ndata: {}\n\n");
}

TEST_F(GatewayTest, BrowsersCanReadWhateverAnEventRouteAnswers) {
  append({change(environment_item(1))});
  start(std::chrono::milliseconds(60'000));
  const std::string origin = "Origin: http://shop.example\r\n";
  for (const std::string& answer :
       {ask("OPTIONS /events/bulk/nobody", origin), ask("POST /events/bulk/client-7", origin, "[]"),
        ask("POST /events/bulk/client-7", origin, "["),
        ask("POST /events/bulk/nobody", origin, "[]"), ask("PUT /events/bulk/client-7", origin),
        ask("POST /events/diagnostic/client-7", origin, std::string((5 << 20) + 1, ' '))}) {
    EXPECT_NE(answer.find("Access-Control-Allow-Origin: http://shop.example\r\n"),
              std::string::npos)
        << answer.substr(0, 500);
    EXPECT_NE(answer.find("\r\nDate: "), std::string::npos);
  }
  EXPECT_TRUE(ask("OPTIONS /events/bulk/nobody", origin).starts_with("HTTP/1.1 204 "));
}

TEST_F(GatewayTest, TheStatusPageIsThereOnlyIfItIsWanted) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start(std::chrono::milliseconds(60'000));
  EXPECT_EQ(status_of("GET /status"), 404);
  gateway_.reset();
  start(std::chrono::milliseconds(60'000), true);
  EXPECT_EQ(status_of("GET /sdk/latest-all", kKey), 200);
  const std::string page = ask("GET /status");
  EXPECT_NE(
      page.find(
          R"({"environments":{"p/production":{"sdkKey":"*****","envId":"client-7","envKey":"production","envName":"","projKey":"p","projName":"p","status":"connected","connectionStatus":{"state":"VALID","stateSince":)"),
      std::string::npos)
      << page;
  EXPECT_NE(page.find(R"(}},"status":"healthy","version":"1.2.3","clientVersion":"1.2.3"})"),
            std::string::npos)
      << page;
  EXPECT_EQ(page.find("sdk-7"), std::string::npos);
  EXPECT_EQ(page.find("lastError"), std::string::npos);
  EXPECT_EQ(status_of("GET /sdks/7"), 404) << "not for strangers";
}

TEST_F(GatewayTest, TheStatusIsDegradedWithoutConfiguration) {
  start(std::chrono::milliseconds(20), true);
  const std::string page = ask("GET /status");
  EXPECT_NE(page.find(R"({"environments":{},"status":"degraded")"), std::string::npos) << page;
}

TEST_F(GatewayTest, OperatorsAreToldWhichSdksAreConnected) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start(std::chrono::milliseconds(60'000));
  const auto operators = *http::Server::start({"operators", "127.0.0.1:0", 1, {}},
                                              gateway_->operator_routes(), clock_, registry_);
  const auto list = [&](const std::string& environment) {
    Client client(operators->address());
    client.send("GET /sdks/" + environment + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    return client.read_all();
  };
  EXPECT_NE(list("7").find(R"({"items":[],"instances":0,"uncounted":0})"), std::string::npos);
  EXPECT_TRUE(list("7x").starts_with("HTTP/1.1 400 "));
  Client stream(gateway_->address());
  stream.send("GET /all HTTP/1.1\r\nHost: x\r\nUser-Agent: GoClient/7.1\r\n" + std::string(kKey) +
              "\r\n");
  stream.read_until("}}\n\n\r\n");
  ask("GET /sdk/latest-all", "User-Agent: PHPClient/6\r\n" + std::string(kKey));
  const std::string both = list("7");
  EXPECT_NE(both.find(R"({"name":"GoClient","version":"7.1")"), std::string::npos) << both;
  EXPECT_NE(both.find(R"({"name":"PHPClient","version":"6")"), std::string::npos) << both;
  EXPECT_NE(both.find(R"(],"instances":2,)"), std::string::npos) << both;
  Client newer(gateway_->address());
  newer.send("GET /sdk/stream HTTP/1.1\r\nHost: x\r\nUser-Agent: NodeJSClient/9.13\r\n" +
             std::string(kKey) + "\r\n");
  newer.read_until("payload-transferred");
  EXPECT_NE(list("7").find(R"({"name":"NodeJSClient","version":"9.13")"), std::string::npos);
}

TEST_F(GatewayTest, PeopleAreToldWhenControlIsDown) {
  start(std::chrono::milliseconds(20));
  EXPECT_EQ(status_of("GET /ui/"), 503);
  EXPECT_EQ(status_of("GET /api/v2/flags"), 503);
  EXPECT_NE(ask("GET /").find("Location: /ui/\r\n"), std::string::npos);
  EXPECT_EQ(status_of("GET /nothing"), 404);
}

TEST_F(GatewayTest, AStreamEndsWhenTheGatewayStops) {
  append({change(environment_item(1)), change(flag(2, "a", 1))});
  start(std::chrono::milliseconds(60'000));
  Client client(gateway_->address());
  client.send("GET /all HTTP/1.1\r\nHost: x\r\n" + std::string(kKey) + "\r\n");
  client.read_until("}}\n\n\r\n");
  gateway_->stop(std::chrono::milliseconds(200));
  EXPECT_EQ(client.read_all(), "0\r\n\r\n(closed)");
}

}  // namespace
}  // namespace flagstream::gateway
