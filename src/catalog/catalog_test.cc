#include "catalog/catalog.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "base/id.h"
#include "catalog/limits.h"

namespace flagstream::catalog {
namespace {

constexpr MicrosUtc kNoon = 1'700'000'000'000'000;

class CatalogTest : public testing::Test {
 protected:
  CatalogTest() : catalog_(*Catalog::open(":memory:", clock_)) {
    EXPECT_TRUE(catalog_.create_project({.key = "shop", .name = "Shop"}, actor_));
  }

  Flag create(const std::string& key) {
    auto flag = catalog_.create_flag("shop", {.key = key, .name = key}, actor_);
    EXPECT_TRUE(flag) << (flag ? "" : flag.error().what);
    return flag ? *flag : Flag();
  }

  Result<Flag> edit(const std::string& key, const char* instruction, DryRun dry_run = DryRun::No) {
    FS_TRY(const auto body,
           json::parse(R"({"comment":"because","environmentKey":"production","instructions":[)" +
                       std::string(instruction) + "]}"));
    FS_TRY(const SemanticPatch patch, parse_patch(body));
    return catalog_.edit_flag("shop", key, patch, actor_, dry_run);
  }

  Environment environment(const std::string& key) {
    return *catalog_.environment(catalog_.project("shop")->id, key);
  }

  std::vector<Change> outbox() { return *catalog_.outbox().oldest(1000, 1 << 20); }
  void empty_outbox() { EXPECT_TRUE(catalog_.outbox().remove_through(1 << 20)); }

  FakeClock clock_{kNoon};
  Actor actor_{"tester"};
  Catalog catalog_;
};

TEST_F(CatalogTest, AProjectHasTestAndProductionUnlessToldOtherwise) {
  const auto environments = catalog_.environments(catalog_.project("shop")->id);
  ASSERT_TRUE(environments);
  ASSERT_EQ(environments->size(), 2u);
  EXPECT_EQ((*environments)[0].key, "test");
  EXPECT_EQ((*environments)[1].key, "production");
}

TEST_F(CatalogTest, CredentialsHaveTheFormsThatSdksKnow) {
  const Environment production = environment("production");
  EXPECT_TRUE(production.sdk_key.starts_with("sdk-"));
  EXPECT_EQ(production.sdk_key.size(), 4u + 36u);
  EXPECT_TRUE(production.mobile_key.starts_with("mob-"));
  EXPECT_EQ(production.client_side_id.size(), 24u);
  EXPECT_NE(production.sdk_key, environment("test").sdk_key);
}

TEST_F(CatalogTest, WhatExistsIsAConflict) {
  create("a");
  EXPECT_EQ(catalog_.create_project({.key = "shop", .name = "x"}, actor_).error().kind,
            ErrorKind::Conflict);
  EXPECT_EQ(catalog_.create_environment("shop", {.key = "test", .name = "x"}, actor_).error().kind,
            ErrorKind::Conflict);
  EXPECT_EQ(catalog_.create_flag("shop", {.key = "a", .name = "x"}, actor_).error().kind,
            ErrorKind::Conflict);
}

TEST_F(CatalogTest, WhatDoesNotExistIsNotFound) {
  EXPECT_EQ(catalog_.project("nope").error().kind, ErrorKind::NotFound);
  EXPECT_EQ(catalog_.create_flag("nope", {.key = "a", .name = "x"}, actor_).error().kind,
            ErrorKind::NotFound);
  EXPECT_EQ(edit("nope", R"({"kind":"turnFlagOn"})").error().kind, ErrorKind::NotFound);
  EXPECT_EQ(catalog_.delete_flag("shop", "nope", actor_).error().kind, ErrorKind::NotFound);
}

TEST_F(CatalogTest, KeysAreLabelsOfLettersDigitsAndThreeSigns) {
  EXPECT_TRUE(is_key("a"));
  EXPECT_TRUE(is_key("9.A_b-c"));
  for (const char* each : {"", "-a", ".", "a b", "a/b", "\xc3\xa4"})
    EXPECT_FALSE(is_key(each)) << each;
  EXPECT_TRUE(is_key(std::string(256, 'a')));
  EXPECT_FALSE(is_key(std::string(257, 'a')));
}

TEST_F(CatalogTest, AFlagWithoutVariationsIsBooleanAndStartsOffEverywhere) {
  const Flag flag = create("a");
  EXPECT_EQ(kind_of(flag), "boolean");
  ASSERT_EQ(flag.environments.size(), 2u);
  for (const auto& [key, config] : flag.environments) {
    EXPECT_FALSE(config.on);
    EXPECT_EQ(config.version, 1);
    EXPECT_EQ(config.fallthrough, Serve(0));
    EXPECT_EQ(config.off_variation, 1);
    EXPECT_FALSE(config.salt.empty());
    EXPECT_EQ(config.last_modified, kNoon / 1000);
  }
}

TEST_F(CatalogTest, AFlagComesBackAsItWasStored) {
  NewFlag wanted{.key = "json", .name = "Json"};
  wanted.description = "has \"quotes\"";
  wanted.variations = {{.value_json = R"({"b":1.0,"a":[1e2,"x"]})", .name = "one"},
                       {.value_json = "null"}};
  wanted.tags = {"t1", "t2"};
  wanted.temporary = true;
  wanted.client_side = {.using_mobile_key = true, .using_environment_id = true};
  const auto created = catalog_.create_flag("shop", wanted, actor_);
  ASSERT_TRUE(created) << created.error().what;
  EXPECT_EQ(kind_of(*created), "multivariate");
  const auto edited = edit(
      "json",
      (R"({"kind":"addRule","variationId":")" + created->variations[1].id +
       R"(","clauses":[{"contextKind":"org","attribute":"/a/b","op":"in","values":["x",true],"negate":true}]})")
          .c_str());
  ASSERT_TRUE(edited) << edited.error().what;
  const auto read = catalog_.flag(*catalog_.project("shop"), "json");
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, *edited);
  const auto listed = catalog_.flags(*catalog_.project("shop"));
  ASSERT_TRUE(listed);
  EXPECT_EQ(*listed, (std::vector<Flag>{*edited}));
}

