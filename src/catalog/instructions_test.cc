#include "catalog/instructions.h"

#include <array>

#include <gtest/gtest.h>

namespace flagstream::catalog {
namespace {

Flag three_way() {
  Flag flag;
  flag.key = "banner";
  flag.name = "Banner";
  flag.variations = {
      {"id-a", "\"a\"", "", ""}, {"id-b", "\"b\"", "", ""}, {"id-c", "\"c\"", "", ""}};
  FlagConfig config;
  config.salt = "s";
  config.off_variation = 2;
  Rule rule;
  rule.id = "rule-1";
  rule.clauses.push_back({"clause-1", "user", "country", "in", {"\"de\""}, false});
  rule.serve = 1;
  config.rules = {rule};
  flag.environments = {{"production", config}, {"test", config}};
  return flag;
}

NewId counting_ids() {
  return [next = 0]() mutable { return "new-" + std::to_string(next++); };
}

Result<Flag> applied(const Flag& flag, std::string_view patch) {
  auto body = json::parse(patch);
  EXPECT_TRUE(body) << patch;
  FS_TRY(const SemanticPatch parsed, parse_patch(*body));
  return apply(flag, parsed.instructions, counting_ids());
}

Result<Flag> applied_one(std::string_view instruction) {
  return applied(three_way(), R"({"environmentKey":"production","instructions":[)" +
                                  std::string(instruction) + "]}");
}

FlagConfig production(const Result<Flag>& flag) {
  EXPECT_TRUE(flag) << (flag ? "" : flag.error().what);
  return flag ? flag->environments.at("production") : FlagConfig();
}

TEST(Instructions, TurnFlagOnTurnsOnOnlyTheNamedEnvironment) {
  const auto flag = applied_one(R"({"kind":"turnFlagOn"})");
  ASSERT_TRUE(flag);
  EXPECT_TRUE(flag->environments.at("production").on);
  EXPECT_FALSE(flag->environments.at("test").on);
}

TEST(Instructions, WhatIsAlreadySoChangesNothing) {
  for (const char* each :
       {R"({"kind":"turnFlagOff"})", R"({"kind":"removeRule","ruleId":"gone"})",
        R"({"kind":"updateFallthroughVariationOrRollout","variationId":"id-a"})"}) {
    const auto flag = applied_one(each);
    ASSERT_TRUE(flag) << each;
    EXPECT_EQ(*flag, three_way()) << each;
  }
}

TEST(Instructions, TheFallthroughServesAVariation) {
  const auto config = production(
      applied_one(R"({"kind":"updateFallthroughVariationOrRollout","variationId":"id-c"})"));
  EXPECT_EQ(config.fallthrough, Serve(2));
}

TEST(Instructions, RolloutWeightsStandInTheOrderOfTheVariations) {
  const auto config = production(applied_one(
      R"({"kind":"updateFallthroughVariationOrRollout","rolloutWeights":{"id-c":30000,"id-a":70000,"id-b":0},)"
      R"("rolloutContextKind":"organization","rolloutBucketBy":"plan"})"));
  Rollout expected;
  expected.variations = {{0, 70000, false}, {1, 0, false}, {2, 30000, false}};
  expected.context_kind = "organization";
  expected.bucket_by = "plan";
  EXPECT_EQ(config.fallthrough, Serve(expected));
}

TEST(Instructions, ARuleIsAddedAtTheEndWithIdsOfItsOwn) {
  const auto config = production(applied_one(
      R"({"kind":"addRule","variationId":"id-a","description":"phones","clauses":[)"
      R"({"contextKind":"device","attribute":"os","op":"in","values":["ios",1.5,null],"negate":true}]})"));
  ASSERT_EQ(config.rules.size(), 2u);
  const Rule& rule = config.rules[1];
  EXPECT_EQ(rule.id, "new-0");
  EXPECT_EQ(rule.description, "phones");
  EXPECT_EQ(rule.serve, Serve(0));
  ASSERT_EQ(rule.clauses.size(), 1u);
  EXPECT_EQ(rule.clauses[0].id, "new-1");
  EXPECT_EQ(rule.clauses[0].context_kind, "device");
  EXPECT_EQ(rule.clauses[0].attribute, "os");
  EXPECT_EQ(rule.clauses[0].op, "in");
  EXPECT_TRUE(rule.clauses[0].negate);
  EXPECT_EQ(rule.clauses[0].values_json, (std::vector<std::string>{"\"ios\"", "1.5", "null"}));
}

TEST(Instructions, ARuleCanBeAddedBeforeAnother) {
  const auto config = production(applied_one(
      R"({"kind":"addRule","variationId":"id-a","beforeRuleId":"rule-1","clauses":[{"attribute":"x","op":"in","values":[1]}]})"));
  ASSERT_EQ(config.rules.size(), 2u);
  EXPECT_EQ(config.rules[0].id, "new-0");
  EXPECT_EQ(config.rules[1].id, "rule-1");
}

TEST(Instructions, ARuleIsRemovedByItsId) {
  EXPECT_TRUE(production(applied_one(R"({"kind":"removeRule","ruleId":"rule-1"})")).rules.empty());
}

TEST(Instructions, OneThatCannotBeAppliedRefusesTheWholeList) {
  const auto flag = applied_one(R"({"kind":"turnFlagOn"},{"kind":"removeRule"})");
  ASSERT_FALSE(flag);
  EXPECT_EQ(flag.error().kind, ErrorKind::InvalidArgument);
  EXPECT_NE(flag.error().what.find("instruction 1"), std::string::npos) << flag.error().what;
}

struct Refused {
  const char* instruction;
  ErrorKind kind;
};

TEST(Instructions, WhatIsWrongIsRefused) {
  using enum ErrorKind;
  constexpr std::array kRefused = {
      Refused{R"({"kind":"doMagic"})", InvalidArgument},
      Refused{R"({"variationId":"id-a"})", InvalidArgument},
      Refused{R"({"kind":7})", InvalidArgument},
      Refused{R"({"kind":"removeRule","ruleId":7})", InvalidArgument},
      Refused{R"({"kind":"updateFallthroughVariationOrRollout"})", InvalidArgument},
      Refused{R"({"kind":"updateFallthroughVariationOrRollout","variationId":"nobody"})",
              InvalidArgument},
      Refused{
          R"({"kind":"updateFallthroughVariationOrRollout","variationId":"id-a","rolloutWeights":{"id-a":100000}})",
          InvalidArgument},
      Refused{R"({"kind":"updateFallthroughVariationOrRollout","rolloutWeights":{"id-a":99999}})",
              InvalidArgument},
      Refused{
          R"({"kind":"updateFallthroughVariationOrRollout","rolloutWeights":{"id-a":-1,"id-b":100001}})",
          InvalidArgument},
      Refused{
          R"({"kind":"updateFallthroughVariationOrRollout","rolloutWeights":{"id-a":50000.5,"id-b":49999.5}})",
          InvalidArgument},
      Refused{R"({"kind":"updateFallthroughVariationOrRollout","rolloutWeights":[1]})",
              InvalidArgument},
      Refused{R"({"kind":"addRule","variationId":"id-a"})", InvalidArgument},
      Refused{R"({"kind":"addRule","variationId":"id-a","clauses":[]})", InvalidArgument},
      Refused{R"({"kind":"addRule","variationId":"id-a","clauses":[{"attribute":"x"}]})",
              InvalidArgument},
      Refused{R"({"kind":"addRule","clauses":[{"attribute":"x","op":"in","values":[1]}]})",
              InvalidArgument},
      Refused{
          R"({"kind":"addRule","variationId":"id-a","beforeRuleId":"gone","clauses":[{"attribute":"x","op":"in"}]})",
          NotFound},
  };
  for (const Refused& each : kRefused) {
    const auto flag = applied_one(each.instruction);
    ASSERT_FALSE(flag) << each.instruction;
    EXPECT_EQ(flag.error().kind, each.kind) << each.instruction;
  }
}

TEST(Instructions, AnUnknownEnvironmentIsNotFoundAndNoneIsInvalid) {
  const auto unknown =
      applied(three_way(), R"({"environmentKey":"moon","instructions":[{"kind":"turnFlagOn"}]})");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().kind, ErrorKind::NotFound);
  const auto none = applied(three_way(), R"({"instructions":[{"kind":"turnFlagOn"}]})");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind, ErrorKind::InvalidArgument);
}

