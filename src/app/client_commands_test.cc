// The subcommands against a running control.
#include "app/client_commands.h"

#include <sstream>

#include <gmock/gmock.h>

#include "control/test_control.h"

namespace flagstream::app {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ClientCommandsTest : public control::ControlTest {
 protected:
  void SetUp() override {
    ControlTest::SetUp();
    std::filesystem::create_directories(folder_ / "run");
    control::Settings in_folder = settings();
    in_folder.socket_path = folder_ / "run/control.sock";
    in_folder.admin_token_path = folder_ / "run/admin-token";
    start(in_folder);
  }

  Transport transport() const {
    return transport_to({.server = {}, .token = {}, .data_folder = folder_});
  }
  std::string out() { return std::exchange(out_, std::ostringstream()).str(); }
  std::string err() { return std::exchange(err_, std::ostringstream()).str(); }
  Console table() { return {out_, err_, Output::Table}; }
  Console json() { return {out_, err_, Output::Json}; }

  std::ostringstream out_, err_;
};

TEST_F(ClientCommandsTest, AFlagIsMadeListedTurnedAndRolledOut) {
  ASSERT_EQ(project_create(transport(), table(), "shop", ""), kExitDone) << err();
  const Place place;  // the only project, production
  ASSERT_EQ(flag_create(transport(), table(), place,
                        {.key = "banner",
                         .name = {},
                         .variations = {"red", "\"blue\"", "7"},
                         .client_side = true}),
            kExitDone)
      << err();
  ASSERT_EQ(flag_switch(transport(), table(), place, "banner", Switch::On), kExitDone) << err();
  ASSERT_EQ(flag_rollout(transport(), table(), place, "banner", {"red=12.5", "blue=80", "2=7.5"}),
            kExitDone)
      << err();
  out();
  ASSERT_EQ(flag_list(transport(), table(), place), kExitDone);
  EXPECT_EQ(out(), "KEY     STATE  KIND          NAME\nbanner  on     multivariate  banner\n");

  ASSERT_EQ(flag_list(transport(), json(), place), kExitDone);
  const auto listed = json::parse(out());
  ASSERT_TRUE(listed);
  EXPECT_EQ(listed->at(0).at("variations").at(0).at("value").as_string(), "red");
  EXPECT_EQ(listed->at(0).at("variations").at(2).at("value").as_int64(), 7);
  EXPECT_TRUE(listed->at(0).at("clientSideAvailability").at("usingMobileKey").as_bool());

  ASSERT_EQ(flag_switch(transport(), json(), place, "banner", Switch::Off), kExitDone);
  const auto flag = json::parse(out());
  const auto& production = flag->at("environments").at("production");
  EXPECT_FALSE(production.at("on").as_bool());
  const auto& weights = production.at("fallthrough").at("rollout").at("variations").as_array();
  ASSERT_EQ(weights.size(), 3u);
  EXPECT_EQ(weights[0].at("weight").as_int64(), 12'500);
  EXPECT_EQ(weights[2].at("weight").as_int64(), 7'500);
}

TEST_F(ClientCommandsTest, ProjectsAndEnvironmentsAreMadeAndListed) {
  ASSERT_EQ(project_create(transport(), table(), "shop", "The shop"), kExitDone) << err();
  ASSERT_EQ(environment_create(transport(), table(), {}, "staging", "Staging"), kExitDone) << err();
  out();
  ASSERT_EQ(environment_list(transport(), table(), {}), kExitDone);
  EXPECT_THAT(out(), HasSubstr("staging     Staging "));
  ASSERT_EQ(project_list(transport(), table()), kExitDone);
  EXPECT_EQ(out(), "KEY   NAME\nshop  The shop\n");
  ASSERT_EQ(keys(transport(), table(), {.project = {}, .environment = "staging"}), kExitDone);
  const std::string shown = out();
  EXPECT_THAT(shown, HasSubstr("SDK key         sdk-"));
  EXPECT_THAT(shown, HasSubstr("mobile key      mob-"));
}

TEST_F(ClientCommandsTest, AKeyIsRotatedAndTheOldOneEnded) {
  ASSERT_EQ(project_create(transport(), table(), "shop", ""), kExitDone) << err();
  out();
  ASSERT_EQ(keys_rotate(transport(), table(), {}, {.grace = "1h"}, clock_), kExitDone) << err();
  const std::string key = out();
  EXPECT_TRUE(key.starts_with("sdk-"));
  ASSERT_EQ(keys_rotate(transport(), table(), {}, {.mobile = true, .grace = {}}, clock_),
            kExitDone);
  EXPECT_TRUE(out().starts_with("mob-"));
  ASSERT_EQ(keys(transport(), table(), {}), kExitDone);
  const std::string shown = out();
  EXPECT_THAT(shown, HasSubstr("SDK key         " + key));
  EXPECT_THAT(shown, HasSubstr("\nold SDK key     sdk-"));
  EXPECT_THAT(shown, Not(HasSubstr("old mobile key")));
  const std::string id = shown.substr(shown.find(", ID ") + 5, 24);
  ASSERT_EQ(keys_end(transport(), table(), {}, id), kExitDone) << err();
  EXPECT_EQ(keys_end(transport(), table(), {}, id), kExitNotFound);
  out();
  ASSERT_EQ(keys(transport(), table(), {}), kExitDone);
  EXPECT_THAT(out(), Not(HasSubstr("old SDK key")));
  for (const char* grace : {"soon", "-1h", "0s", "9999999h"})
    EXPECT_EQ(keys_rotate(transport(), table(), {}, {.grace = grace}, clock_), kExitUsage) << grace;
}

TEST_F(ClientCommandsTest, ASetupLinkIsAWholeAddress) {
  ASSERT_EQ(
      setup_link(transport(), table(),
                 address_of({.server = "http://flags.test/", .token = {}, .data_folder = {}})),
      kExitDone)
      << err();
  EXPECT_THAT(out(), HasSubstr("http://flags.test/ui/setup?token="));
  write(folder_ / "run/serving.json", R"({"url":"http://127.0.0.1:9"})");
  EXPECT_EQ(address_of({.server = {}, .token = {}, .data_folder = folder_}), "http://127.0.0.1:9");
}

TEST_F(ClientCommandsTest, WhatGoesWrongHasItsOwnStatus) {
  EXPECT_EQ(flag_list(transport(), table(), {}), kExitNotFound);
  EXPECT_THAT(err(), HasSubstr("no project yet"));
  ASSERT_EQ(project_create(transport(), table(), "shop", ""), kExitDone);
  EXPECT_EQ(project_create(transport(), table(), "shop", ""), kExitConflict);
  EXPECT_EQ(project_create(transport(), table(), "a b", ""), kExitUsage);
  EXPECT_EQ(flag_switch(transport(), table(), {}, "nope", Switch::On), kExitNotFound);
  ASSERT_EQ(flag_create(transport(), table(), {}, {.key = "a", .name = {}, .variations = {}}),
            kExitDone);
  for (const char* bad : {"true", "true=x", "true=101", "maybe=100", "true=-1"})
    EXPECT_EQ(flag_rollout(transport(), table(), {}, "a", {bad}), kExitUsage) << bad;
  EXPECT_EQ(flag_rollout(transport(), table(), {}, "a", {"true=50"}), kExitUsage)
      << "not 100 together";
  ASSERT_EQ(project_create(transport(), table(), "second", ""), kExitDone);
  EXPECT_EQ(flag_list(transport(), table(), {}), kExitUsage) << "which of the two?";
  EXPECT_EQ(flag_list(transport(), table(), {.project = "shop"}), kExitDone);

  const Transport stranger = socket_transport(folder_ / "run/control.sock", "api-nobody");
  err();
  EXPECT_EQ(project_list(stranger, table()), kExitFailed);
  EXPECT_THAT(err(), HasSubstr("give --token"));
  EXPECT_EQ(project_list(socket_transport(folder_ / "none.sock", ""), table()), kExitFailed);
  EXPECT_THAT(err(), HasSubstr("does not answer"));
  EXPECT_THAT(err(), Not(HasSubstr("api-")));
}

}  // namespace
}  // namespace flagstream::app