TEST_F(CatalogTest, AnEditRaisesTheVersionOfItsEnvironmentAlone) {
  create("a");
  clock_.advance(kMicrosPerSecond);
  const auto flag = edit("a", R"({"kind":"turnFlagOn"})");
  ASSERT_TRUE(flag);
  EXPECT_EQ(flag->environments.at("production").version, 2);
  EXPECT_EQ(flag->environments.at("production").last_modified, kNoon / 1000 + 1000);
  EXPECT_EQ(flag->environments.at("test").version, 1);
  EXPECT_EQ(flag->version, 2);
}

TEST_F(CatalogTest, AnEditThatChangesNothingPublishesNothing) {
  create("a");
  empty_outbox();
  const auto flag = edit("a", R"({"kind":"turnFlagOff"})");
  ASSERT_TRUE(flag);
  EXPECT_EQ(flag->version, 1);
  EXPECT_TRUE(outbox().empty());
}

TEST_F(CatalogTest, ARefusedEditLeavesNothingBehind) {
  create("a");
  empty_outbox();
  EXPECT_FALSE(edit("a", R"({"kind":"turnFlagOn"},{"kind":"nonsense"})"));
  EXPECT_FALSE(catalog_.flag(*catalog_.project("shop"), "a")->environments.at("production").on);
  EXPECT_TRUE(outbox().empty());
}

TEST_F(CatalogTest, ADryRunAnswersTheEditAndStoresNothing) {
  create("a");
  empty_outbox();
  const auto flag = edit("a", R"({"kind":"turnFlagOn"})", DryRun::Yes);
  ASSERT_TRUE(flag);
  EXPECT_TRUE(flag->environments.at("production").on);
  EXPECT_FALSE(catalog_.flag(*catalog_.project("shop"), "a")->environments.at("production").on);
  EXPECT_TRUE(outbox().empty());
}

TEST_F(CatalogTest, RevisionsAreDensePerEnvironmentAndStandInTheOutboxInOrder) {
  create("a");
  create("b");
  ASSERT_TRUE(edit("a", R"({"kind":"turnFlagOn"})"));
  std::map<std::uint64_t, std::int64_t> last;
  std::int64_t sequence = 0;
  for (const Change& each : outbox()) {
    EXPECT_EQ(each.revision, last[to_number(each.item.environment)] + 1);
    last[to_number(each.item.environment)] = each.revision;
    EXPECT_GT(each.sequence, sequence);
    sequence = each.sequence;
  }
  EXPECT_EQ(last[to_number(environment("production").id)], 4);
  EXPECT_EQ(last[to_number(environment("test").id)], 3);
  EXPECT_EQ(environment("production").revision, 4);
}

TEST_F(CatalogTest, TheOutboxHoldsWhatSdksGetWithEveryMemberPresent) {
  create("a");
  const Change change = outbox().back();
  EXPECT_EQ(change.item.kind, ItemKind::Flag);
  EXPECT_EQ(change.item.key, "a");
  const Flag flag = *catalog_.flag(*catalog_.project("shop"), "a");
  EXPECT_EQ(
      change.item.document,
      R"({"key":"a","version":1,"on":false,"targets":[],"contextTargets":[],"rules":[],)"
      R"("fallthrough":{"variation":0},"offVariation":1,"prerequisites":[],"trackEvents":false,)"
      R"("trackEventsFallthrough":false,"variations":[true,false],)"
      R"("clientSideAvailability":{"usingMobileKey":false,"usingEnvironmentId":false},"clientSide":false,)"
      R"("salt":")" +
          flag.environments.at("production").salt + R"("})");
}