TEST(Instructions, JsonPatchOfOnIsTheSameInBothShapes) {
  for (
      const char* each :
      {R"([{"op":"replace","path":"/environments/production/on","value":true}])",
       R"({"comment":"go","patch":[{"op":"add","path":"/environments/production/on","value":true}]})"}) {
    const auto flag = applied(three_way(), each);
    ASSERT_TRUE(flag) << each;
    EXPECT_TRUE(flag->environments.at("production").on);
    EXPECT_FALSE(flag->environments.at("test").on);
  }
}

TEST(Instructions, TheCommentComesFromEitherShape) {
  for (const char* each :
       {R"({"comment":"why","patch":[{"op":"replace","path":"/environments/e/on","value":true}]})",
        R"({"comment":"why","environmentKey":"e","instructions":[{"kind":"turnFlagOn"}]})"}) {
    const auto patch = parse_patch(*json::parse(each));
    ASSERT_TRUE(patch);
    EXPECT_EQ(patch->comment, "why");
  }
}

TEST(Instructions, EnvironmentKeysInPointersAreUnescaped) {
  const auto patch = parse_patch(
      *json::parse(R"([{"op":"replace","path":"/environments/a~1b~0c/on","value":false}])"));
  ASSERT_TRUE(patch);
  EXPECT_EQ(patch->instructions[0].environment_key, "a/b~c");
}

TEST(Instructions, OtherBodiesAreRefused) {
  for (const char* each :
       {"1", "null", "[]", "{}", R"({"instructions":[]})", R"({"instructions":{}})",
        R"({"instructions":[1]})", R"({"merge":{}})", R"({"patch":{}})",
        R"([{"op":"replace","path":"/environments/e/on","value":1}])",
        R"([{"op":"remove","path":"/environments/e/on"}])",
        R"([{"op":"replace","path":"/environments/e/salt","value":"x"}])",
        R"([{"op":"replace","path":"environments/e/on","value":true}])",
        R"([{"op":"replace","path":"/environments/~2/on","value":true}])"}) {
    const auto patch = parse_patch(*json::parse(each));
    ASSERT_FALSE(patch) << each;
    EXPECT_EQ(patch.error().kind, ErrorKind::InvalidArgument) << each;
  }
}

TEST(Instructions, ThereIsALimitToTheirNumber) {
  std::string many = R"({"instructions":[)";
  for (std::size_t i = 0; i <= kInstructionsMax; ++i)
    many += i == 0 ? R"({"kind":"x"})" : R"(,{"kind":"x"})";
  const auto patch = parse_patch(*json::parse(many + "]}"));
  ASSERT_FALSE(patch);
  EXPECT_EQ(patch.error().kind, ErrorKind::TooLarge);
}

}  // namespace
}  // namespace flagstream::catalog
