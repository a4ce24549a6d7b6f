#include "app/live_settings.h"

#include <optional>

#include <gtest/gtest.h>

namespace flagstream::app {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

Result<Effective> with(const Pairs& pairs) {
  Sources sources;
  sources.command_line = pairs;
  return load(sources);
}

class LiveSettingsTest : public testing::Test {
 protected:
  LiveSettings settings(Tells tells = Tells::Everything) {
    return LiveSettings(*with({}), [this] { return with(wanted); }, tells, registry);
  }
  bool reload(LiveSettings& live) {
    return live.reload([this](const Config& config) { applied = config; });
  }

  Pairs wanted;
  std::optional<Config> applied;
  telemetry::Registry registry;
};

TEST_F(LiveSettingsTest, TakesWhatMayChangeAndLeavesTheRest) {
  LiveSettings live = settings();
  wanted = {{"log.retention", "2d"},
            {"ingest.environment_bytes_per_second", "1MiB"},
            {"server.shards", "7"}};
  ASSERT_TRUE(reload(live));
  ASSERT_TRUE(applied);
  EXPECT_EQ(applied->retention, std::chrono::hours(48));
  EXPECT_EQ(applied->environment_bytes_per_second, 1u << 20);
  EXPECT_EQ(applied->shards, 0u);
  EXPECT_NE(live.show().find("log.retention = \"2d\"  # command line\n"), std::string::npos);
  EXPECT_NE(live.show().find("server.shards = \"0\"  # default\n"), std::string::npos);
  EXPECT_NE(registry.scrape().find("flagstream_app_settings_waiting 1\n"), std::string::npos);
}

TEST_F(LiveSettingsTest, SettingsThatCannotBeUsedChangeNothing) {
  LiveSettings live = settings();
  wanted = {{"log.retention", "2d"}, {"log.retention_size", "much"}};
  const std::string before = live.show();
  EXPECT_FALSE(reload(live));
  EXPECT_FALSE(applied);
  EXPECT_EQ(live.show(), before);
  EXPECT_NE(
      registry.scrape().find("flagstream_app_settings_reloads_total{outcome=\"refused\"} 1\n"),
      std::string::npos);
}

TEST_F(LiveSettingsTest, WhatWasTakenBackNoLongerWaits) {
  LiveSettings live = settings();
  wanted = {{"server.shards", "7"}};
  ASSERT_TRUE(reload(live));
  wanted = {};
  ASSERT_TRUE(reload(live));
  EXPECT_NE(registry.scrape().find("flagstream_app_settings_waiting 0\n"), std::string::npos);
}

TEST(Adopt, NamesEachKeyThatDiffersOnce) {
  Effective running = *with({});
  const Difference difference =
      adopt(running, *with({{"telemetry.level", "debug"}, {"server.listen", "127.0.0.1:1"}}));
  EXPECT_EQ(difference.adopted, std::vector<std::string>{"telemetry.level"});
  EXPECT_EQ(difference.waits_for_start, std::vector<std::string>{"server.listen"});
  EXPECT_EQ(running.config.telemetry_level, "debug");
  EXPECT_EQ(running.config.listen, "127.0.0.1:8080");
}

}  // namespace
}  // namespace flagstream::app
