// The routes that change an environment and its keys.
#include <gtest/gtest.h>

#include "catalog/catalog.h"
#include "control/test_control.h"

namespace flagstream::control {
namespace {

constexpr const char* kProduction = "/api/v2/projects/shop/environments/production";
constexpr const char* kKeys = "/api/internal/projects/shop/environments/production/keys";

class EnvironmentRoutesTest : public ControlTest {
 protected:
  void SetUp() override {
    ControlTest::SetUp();
    start();
    ASSERT_EQ(api("POST", "/api/v2/projects", R"({"key":"shop","name":"Shop"})").status, 201);
  }
  std::string in_an_hour() const {
    return std::to_string((clock_.now() + kMicrosPerHour) / kMicrosPerMilli);
  }
  std::string key(const char* member) {
    return std::string(api("GET", kProduction).json().at(member).as_string());
  }
  Answer as(catalog::Role role, std::string_view method, const std::string& target) {
    auto catalog = catalog::Catalog::open(folder_ / "catalog.db", clock_);
    return send(method, target,
                "Authorization: " + *catalog->access().create_token("test", role) + "\r\n");
  }
};

TEST_F(EnvironmentRoutesTest, AResetAnswersTheEnvironmentWithItsNewKey) {
  const std::string sdk = key("apiKey");
  const std::string mobile = key("mobileKey");
  const Answer reset = api("POST", std::string(kProduction) + "/apiKey");
  ASSERT_EQ(reset.status, 200) << reset.body;
  EXPECT_EQ(reset.json().at("key").as_string(), "production");
  EXPECT_EQ(reset.json().at("apiKey").as_string(), key("apiKey"));
  EXPECT_NE(key("apiKey"), sdk);
  EXPECT_EQ(key("mobileKey"), mobile);
  ASSERT_EQ(api("POST", std::string(kProduction) + "/mobileKey", "{}").status, 200);
  EXPECT_NE(key("mobileKey"), mobile);
  EXPECT_EQ(api("GET", kKeys).json().at("totalCount").as_int64(), 0);
}

TEST_F(EnvironmentRoutesTest, OldKeysAreListedUntilTheyExpireOrAreEnded) {
  const std::string sdk = key("apiKey");
  const std::string expiry = in_an_hour();
  ASSERT_EQ(api("POST", std::string(kProduction) + "/apiKey?expiry=" + expiry).status, 200);
  ASSERT_EQ(api("POST", std::string(kProduction) + "/mobileKey?expiry=" + expiry).status, 200);
  const auto listed = api("GET", kKeys).json();
  ASSERT_EQ(listed.at("totalCount").as_int64(), 2);
  const auto& old = listed.at("items").at(0);
  EXPECT_EQ(old.at("kind").as_string(), "sdk");
  EXPECT_EQ(old.at("value").as_string(), sdk);
  EXPECT_EQ(std::to_string(old.at("expiry").as_int64()), expiry);
  const std::string id(old.at("_id").as_string());
  EXPECT_EQ(api("DELETE", std::string(kKeys) + "/" + id).status, 204);
  EXPECT_EQ(api("DELETE", std::string(kKeys) + "/" + id).status, 404);
  EXPECT_EQ(api("GET", kKeys).json().at("totalCount").as_int64(), 1);
}

TEST_F(EnvironmentRoutesTest, AnExpiryThatIsNoneIsRefused) {
  const std::string before = key("apiKey");
  for (const char* expiry : {"0", "-1", "soon", "1", "99999999999999999999", "1e12", "12x"}) {
    const Answer refused = api("POST", std::string(kProduction) + "/apiKey?expiry=" + expiry);
    EXPECT_EQ(refused.status, 400) << expiry;
    EXPECT_EQ(refused.json().at("code").as_string(), "invalid_request");
  }
  EXPECT_EQ(key("apiKey"), before);
  EXPECT_EQ(api("POST", "/api/v2/projects/shop/environments/moon/apiKey").status, 404);
}

TEST_F(EnvironmentRoutesTest, APatchIsValidatedAndShown) {
  const Answer edited = api("PATCH", kProduction,
                            R"([{"op":"replace","path":"/secureMode","value":true},)"
                            R"({"op":"replace","path":"/defaultTtl","value":5}])");
  ASSERT_EQ(edited.status, 200) << edited.body;
  const auto shown = api("GET", kProduction).json();
  EXPECT_EQ(shown, edited.json());
  EXPECT_TRUE(shown.at("secureMode").as_bool());
  EXPECT_EQ(shown.at("defaultTtl").as_int64(), 5);
  EXPECT_EQ(api("PATCH", kProduction, R"({"defaultTtl":500})").status, 400);
  EXPECT_EQ(api("PATCH", kProduction, "{").status, 400);
  EXPECT_EQ(
      api("PATCH", kProduction, R"([{"op":"test","path":"/secureMode","value":false}])").status,
      409);
}

TEST_F(EnvironmentRoutesTest, AnEnvironmentIsMadeWithItsSettings) {
  const Answer made =
      api("POST", "/api/v2/projects/shop/environments",
          R"({"key":"eu","name":"EU","secureMode":true,"defaultTtl":7,"critical":true,)"
          R"("requireComments":true,"confirmChanges":true,"defaultTrackEvents":true})");
  ASSERT_EQ(made.status, 201) << made.body;
  for (const char* name :
       {"secureMode", "critical", "requireComments", "confirmChanges", "defaultTrackEvents"})
    EXPECT_TRUE(made.json().at(name).as_bool()) << name;
  EXPECT_EQ(made.json().at("defaultTtl").as_int64(), 7);
  EXPECT_EQ(api("POST", "/api/v2/projects/shop/environments",
                R"({"key":"us","name":"US","defaultTtl":1e12})")
                .status,
            400);
}

TEST_F(EnvironmentRoutesTest, WhoMayOnlyReadChangesNoKey) {
  using enum catalog::Role;
  EXPECT_EQ(as(Reader, "POST", std::string(kProduction) + "/apiKey").status, 403);
  EXPECT_EQ(as(Reader, "PATCH", kProduction).status, 403);
  EXPECT_EQ(as(Reader, "DELETE", std::string(kKeys) + "/x").status, 403);
  EXPECT_EQ(as(Reader, "GET", kKeys).status, 200);
  EXPECT_EQ(as(Writer, "POST", std::string(kProduction) + "/apiKey").status, 200);
}

}  // namespace
}  // namespace flagstream::control
