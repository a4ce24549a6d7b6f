// Edits of environments: labels, settings, keys that replace one another.
#include <filesystem>
#include <optional>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/hash.h"
#include "catalog/catalog.h"
#include "catalog/limits.h"
#include "catalog/schema.h"
#include "environment/config_record.h"

namespace flagstream::catalog {
namespace {

namespace proto = environment::proto;

constexpr MicrosUtc kNoon = 1'700'000'000'000'000;
constexpr MillisUtc kNoonMillis = kNoon / kMicrosPerMilli;
constexpr MillisUtc kHour = 3'600'000;

class EnvironmentStoreTest : public testing::Test {
 protected:
  EnvironmentStoreTest() : catalog_(*Catalog::open(":memory:", clock_)) {
    EXPECT_TRUE(catalog_.create_project({.key = "shop", .name = "Shop"}, actor_));
    EXPECT_TRUE(catalog_.outbox().remove_through(1 << 20));
  }

  Environment production() {
    return *catalog_.environment(catalog_.project("shop")->id, "production");
  }
  Result<Environment> edit(const char* body) {
    FS_TRY(const auto parsed, json::parse(body));
    FS_TRY(const EnvironmentPatch patch, parse_environment_patch(parsed));
    return catalog_.edit_environment("shop", "production", patch, actor_);
  }
  Result<Environment> reset(KeyKind kind, std::optional<MillisUtc> expiry = {}) {
    return catalog_.reset_key("shop", "production", kind, expiry, actor_);
  }
  void expect_refused(ErrorKind kind, const char* body) {
    const auto edited = edit(body);
    ASSERT_FALSE(edited) << body;
    EXPECT_EQ(edited.error().kind, kind) << body << ": " << edited.error().what;
  }
  std::vector<Change> outbox() { return *catalog_.outbox().oldest(1000, 1 << 20); }
  proto::Environment published() {
    return *environment::decode_environment(outbox().back().item.document);
  }
  // The expiry that gateways are told of; nullopt: the key opens nothing.
  std::optional<std::int64_t> published_expiry(proto::Credential::Kind kind,
                                               const std::string& key) {
    for (const auto& each : published().credentials()) {
      if (each.kind() == kind && each.sha256() == sha256(key)) return each.expires_us();
    }
    return std::nullopt;
  }
  std::string last_audit() {
    auto read = catalog_.database().prepare(
        "SELECT action, resource, comment, detail FROM audit ORDER BY sequence DESC");
    EXPECT_TRUE(*read->step());
    std::string all;
    for (int i = 0; i < 4; ++i) all += std::string(read->text(i)) + "|";
    return all;
  }