TEST_F(CatalogTest, AVersionNeverDecreasesThroughDeleteAndCreate) {
  create("a");
  ASSERT_TRUE(edit("a", R"({"kind":"turnFlagOn"})"));
  empty_outbox();
  ASSERT_TRUE(catalog_.delete_flag("shop", "a", actor_));
  const auto deletes = outbox();
  ASSERT_EQ(deletes.size(), 2u);
  for (const Change& each : deletes) EXPECT_TRUE(each.item.deleted);
  EXPECT_EQ(create("a").environments.at("production").version, 4);
  ASSERT_TRUE(catalog_.delete_flag("shop", "a", actor_));
  EXPECT_EQ(create("a").environments.at("production").version, 6);
}

TEST_F(CatalogTest, ANewEnvironmentGetsEveryFlagOff) {
  create("a");
  ASSERT_TRUE(edit("a", R"({"kind":"turnFlagOn"})"));
  empty_outbox();
  const auto added =
      catalog_.create_environment("shop", {.key = "staging", .name = "Staging"}, actor_);
  ASSERT_TRUE(added) << added.error().what;
  const Flag flag = *catalog_.flag(*catalog_.project("shop"), "a");
  ASSERT_TRUE(flag.environments.contains("staging"));
  EXPECT_FALSE(flag.environments.at("staging").on);
  EXPECT_NE(flag.environments.at("staging").salt, flag.environments.at("production").salt);
  const auto changes = outbox();
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].item.kind, ItemKind::Environment);
  EXPECT_EQ(changes[1].item.kind, ItemKind::Flag);
  EXPECT_EQ(environment("staging").revision, 2);
}

TEST_F(CatalogTest, OnlyHashesOfSecretKeysLeaveTheCatalog) {
  for (const Change& each : outbox()) {
    for (const char* key : {"production", "test"}) {
      EXPECT_EQ(each.item.document.find(environment(key).sdk_key), std::string::npos);
      EXPECT_EQ(each.item.document.find(environment(key).mobile_key), std::string::npos);
    }
  }
}

TEST_F(CatalogTest, EveryChangeStandsInTheAuditLogWithItsComment) {
  create("a");
  ASSERT_TRUE(edit("a", R"({"kind":"turnFlagOn"})"));
  auto read = catalog_.database().prepare(
      "SELECT actor, action, comment, detail, at_ms FROM audit ORDER BY sequence DESC");
  ASSERT_TRUE(read);
  ASSERT_TRUE(*read->step());
  EXPECT_EQ(read->text(0), "tester");
  EXPECT_EQ(read->text(1), "updateFlag");
  EXPECT_EQ(read->text(2), "because");
  EXPECT_EQ(read->text(3), R"([{"kind":"turnFlagOn","environmentKey":"production"}])");
  EXPECT_EQ(read->integer(4), kNoon / 1000);
}

TEST_F(CatalogTest, TokensAreKnownByTheirHashOnly) {
  auto access = catalog_.access();
  const auto token = access.create_token("cli", Role::Writer);
  ASSERT_TRUE(token);
  EXPECT_TRUE(token->starts_with("api-"));
  const auto found = access.find_token(*token);
  ASSERT_TRUE(found);
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ((*found)->name, "cli");
  EXPECT_EQ((*found)->role, Role::Writer);
  EXPECT_FALSE(access.find_token(*token + "x")->has_value());
  EXPECT_FALSE(access.find_token("")->has_value());
  auto read = catalog_.database().prepare("SELECT hash FROM access_tokens");
  ASSERT_TRUE(*read->step());
  EXPECT_EQ(read->text(0).find(token->substr(4)), std::string::npos);
}

TEST_F(CatalogTest, ASetupTokenMakesOneSession) {
  auto access = catalog_.access();
  EXPECT_TRUE(*access.needs_setup());
  const auto setup = access.create_setup_token();
  ASSERT_TRUE(setup);
  const auto session = access.redeem_setup_token(*setup);
  ASSERT_TRUE(session);
  EXPECT_FALSE(*access.needs_setup());
  const auto owner = access.find_session(*session);
  ASSERT_TRUE(owner && owner->has_value());
  EXPECT_EQ((*owner)->role, Role::Admin);
  EXPECT_EQ(access.redeem_setup_token(*setup).error().kind, ErrorKind::Unauthenticated);
  ASSERT_TRUE(access.end_session(*session));
  EXPECT_FALSE(access.find_session(*session)->has_value());
}

TEST_F(CatalogTest, SetupTokensAndSessionsExpire) {
  auto access = catalog_.access();
  const auto late = access.create_setup_token();
  clock_.advance(Access::kSetupMinutes * kMicrosPerMinute);
  EXPECT_FALSE(access.redeem_setup_token(*late));
  const auto session = access.redeem_setup_token(*access.create_setup_token());
  ASSERT_TRUE(session);
  clock_.advance(Access::kSessionDays * kMicrosPerDay);
  EXPECT_FALSE(access.find_session(*session)->has_value());
}

}  // namespace
}  // namespace flagstream::catalog
