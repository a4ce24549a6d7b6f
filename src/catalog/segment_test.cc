#include "catalog/segment.h"

#include <gtest/gtest.h>

#include "catalog/catalog.h"
#include "catalog/limits.h"
#include "environment/membership_record.h"

namespace flagstream::catalog {
namespace {

class SegmentTest : public testing::Test {
 protected:
  SegmentTest() : catalog_(*Catalog::open(":memory:", clock_)) {
    EXPECT_TRUE(catalog_.create_project({.key = "shop", .name = "Shop"}, actor_));
    environment_ = catalog_.environment(catalog_.project("shop")->id, "production")->id;
    EXPECT_TRUE(catalog_.outbox().remove_through(1 << 20));
  }

  Segment create(const std::string& key, bool unbounded = false) {
    auto made =
        catalog_.create_segment(in_, {.key = key, .name = key, .unbounded = unbounded}, actor_);
    EXPECT_TRUE(made) << (made ? "" : made.error().what);
    return made ? *made : Segment();
  }
  Result<Segment> edit(const std::string& key, const std::string& instructions) {
    FS_TRY(const auto body, json::parse(R"({"instructions":[)" + instructions + "]}"));
    FS_TRY(const SemanticPatch patch, parse_semantic_patch(body));
    return catalog_.edit_segment(in_, key, patch, actor_);
  }
  std::vector<Change> outbox() { return *catalog_.outbox().oldest(1000, 1 << 20); }
  std::vector<environment::proto::MembershipChange> members_outbox() {
    std::vector<environment::proto::MembershipChange> all;
    const auto waiting = catalog_.members().oldest(1 << 20);
    for (const auto& each : *waiting)
      all.push_back(*environment::decode_membership_record(each.record));
    return all;
  }

  FakeClock clock_{1'700'000'000'000'000};
  Actor actor_{"tester"};
  EnvironmentPath in_{"shop", "production"};
  Catalog catalog_;
  EnvironmentId environment_{};
};

TEST_F(SegmentTest, IsPublishedAsSdksNeedIt) {
  create("beta");
  ASSERT_TRUE(edit("beta", R"({"kind":"addIncludedTargets","contextKind":"user","values":["u1"]},
                              {"kind":"addExcludedTargets","contextKind":"org","values":["o1"]})"));
  const auto changes = outbox();
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[1].item.version, 2);
  const auto document = json::parse(changes[1].item.document);
  ASSERT_TRUE(document);
  const auto& members = document->get_object();
  EXPECT_EQ(json::serialize(members.at("included")), R"(["u1"])");
  EXPECT_EQ(json::serialize(members.at("excludedContexts")),
            R"([{"contextKind":"org","values":["o1"]}])");
  for (const char* always : {"excluded", "includedContexts", "rules"})
    EXPECT_TRUE(members.at(always).is_array()) << always;
  EXPECT_FALSE(members.contains("unbounded"));
  EXPECT_FALSE(members.at("salt").get_string().empty());
}

TEST_F(SegmentTest, ComesBackFromTheDatabaseAsItWas) {
  create("beta");
  const auto edited = edit("beta", R"(
    {"kind":"updateName","value":"Beta testers"},{"kind":"addTags","values":["x"]},
    {"kind":"addRule","description":"d","rolloutWeight":25000,"clauses":
      [{"contextKind":"user","attribute":"email","op":"endsWith","values":["@example.com"]}]})");
  ASSERT_TRUE(edited) << edited.error().what;
  EXPECT_EQ(*catalog_.segment(environment_, "beta"), *edited);
}

TEST_F(SegmentTest, WhatIsAlreadySoRaisesNoVersion) {
  create("beta");
  ASSERT_TRUE(edit("beta", R"({"kind":"addIncludedTargets","values":["u1"]})"));
  const auto before = outbox().size();
  ASSERT_TRUE(edit("beta", R"({"kind":"addIncludedTargets","values":["u1"]})"));
  EXPECT_EQ(outbox().size(), before);
}

TEST_F(SegmentTest, RefusesWhatSdksDisagreeAbout) {
  create("a");
  create("b");
  const auto names = [](const char* other) {
    return std::string(R"({"kind":"addRule","clauses":[{"op":"segmentMatch","values":[")") + other +
           "\"]}]}";
  };
  ASSERT_TRUE(edit("a", names("b")));
  EXPECT_EQ(edit("b", names("a")).error().kind, ErrorKind::InvalidArgument) << "a cycle";
  EXPECT_EQ(edit("b", names("b")).error().kind, ErrorKind::InvalidArgument);
  EXPECT_EQ(edit("b", R"({"kind":"addRule","rolloutWeight":1,"rolloutContextKind":"org","clauses":
      [{"contextKind":"user","attribute":"email","op":"in","values":["x"]}]})")
                .error()
                .kind,
            ErrorKind::InvalidArgument)
      << "some SDKs count who has no org into the rollout";
  EXPECT_TRUE(edit("b", R"({"kind":"addRule","rolloutWeight":1,"rolloutContextKind":"org","clauses":
      [{"contextKind":"org","attribute":"plan","op":"in","values":["x"]}]})"));
  EXPECT_FALSE(edit("b", R"({"kind":"addRule","clauses":
      [{"contextKind":"user","attribute":"email","op":"resembles","values":["x"]}]})"));
  EXPECT_FALSE(edit("b", R"({"kind":"fly"})"));
}

TEST_F(SegmentTest, IsKeptWhileSomethingUsesIt) {
  create("beta");
  ASSERT_TRUE(catalog_.create_flag("shop", {.key = "f", .name = "f"}, actor_));
  const auto body = json::parse(
      R"({"environmentKey":"production","instructions":[{"kind":"addRule","variationId":")" +
      catalog_.flag(*catalog_.project("shop"), "f")->variations[0].id +
      R"(","clauses":[{"op":"segmentMatch","values":["beta"]}]}]})");
  const auto patched = catalog_.edit_flag("shop", "f", *parse_patch(*body), actor_);
  ASSERT_TRUE(patched) << patched.error().what;
  EXPECT_EQ(catalog_.delete_segment(in_, "beta", actor_).error().kind, ErrorKind::Conflict);
  ASSERT_TRUE(catalog_.delete_flag("shop", "f", actor_));
  EXPECT_TRUE(catalog_.delete_segment(in_, "beta", actor_));
  EXPECT_EQ(create("beta").version, 3) << "above the tombstone's";
}