  FakeClock clock_{kNoon};
  Actor actor_{"tester"};
  Catalog catalog_;
};

TEST_F(EnvironmentStoreTest, AResetWithoutExpiryLeavesOneKey) {
  const Environment before = production();
  const auto after = reset(KeyKind::Sdk);
  ASSERT_TRUE(after) << after.error().what;
  EXPECT_TRUE(after->sdk_key.starts_with("sdk-"));
  EXPECT_NE(after->sdk_key, before.sdk_key);
  EXPECT_EQ(after->mobile_key, before.mobile_key);
  EXPECT_TRUE(after->expiring_keys.empty());
  EXPECT_EQ(after->version, before.version + 1);
  EXPECT_EQ(production(), *after);
  EXPECT_EQ(published().credentials_size(), 2);
  EXPECT_EQ(published_expiry(proto::Credential::SDK_KEY, after->sdk_key), 0);
  EXPECT_EQ(published_expiry(proto::Credential::SDK_KEY, before.sdk_key), std::nullopt);
  EXPECT_EQ(last_audit(), "updateApiKey|proj/shop:env/production|||");
}

TEST_F(EnvironmentStoreTest, AnOldKeyStaysUntilItsExpiry) {
  const Environment before = production();
  const auto after = reset(KeyKind::Mobile, kNoonMillis + kHour);
  ASSERT_TRUE(after) << after.error().what;
  EXPECT_TRUE(after->mobile_key.starts_with("mob-"));
  ASSERT_EQ(after->expiring_keys.size(), 1u);
  EXPECT_EQ(after->expiring_keys[0].key, before.mobile_key);
  EXPECT_EQ(after->expiring_keys[0].kind, KeyKind::Mobile);
  EXPECT_EQ(production(), *after);
  EXPECT_EQ(published_expiry(proto::Credential::MOBILE_KEY, after->mobile_key), 0);
  EXPECT_EQ(published_expiry(proto::Credential::MOBILE_KEY, before.mobile_key),
            (kNoonMillis + kHour) * kMicrosPerMilli);
  EXPECT_EQ(last_audit(), "updateMobileKey|proj/shop:env/production||{\"expiry\":1700003600000}|");
  EXPECT_EQ(outbox().back().item.document.find(before.mobile_key), std::string::npos);
}

TEST_F(EnvironmentStoreTest, SeveralOldKeysWaitUpToALimitAndLeaveOnceTheyHaveExpired) {
  for (std::size_t i = 0; i < kExpiringKeysMax; ++i) {
    const auto later = kNoonMillis + kHour * static_cast<MillisUtc>(kExpiringKeysMax - i);
    ASSERT_TRUE(reset(KeyKind::Sdk, later));
  }
  const auto& keys = production().expiring_keys;
  ASSERT_EQ(keys.size(), kExpiringKeysMax);
  EXPECT_TRUE(std::ranges::is_sorted(keys, {}, &ExpiringKey::expires));
  EXPECT_EQ(reset(KeyKind::Sdk, kNoonMillis + kHour).error().kind, ErrorKind::Conflict);
  EXPECT_TRUE(reset(KeyKind::Mobile, kNoonMillis + kHour)) << "each kind has its own limit";
  EXPECT_TRUE(reset(KeyKind::Sdk)) << "no key is added to those that wait";
  clock_.set(kNoon + kHour * kMicrosPerMilli);
  const auto after = reset(KeyKind::Sdk, kNoonMillis + 3 * kHour);
  ASSERT_TRUE(after) << after.error().what;
  EXPECT_EQ(after->expiring_keys.size(), kExpiringKeysMax) << "two were gone, one came";
  EXPECT_EQ(published().credentials_size(), 2 + static_cast<int>(kExpiringKeysMax));
}

TEST_F(EnvironmentStoreTest, AnExpiryThatIsNoTimeToComeIsRefused) {
  const Environment before = production();
  for (const MillisUtc expiry : {MillisUtc{0}, MillisUtc{-1}, kNoonMillis, kNoonMillis / 1000,
                                 kNoonMillis * 1000, INT64_MAX}) {
    const auto refused = reset(KeyKind::Sdk, expiry);
    ASSERT_FALSE(refused) << expiry;
    EXPECT_EQ(refused.error().kind, ErrorKind::InvalidArgument) << expiry;
  }
  EXPECT_EQ(production(), before);
  EXPECT_EQ(catalog_.reset_key("shop", "moon", KeyKind::Sdk, {}, actor_).error().kind,
            ErrorKind::NotFound);
}

TEST_F(EnvironmentStoreTest, AnExpiringKeyCanBeEndedBeforeItsTime) {
  ASSERT_TRUE(reset(KeyKind::Sdk, kNoonMillis + kHour));
  const ExpiringKey old = production().expiring_keys.at(0);
  EXPECT_EQ(catalog_.end_key("shop", "production", "x", actor_).error().kind, ErrorKind::NotFound);
  ASSERT_TRUE(catalog_.end_key("shop", "production", old.id, actor_));
  EXPECT_TRUE(production().expiring_keys.empty());
  EXPECT_EQ(published_expiry(proto::Credential::SDK_KEY, old.key), std::nullopt);
  EXPECT_EQ(catalog_.end_key("shop", "production", old.id, actor_).error().kind,
            ErrorKind::NotFound);
}

TEST_F(EnvironmentStoreTest, APatchChangesLabelsAndSettings) {
  const auto after = edit(
      R"([{"op":"replace","path":"/name","value":"Live"},{"op":"add","path":"/tags/-","value":"a"},)"
      R"({"op":"add","path":"/tags/0","value":"b"},{"op":"replace","path":"/tags/1","value":"c"},)"
      R"({"op":"test","path":"/tags","value":["b","c"]},{"op":"remove","path":"/tags/0"},)"
      R"({"op":"replace","path":"/color","value":"00ffAA"},)"
      R"({"op":"replace","path":"/defaultTtl","value":60},)"
      R"({"op":"replace","path":"/secureMode","value":true},)"
      R"({"op":"replace","path":"/defaultTrackEvents","value":true},)"
      R"({"op":"replace","path":"/requireComments","value":true},)"
      R"({"op":"replace","path":"/confirmChanges","value":true},)"
      R"({"op":"add","path":"/critical","value":true}])");
  ASSERT_TRUE(after) << after.error().what;
  EXPECT_EQ(after->name, "Live");
  EXPECT_EQ(after->color, "00ffAA");
  EXPECT_EQ(after->tags, std::vector<std::string>{"c"});
  EXPECT_EQ(after->settings, (EnvironmentSettings{.secure_mode = true,
                                                  .default_ttl_minutes = 60,
                                                  .default_track_events = true,
                                                  .require_comments = true,
                                                  .confirm_changes = true,
                                                  .critical = true}));
  EXPECT_EQ(production(), *after);
  EXPECT_TRUE(published().secure_mode());
  EXPECT_EQ(published().cache_minutes(), 60);
  EXPECT_EQ(published().name(), "Live");
  EXPECT_EQ(after->version, 2);
}

TEST_F(EnvironmentStoreTest, AllFormsOfAPatchAreToldApartByShape) {
  ASSERT_TRUE(edit(R"({"comment":"why","patch":[{"op":"replace","path":"/name","value":"One"}]})"));
  EXPECT_EQ(production().name, "One");
  EXPECT_EQ(last_audit(),
            "updateEnvironment|proj/shop:env/production|why|"
            R"([{"op":"replace","path":"/name","value":"One"}]|)");
  ASSERT_TRUE(edit(R"({"comment":"why","merge":{"name":"Two","tags":["x"]}})"));
  EXPECT_EQ(production().tags, std::vector<std::string>{"x"});
  ASSERT_TRUE(edit(R"({"name":"Three","tags":null})"));
  EXPECT_EQ(production().name, "Three");
  EXPECT_TRUE(production().tags.empty());
}

TEST_F(EnvironmentStoreTest, WhatGatewaysDoNotSeeRaisesNoVersion) {
  ASSERT_TRUE(edit(R"({"color":"000000","requireComments":true})"));
  EXPECT_EQ(production().color, "000000");
  EXPECT_EQ(production().version, 1);
  EXPECT_TRUE(outbox().empty());
  ASSERT_TRUE(edit(R"({"secureMode":false})")) << "as it was";
  EXPECT_TRUE(outbox().empty());
}

TEST_F(EnvironmentStoreTest, ABadPatchChangesNothing) {
  const Environment before = production();
  for (const char* body : {R"([])",
                           R"({})",
                           R"("x")",
                           R"([1])",
                           R"({"patch":{}})",
                           R"({"merge":[]})",
                           R"({"instructions":[]})",
                           R"([{"op":"replace","path":"/name"}])",
                           R"([{"op":"replace","path":"/name","value":""}])",
                           R"([{"op":"replace","path":"/name","value":1}])",
                           R"([{"op":"remove","path":"/name"}])",
                           R"([{"op":"move","path":"/name","from":"/key"}])",
                           R"([{"op":"replace","path":"/apiKey","value":"sdk-x"}])",
                           R"([{"op":"replace","path":"/_id","value":"x"}])",
                           R"([{"op":"replace","path":"/approvalSettings/required","value":true}])",
                           R"([{"op":"replace","path":"","value":{}}])",
                           R"([{"op":"replace","path":"/name/0","value":"x"}])",
                           R"([{"op":"add","path":"/tags/1","value":"x"}])",
                           R"([{"op":"add","path":"/tags/-","value":1}])",
                           R"([{"op":"remove","path":"/tags/0"}])",
                           R"({"color":"red"})",
                           R"({"defaultTtl":61})",
                           R"({"defaultTtl":-1})",
                           R"({"defaultTtl":1e300})",
                           R"({"defaultTtl":0.5})",
                           R"({"defaultTtl":"1"})",
                           R"({"secureMode":1})",
                           R"({"secureMode":null})",
                           R"({"critical":"yes"})",
                           R"({"nonsense":true})"}) {
    expect_refused(ErrorKind::InvalidArgument, body);
  }
  expect_refused(ErrorKind::Conflict, R"([{"op":"replace","path":"/name","value":"x"},)"
                                      R"({"op":"test","path":"/secureMode","value":true}])");
  std::string many = "[";
  for (int i = 0; i < 1'001; ++i)
    many += std::string(i == 0 ? "" : ",") + R"({"op":"remove","path":"/tags"})";
  expect_refused(ErrorKind::TooLarge, (many + "]").c_str());
  EXPECT_EQ(production(), before);
  EXPECT_TRUE(outbox().empty());
}

TEST_F(EnvironmentStoreTest, NewFlagsAreTrackedWhereTheEnvironmentSaysSo) {
  ASSERT_TRUE(edit(R"({"defaultTrackEvents":true})"));
  const auto flag = catalog_.create_flag("shop", {.key = "a", .name = "A"}, actor_);
  ASSERT_TRUE(flag);
  EXPECT_TRUE(flag->environments.at("production").track_events);
  EXPECT_FALSE(flag->environments.at("test").track_events);
}

TEST_F(EnvironmentStoreTest, AnEnvironmentBeginsWithTheSettingsItIsGiven) {
  const auto made = catalog_.create_environment(
      "shop",
      {.key = "eu", .name = "EU", .settings = {.secure_mode = true, .default_ttl_minutes = 5}},
      actor_);
  ASSERT_TRUE(made) << made.error().what;
  EXPECT_TRUE(made->settings.secure_mode);
  EXPECT_TRUE(published().secure_mode());
  EXPECT_EQ(*catalog_.environment(made->project, "eu"), *made);
  EXPECT_EQ(
      catalog_
          .create_environment(
              "shop", {.key = "us", .name = "US", .settings = {.default_ttl_minutes = 61}}, actor_)
          .error()
          .kind,
      ErrorKind::InvalidArgument);
}

// A database as the first release made it.
TEST(CatalogMigration, EnvironmentsOfTheFirstSchemaKeepTheirKeys) {
  const std::string path =
      testing::TempDir() + "catalog_migration_" + std::to_string(::getpid()) + ".db";
  std::filesystem::remove(path);
  {
    auto old = sql::Database::open(path);
    ASSERT_TRUE(old);
    ASSERT_TRUE(old->migrate(schema_migrations().first(1)));
    ASSERT_TRUE(old->exec(
        "INSERT INTO projects (id, key, name, created_ms) VALUES (1, 'shop', 'Shop', 1);"
        "INSERT INTO environments (id, project_id, key, name, color, sdk_key, mobile_key, "
        "client_side_id, version, revision, created_ms) VALUES "
        "(1, 1, 'production', 'Production', '417505', 'sdk-1', 'mob-1', 'client-1', 3, 9, 1)"));
  }
  FakeClock clock(kNoon);
  auto catalog = Catalog::open(path, clock);
  ASSERT_TRUE(catalog) << catalog.error().what;
  const auto kept = catalog->environment(ProjectId{1}, "production");
  ASSERT_TRUE(kept) << kept.error().what;
  EXPECT_EQ(kept->sdk_key, "sdk-1");
  EXPECT_EQ(kept->version, 3);
  EXPECT_EQ(kept->revision, 9);
  EXPECT_EQ(kept->settings, EnvironmentSettings());
  EXPECT_TRUE(kept->expiring_keys.empty());
  EXPECT_TRUE(
      catalog->reset_key("shop", "production", KeyKind::Sdk, kNoonMillis + kHour, Actor{"tester"}));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace flagstream::catalog