TEST_F(SegmentTest, ABigOneKeepsItsMembersOutOfItsDocument) {
  const Segment big = create("big", true);
  EXPECT_GT(big.generation, 0);
  const auto changed = catalog_.change_members(
      in_, "big", {.included_add = {"u1", "u2"}, .excluded_add = {"u3"}}, actor_);
  ASSERT_TRUE(changed) << changed.error().what;
  EXPECT_EQ(changed->version, 2);
  const auto changes = outbox();
  EXPECT_EQ(changes.back().item.document.find("u1"), std::string::npos);
  const auto waiting = members_outbox();
  ASSERT_EQ(waiting.size(), 2u) << "its beginning, and the change";
  EXPECT_TRUE(waiting[0].reset());
  EXPECT_EQ(waiting[1].included_add().size(), 2 * environment::kMemberBytes);
  EXPECT_EQ(changes.back().item.memberships, static_cast<std::int64_t>(waiting[1].sequence()));
  EXPECT_TRUE(catalog_.members().membership(big.generation, "u1")->is_included);
  EXPECT_TRUE(catalog_.members().membership(big.generation, "u3")->is_excluded);
  EXPECT_FALSE(catalog_.members().membership(big.generation, "u4")->is_included);

  ASSERT_TRUE(catalog_.change_members(in_, "big", {.included_remove = {"u1"}}, actor_));
  EXPECT_FALSE(catalog_.members().membership(big.generation, "u1")->is_included);
  EXPECT_EQ(*catalog_.members().count(big.generation), 2);
  ASSERT_TRUE(catalog_.change_members(in_, "big",
                                      {.included_add = {"u5"}, .included_remove = {"u5"}}, actor_));
  EXPECT_TRUE(catalog_.members().membership(big.generation, "u5")->is_included)
      << "gateways remove first";
  EXPECT_FALSE(edit("big", R"({"kind":"addIncludedTargets","values":["u9"]})"));
}

TEST_F(SegmentTest, ABigOneMadeAnewHasOtherMembers) {
  const Segment first = create("big", true);
  ASSERT_TRUE(catalog_.change_members(in_, "big", {.included_add = {"u1"}}, actor_));
  ASSERT_TRUE(catalog_.delete_segment(in_, "big", actor_));
  EXPECT_TRUE(members_outbox().back().reset());
  const Segment second = create("big", true);
  EXPECT_NE(first.generation, second.generation);
  EXPECT_FALSE(catalog_.members().membership(second.generation, "u1")->is_included);
}

TEST_F(SegmentTest, MembersAreLimited) {
  create("small");
  EXPECT_EQ(catalog_.change_members(in_, "small", {.included_add = {"u"}}, actor_).error().kind,
            ErrorKind::Conflict);
  create("big", true);
  const MemberChange many{.included_add = std::vector<std::string>(65'537, "u")};
  EXPECT_EQ(catalog_.change_members(in_, "big", many, actor_).error().kind, ErrorKind::TooLarge);
  EXPECT_FALSE(catalog_.change_members(in_, "big", {.included_add = {""}}, actor_));
  EXPECT_FALSE(catalog_.change_members(
      in_, "big", {.included_add = {std::string(kContextKeyBytesMax + 1, 'x')}}, actor_));
}

// The topic against a database: what of it is handed out anew.
TEST_F(SegmentTest, MembersAreHandedOutAnewWhereTopicAndDatabaseDiffer) {
  const Segment big = create("big", true);
  ASSERT_TRUE(catalog_.change_members(in_, "big", {.included_add = {"u1"}}, actor_));
  auto members = catalog_.members();
  EXPECT_FALSE(*members.reconcile(0)) << "all of it waits";
  EXPECT_EQ(members_outbox().size(), 2u);
  EXPECT_FALSE(*members.reconcile(1)) << "published, not yet removed";
  EXPECT_EQ(members_outbox().size(), 1u);
  EXPECT_FALSE(*members.reconcile(2));
  EXPECT_EQ(members_outbox().size(), 0u);

  for (const std::int64_t last_in_log : {std::int64_t{0}, std::int64_t{40}}) {
    EXPECT_TRUE(*members.reconcile(last_in_log)) << last_in_log;
    const auto anew = members_outbox();
    ASSERT_EQ(anew.size(), 1u);
    EXPECT_TRUE(anew[0].reset());
    EXPECT_EQ(anew[0].generation(), static_cast<std::uint64_t>(big.generation));
    EXPECT_EQ(anew[0].included_add().size(), environment::kMemberBytes);
    EXPECT_GT(anew[0].sequence(), static_cast<std::uint64_t>(last_in_log));
    ASSERT_TRUE(members.remove_through(1'000));
  }
}

}  // namespace
}  // namespace flagstream::catalog
