#include "flags/evaluator.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "flags/test_evaluate.h"

namespace flagstream::flags {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kUser = R"({"kind":"user","key":"u"})";
constexpr std::string_view kOrg = R"({"kind":"org","key":"o"})";
constexpr std::string_view kMulti = R"({"kind":"multi","user":{"key":"u"},"org":{"key":"o"}})";

std::string with(std::string_view more, std::string_view context = kUser) {
  return evaluated(flag_document(more), "f", context);
}

std::string result(std::string_view value, std::string_view index, std::string_view reason) {
  return fmt::format(R"({{"value":{},"variationIndex":{},"reason":{{{}}}}})", value, index, reason);
}

TEST(Evaluator, OffServesTheOffVariation) {
  EXPECT_EQ(with(R"(,"on":false)"), result(R"("d")", "3", R"("kind":"OFF")"));
  EXPECT_EQ(with(R"(,"on":false,"offVariation":null)"), result("null", "null", R"("kind":"OFF")"));
  EXPECT_EQ(with(R"(,"on":null)"), result(R"("d")", "3", R"("kind":"OFF")"));
  EXPECT_EQ(with(R"(,"on":false,"offVariation":1.0)"), result(R"("b")", "1", R"("kind":"OFF")"));
}

TEST(Evaluator, UnknownFlagsAreNotFound) {
  const std::string missing =
      result("null", "null", R"("kind":"ERROR","errorKind":"FLAG_NOT_FOUND")");
  EXPECT_EQ(evaluated(flag_document(""), "g", kUser), missing);
  EXPECT_EQ(evaluated(flag_document(R"(,"deleted":true)"), "f", kUser), missing);
  EXPECT_EQ(evaluated("{}", "f", kUser), missing);
  EXPECT_EQ(evaluated(R"({"flags":null,"segments":null})", "f", kUser), missing);
}

TEST(Evaluator, IndexesOutsideTheVariationsAreMalformed) {
  for (const std::string_view index : {"4", "-1", "1.5", "1e30"}) {
    for (const std::string_view where :
         {R"(,"on":false,"offVariation":{})", R"(,"fallthrough":{{"variation":{}}})",
          R"(,"targets":[{{"values":["u"],"variation":{}}}])",
          R"(,"rules":[{{"id":"r","clauses":[],"variation":{}}}])",
          R"(,"fallthrough":{{"rollout":{{"variations":[{{"variation":{},"weight":100000}}]}}}})",
          R"(,"offVariation":{},"prerequisites":[{{"key":"x","variation":0}}])"}) {
      EXPECT_EQ(with(fmt::format(fmt::runtime(where), index)), kMalformed) << where << index;
    }
  }
  EXPECT_EQ(with(R"(,"variations":[])"), kMalformed);
}

TEST(Evaluator, OutcomeNeedsAVariationOrARollout) {
  EXPECT_EQ(with(R"(,"fallthrough":{})"), kMalformed);
  EXPECT_EQ(with(R"(,"fallthrough":null)"), kMalformed);
  EXPECT_EQ(with(R"(,"fallthrough":{"rollout":{"variations":[]}})"), kMalformed);
  EXPECT_EQ(with(R"(,"fallthrough":{"rollout":{}})"), kMalformed);
  EXPECT_EQ(with(R"(,"rules":[{"id":"r","clauses":[]}])"), kMalformed);
  EXPECT_EQ(
      with(
          R"(,"fallthrough":{"variation":null,"rollout":{"variations":[{"variation":2,"weight":100000}]}})"),
      result(R"("c")", "2", R"("kind":"FALLTHROUGH")"));
}

TEST(Evaluator, VariationsAreGivenAsTheyWereWritten) {
  for (const std::string_view value :
       {"1.0", "1e2", "-0.0", R"({ "b" : 1, "a": [1.50, "\u00e9\/"] })", "null", "\"\\u0041\"",
        "12345678901234567890123", "true"}) {
    EXPECT_EQ(with(fmt::format(R"(,"variations":[{}])", value)),
              result(value, "0", R"("kind":"FALLTHROUGH")"));
  }
}

TEST(Targets, UsersByKey) {
  constexpr std::string_view kTargets =
      R"(,"targets":[{"values":["x","y"],"variation":1},{"values":["u"],"variation":2},{"values":["u"],"variation":3}])";
  const std::string matched = result(R"("c")", "2", R"("kind":"TARGET_MATCH")");
  EXPECT_EQ(with(kTargets), matched);
  EXPECT_EQ(with(kTargets, kMulti), matched);
  EXPECT_EQ(with(kTargets, R"({"kind":"user","key":"U"})"), kFellThrough);
  EXPECT_EQ(with(kTargets, R"({"kind":"org","key":"u"})"), kFellThrough);
  EXPECT_EQ(with(R"(,"targets":null,"contextTargets":null)"), kFellThrough);
}

TEST(Targets, ContextTargetsDecideTheOrder) {
  constexpr std::string_view kTargets =
      R"(,"targets":[{"values":["u"],"variation":1}],
      "contextTargets":[{"contextKind":"org","values":["o"],"variation":2},
                        {"contextKind":"user","values":[],"variation":1},
                        {"contextKind":"user","values":[],"variation":3}])";
  EXPECT_EQ(with(kTargets, kMulti), result(R"("c")", "2", R"("kind":"TARGET_MATCH")"));
  EXPECT_EQ(with(kTargets, kUser), result(R"("b")", "1", R"("kind":"TARGET_MATCH")"));
  EXPECT_EQ(with(kTargets, R"({"kind":"org","key":"x"})"), kFellThrough);
  constexpr std::string_view kUserFirst =
      R"(,"targets":[{"values":["u"],"variation":1}],
      "contextTargets":[{"values":[],"variation":1},{"contextKind":"org","values":["o"],"variation":2}])";
  EXPECT_EQ(with(kUserFirst, kMulti), result(R"("b")", "1", R"("kind":"TARGET_MATCH")"));
}

TEST(Targets, WithContextTargetsTheOthersAreOnlyPlaceholders) {
  EXPECT_EQ(with(R"(,"targets":[{"values":["u"],"variation":1}],
                 "contextTargets":[{"contextKind":"org","values":["o"],"variation":2}])"),
            kFellThrough);
  EXPECT_EQ(with(R"(,"targets":[{"values":["u"],"variation":1}],
                 "contextTargets":[{"contextKind":"user","values":["u"],"variation":2}])"),
            result(R"("c")", "2", R"("kind":"TARGET_MATCH")"));
}

TEST(Rules, FirstWhoseClausesAllMatchDecides) {
  constexpr std::string_view kRules =
      R"(,"rules":[
      {"id":"one","variation":1,"clauses":[{"attribute":"key","op":"in","values":["u"]},
                                           {"attribute":"key","op":"in","values":["x"]}]},
      {"id":"","variation":2,"clauses":[{"attribute":"key","op":"in","values":["u"]}]},
      {"id":"three","variation":3,"clauses":[]}])";
  EXPECT_EQ(with(kRules), result(R"("c")", "2", R"("kind":"RULE_MATCH","ruleIndex":1)"));
  EXPECT_EQ(with(kRules, kOrg),
            result(R"("d")", "3", R"("kind":"RULE_MATCH","ruleIndex":2,"ruleId":"three")"));
}

constexpr std::string_view kHalves =
    R"("variations":[{"variation":1,"weight":50000},{"variation":2,"weight":50000}])";

std::string with_rollout(std::string_view members, std::string_view context) {
  return with(fmt::format(R"(,"key":"hashKey","salt":"saltyA","fallthrough":{{"rollout":{{{}}}}})",
                          members),
              context);
}

TEST(Rollouts, BucketDecides) {
  EXPECT_EQ(with_rollout(kHalves, R"({"key":"userKeyA"})"),
            result(R"("b")", "1", R"("kind":"FALLTHROUGH")"));
  EXPECT_EQ(with_rollout(kHalves, R"({"key":"userKeyB"})"),
            result(R"("c")", "2", R"("kind":"FALLTHROUGH")"));
  EXPECT_EQ(with_rollout(fmt::format(R"("seed":61,{})", kHalves), R"({"key":"userKeyC"})"),
            result(R"("c")", "2", R"("kind":"FALLTHROUGH")"));
}

TEST(Rollouts, LastEntryGetsTheRest) {
  EXPECT_EQ(with_rollout(R"("variations":[{"variation":1,"weight":1},{"variation":2,"weight":1}])",
                         R"({"key":"userKeyB"})"),
            result(R"("c")", "2", R"("kind":"FALLTHROUGH")"));
}

TEST(Rollouts, BucketZeroIsTheFirstEntryWithAWeight) {
  constexpr std::string_view kEntries =
      R"("variations":[{"variation":3,"weight":0},{"variation":1,"weight":1},{"variation":2,"weight":99999}])";
  const std::string first = result(R"("b")", "1", R"("kind":"FALLTHROUGH")");
  EXPECT_EQ(with_rollout(fmt::format(R"("bucketBy":"absent",{})", kEntries), R"({"key":"x"})"),
            first);
  EXPECT_EQ(with_rollout(fmt::format(R"("contextKind":"org",{})", kEntries), R"({"key":"x"})"),
            first);
}

TEST(Rollouts, BadBucketByIsMalformed) {
  EXPECT_EQ(with_rollout(fmt::format(R"("contextKind":"user","bucketBy":"//",{})", kHalves), kUser),
            kMalformed);
  EXPECT_NE(with_rollout(fmt::format(R"("bucketBy":"//",{})", kHalves), kUser), kMalformed);
}

TEST(Experiments, SayThatTheyAreIn) {
  EXPECT_EQ(
      with_rollout(
          fmt::format(R"("kind":"experiment","bucketBy":"//","contextKind":"user",{})", kHalves),
          R"({"key":"userKeyA"})"),
      result(R"("b")", "1", R"("kind":"FALLTHROUGH","inExperiment":true)"));
  EXPECT_EQ(with(R"(,"rules":[{"id":"r","clauses":[],"rollout":{"kind":"experiment","seed":61,
                 "variations":[{"variation":1,"weight":100000}]}}])"),
            result(R"("b")", "1",
                   R"("kind":"RULE_MATCH","ruleIndex":0,"ruleId":"r","inExperiment":true)"));
}

TEST(Experiments, UntrackedEntriesAndAbsentKindsAreNotIn) {
  constexpr std::string_view kUntracked =
      R"("kind":"experiment","variations":[{"variation":1,"weight":100000,"untracked":true}])";
  const std::string expected = result(R"("b")", "1", R"("kind":"FALLTHROUGH")");
  EXPECT_EQ(with_rollout(kUntracked, kUser), expected);
  EXPECT_EQ(
      with_rollout(fmt::format(R"("kind":"experiment","contextKind":"org",{})", kHalves), kUser),
      expected);
}

TEST(Experiments, WhoeverGetsTheRestIsInEvenWithoutTheKind) {
  EXPECT_EQ(with_rollout(R"("kind":"experiment","contextKind":"org","variations":[
                         {"variation":0,"weight":0},{"variation":1,"weight":0}])",
                         kUser),
            result(R"("b")", "1", R"("kind":"FALLTHROUGH","inExperiment":true)"));
}

TEST(Experiments, DecideWhetherTheReasonIsTracked) {
  const auto is_experiment = [](std::string_view more) {
    const auto evaluator = *Evaluator::compile(flag_document(more));
    return evaluator->evaluate("f", *Context::parse(kUser)).is_experiment;
  };
  EXPECT_FALSE(is_experiment(""));
  EXPECT_FALSE(is_experiment(R"(,"trackEvents":true)"));
  EXPECT_TRUE(is_experiment(R"(,"trackEventsFallthrough":true)"));
  EXPECT_TRUE(is_experiment(R"(,"rules":[{"clauses":[],"variation":1,"trackEvents":true}])"));
  EXPECT_FALSE(
      is_experiment(R"(,"trackEventsFallthrough":true,"rules":[{"clauses":[],"variation":1}])"));
  EXPECT_TRUE(is_experiment(
      R"(,"fallthrough":{"rollout":{"kind":"experiment","variations":[{"variation":1,"weight":1}]}})"));
}

// Flags by key, all on with the variations 0 to 2, falling through to 1.
std::string chain(std::initializer_list<std::pair<std::string_view, std::string_view>> flags) {
  std::string out = R"({"flags":{)";
  for (const auto& [key, more] : flags) {
    if (!out.ends_with('{')) out += ',';
    out += fmt::format(
        R"("{}":{{"on":true,"variations":[0,1,2],"offVariation":2,"fallthrough":{{"variation":1}}{}}})",
        key, more);
  }
  return out + "}}";
}

std::string requires_one(std::string_view key) {
  return fmt::format(R"(,"prerequisites":[{{"key":"{}","variation":1}}])", key);
}

std::string failed(std::string_view key) {
  return result("2", "2",
                fmt::format(R"("kind":"PREREQUISITE_FAILED","prerequisiteKey":"{}")", key));
}
const std::string kHeld = result("1", "1", R"("kind":"FALLTHROUGH")");

TEST(Prerequisites, MustServeTheirVariation) {
  EXPECT_EQ(evaluated(chain({{"a", requires_one("b")}, {"b", ""}}), "a", kUser), kHeld);
  EXPECT_EQ(evaluated(chain({{"a", requires_one("b")}, {"b", R"(,"fallthrough":{"variation":0})"}}),
                      "a", kUser),
            failed("b"));
}

TEST(Prerequisites, OffOrMissingOrMalformedOnesFail) {
  EXPECT_EQ(evaluated(chain({{"a", requires_one("b")}}), "a", kUser), failed("b"));
  EXPECT_EQ(evaluated(chain({{"a", requires_one("b")}, {"b", R"(,"on":false,"offVariation":1)"}}),
                      "a", kUser),
            failed("b"));
  EXPECT_EQ(evaluated(chain({{"a", requires_one("b")}, {"b", R"(,"fallthrough":{"variation":9})"}}),
                      "a", kUser),
            failed("b"));
  EXPECT_EQ(
      evaluated(
          chain({{"a", requires_one("b")}, {"b", requires_one("c")}, {"c", R"(,"on":false)"}}), "a",
          kUser),
      failed("b"));
}

TEST(Prerequisites, CyclesAreMalformed) {
  EXPECT_EQ(evaluated(chain({{"a", requires_one("a")}}), "a", kUser), kMalformed);
  const std::string loop =
      chain({{"a", requires_one("b")}, {"b", requires_one("c")}, {"c", requires_one("a")}});
  for (const std::string_view key : {"a", "b", "c"})
    EXPECT_EQ(evaluated(loop, key, kUser), kMalformed) << key;
  EXPECT_EQ(evaluated(chain({{"a", requires_one("b")}, {"b", requires_one("b")}}), "a", kUser),
            kMalformed);
}

TEST(Prerequisites, OneFlagOnTwoBranchesIsNoCycle) {
  EXPECT_EQ(
      evaluated(
          chain({{"a", R"(,"prerequisites":[{"key":"b","variation":1},{"key":"c","variation":1}])"},
                 {"b", requires_one("d")},
                 {"c", requires_one("d")},
                 {"d", ""}}),
          "a", kUser),
      kHeld);
}

TEST(Prerequisites, BadClauseInOneIsMalformed) {
  EXPECT_EQ(
      evaluated(
          chain({{"a", requires_one("b")},
                 {"b", R"(,"rules":[{"variation":1,"clauses":[{"op":"in","values":[1]}]}])"}}),
          "a", kUser),
      kMalformed);
}

TEST(Prerequisites, AreRecordedUpToTheFirstThatFails) {
  const std::string document = chain(
      {{"a",
        R"(,"prerequisites":[{"key":"b","variation":1},{"key":"c","variation":0},{"key":"d","variation":1}])"},
       {"b", requires_one("d")},
       {"c", ""},
       {"d", ""}});
  const auto evaluator = *Evaluator::compile(document);
  std::vector<PrerequisiteEvaluation> recorded;
  evaluator->evaluate("a", *Context::parse(kUser), {.prerequisites = &recorded});
  std::vector<std::string> seen;
  for (const auto& each : recorded)
    seen.push_back(
        fmt::format("{}>{}={}", each.parent->key, each.flag->key, each.evaluation.value));
  EXPECT_THAT(seen, ElementsAre("b>d=1", "a>b=1", "a>c=1"));
}

// "n0" needs "n1" needs ... needs "n<count>"; each `times` times.
std::string tower(int count, int times) {
  std::string out = R"({"flags":{)";
  for (int i = 0; i <= count; ++i) {
    out += fmt::format(R"({}"n{}":{{"on":true,"variations":[1],"fallthrough":{{"variation":0}})",
                       i == 0 ? "" : ",", i);
    if (i < count) {
      out += R"(,"prerequisites":[)";
      for (int n = 0; n < times; ++n)
        out += fmt::format(R"({}{{"key":"n{}","variation":0}})", n == 0 ? "" : ",", i + 1);
      out += ']';
    }
    out += '}';
  }
  return out + "}}";
}

TEST(Prerequisites, NestingAndFanOutAreLimited) {
  const std::string held = result("1", "0", R"("kind":"FALLTHROUGH")");
  EXPECT_EQ(evaluated(tower(Evaluator::kNestingMax - 1, 1), "n0", kUser), held);
  EXPECT_EQ(evaluated(tower(Evaluator::kNestingMax, 1), "n0", kUser), kMalformed);
  EXPECT_EQ(evaluated(tower(10, 2), "n0", kUser), held);
  EXPECT_EQ(evaluated(tower(40, 2), "n0", kUser), kMalformed);
}

// Whether the context is in the segment `s` of `segments`.
std::string in_segment(std::string_view segments, std::string_view context) {
  return clause_result(R"({"op":"segmentMatch","values":["s"]})", context, segments);
}

TEST(Segments, ListsAreTriedInTheirOrder) {
  EXPECT_EQ(in_segment(R"({"s":{"included":["u"],"excluded":["u"]}})", kUser), "match");
  EXPECT_EQ(in_segment(R"({"s":{"excluded":["u"],"rules":[{"clauses":[]}]}})", kUser), "no match");
  EXPECT_EQ(in_segment(R"({"s":{"excluded":["u"],"rules":[{"clauses":[]}]}})", kOrg), "match");
  EXPECT_EQ(in_segment(R"({"s":{"included":["o"]}})", kOrg), "no match");
  EXPECT_EQ(in_segment(R"({"s":{"included":["u"]}})", kMulti), "match");
}

TEST(Segments, ContextListsAreForOtherKinds) {
  constexpr std::string_view kIncluded =
      R"({"s":{"excluded":["u"],"includedContexts":[{"contextKind":"org","values":["o"]}]}})";
  EXPECT_EQ(in_segment(kIncluded, kOrg), "match");
  EXPECT_EQ(in_segment(kIncluded, kMulti), "match");
  EXPECT_EQ(in_segment(kIncluded, kUser), "no match");
  constexpr std::string_view kExcluded =
      R"({"s":{"excludedContexts":[{"contextKind":"org","values":["o"]}],"rules":[{"clauses":[]}]}})";
  EXPECT_EQ(in_segment(kExcluded, kOrg), "no match");
  EXPECT_EQ(in_segment(kExcluded, kMulti), "no match");
  EXPECT_EQ(in_segment(kExcluded, kUser), "match");
  EXPECT_EQ(
      in_segment(R"({"s":{"includedContexts":[{"contextKind":"user","values":["u"]}]}})", kUser),
      "no match");
}

TEST(Segments, UnknownDeletedAndOddOnesAreSkipped) {
  EXPECT_EQ(in_segment("{}", kUser), "no match");
  EXPECT_EQ(in_segment(R"({"s":{"included":["u"],"deleted":true}})", kUser), "no match");
  EXPECT_EQ(clause_result(R"({"op":"segmentMatch","values":["x"],"negate":true})", kUser), "match");
  EXPECT_EQ(clause_result(R"({"op":"segmentMatch","values":[1,null,"x","s"],"attribute":"//",
                          "contextKind":"org"})",
                          kUser, R"({"s":{"included":["u"]}})"),
            "match");
  EXPECT_EQ(clause_result(R"({"op":"segmentMatch","values":["s"],"negate":true})", kUser,
                          R"({"s":{"included":["u"]}})"),
            "no match");
}

TEST(Segments, RulesNeedAllClauses) {
  constexpr std::string_view kRules =
      R"({"s":{"rules":[{"clauses":[{"attribute":"key","op":"in","values":["u"]},{"attribute":"key","op":"in","values":["v"]}]},
                        {"clauses":[{"contextKind":"org","attribute":"key","op":"in","values":["o"]}]}]}})";
  EXPECT_EQ(in_segment(kRules, kUser), "no match");
  EXPECT_EQ(in_segment(kRules, kOrg), "match");
  EXPECT_EQ(in_segment(R"({"s":{"rules":[{"clauses":[{"attribute":"","op":"in","values":[]}]}]}})",
                       kUser),
            "malformed");
}

// Buckets of hashKey.saltyA: userKeyA 0.4216, userKeyB 0.6708.
TEST(Segments, WeightsUseTheSegmentsKeyAndSalt) {
  const auto weighted = [](std::string_view more, std::string_view context) {
    return in_segment(
        fmt::format(R"({{"s":{{"key":"hashKey","salt":"saltyA","rules":[{{"clauses":[],{}}}]}}}})",
                    more),
        context);
  };
  EXPECT_EQ(weighted(R"("weight":42158)", R"({"key":"userKeyA"})"), "match");
  EXPECT_EQ(weighted(R"("weight":42157)", R"({"key":"userKeyA"})"), "no match");
  EXPECT_EQ(weighted(R"("weight":42158)", R"({"key":"userKeyB"})"), "no match");
  EXPECT_EQ(weighted(R"("weight":0)", R"({"key":"userKeyB"})"), "no match");
  EXPECT_EQ(
      weighted(R"("weight":42158,"bucketBy":"a")", R"({"kind":"user","key":"x","a":"userKeyA"})"),
      "match");
  EXPECT_EQ(weighted(R"("weight":1,"bucketBy":"absent")", R"({"key":"x"})"), "match");
  EXPECT_EQ(weighted(R"("weight":0,"bucketBy":"absent")", R"({"key":"x"})"), "no match");
  EXPECT_EQ(weighted(R"("weight":100000,"rolloutContextKind":"org")", R"({"key":"x"})"),
            "no match");
  EXPECT_EQ(weighted(R"("weight":42158,"rolloutContextKind":"org")",
                     R"({"kind":"org","key":"userKeyA"})"),
            "match");
  EXPECT_EQ(weighted(R"("weight":1,"bucketBy":"//","rolloutContextKind":"user")", R"({"key":"x"})"),
            "malformed");
  EXPECT_EQ(weighted(R"("weight":1,"bucketBy":"//")", R"({"key":"x"})"), "match");
}

constexpr std::string_view kNested =
    R"({{"rules":[{{"clauses":[{{"op":"segmentMatch","values":["{}"]}}]}}]}})";

TEST(Segments, MayNestButNotInACircle) {
  const auto nested = [](std::string_view key) { return fmt::format(fmt::runtime(kNested), key); };
  EXPECT_EQ(in_segment(fmt::format(R"({{"s":{},"t":{{"included":["u"]}}}})", nested("t")), kUser),
            "match");
  EXPECT_EQ(in_segment(fmt::format(R"({{"s":{}}})", nested("s")), kUser), "malformed");
  EXPECT_EQ(in_segment(fmt::format(R"({{"s":{},"t":{}}})", nested("t"), nested("s")), kUser),
            "malformed");
  EXPECT_EQ(
      in_segment(fmt::format(R"({{"s":{},"t":{},"q":{{}}}})", nested("q"), nested("s")), kUser),
      "no match");
}

TEST(Segments, NestingIsLimited) {
  std::string segments = "{";
  for (int i = 0; i < 1000; ++i) {
    segments += fmt::format(R"("{}":)", i == 0 ? "s" : fmt::format("s{}", i));
    segments += fmt::format(fmt::runtime(kNested), fmt::format("s{}", i + 1)) + ",";
  }
  EXPECT_EQ(in_segment(segments + R"("s1000":{"included":["u"]}})", kUser), "malformed");
}

struct FakeBigSegments : BigSegments {
  Answer find(std::string_view context_key, std::string_view reference) const override {
    asked = fmt::format("{} {}", context_key, reference);
    return answer;
  }
  Answer answer;
  mutable std::string asked;
};

constexpr std::string_view kBigClause = R"({"op":"segmentMatch","values":["s"]})";

TEST(BigSegments, AreNotConfiguredWithoutAStore) {
  const auto evaluate = [](std::string_view segment, std::string_view context) {
    return evaluated(with_rule(kBigClause, fmt::format(R"({{"s":{}}})", segment)), "f", context);
  };
  const std::string not_in =
      result(R"("a")", "0", R"("kind":"FALLTHROUGH","bigSegmentsStatus":"NOT_CONFIGURED")");
  EXPECT_EQ(evaluate(R"({"unbounded":true,"generation":1,"included":["u"]})", kUser), not_in);
  EXPECT_EQ(evaluate(R"({"unbounded":true,"rules":[{"clauses":[]}]})", kUser), not_in);
  EXPECT_EQ(
      evaluate(R"({"unbounded":true,"generation":1,"rules":[{"clauses":[]}]})", kUser),
      result(
          R"("b")", "1",
          R"("kind":"RULE_MATCH","ruleIndex":0,"ruleId":"r","bigSegmentsStatus":"NOT_CONFIGURED")"));
  EXPECT_EQ(evaluate(R"({"unbounded":true,"generation":1})", kOrg), kFellThrough);
}

TEST(BigSegments, StoreDecidesUnlessItDoesNotKnow) {
  FakeBigSegments store;
  const auto evaluate = [&store] {
    return evaluated(with_rule(kBigClause, R"({"s":{"key":"big","unbounded":true,"generation":7,
                  "unboundedContextKind":"org","rules":[{"clauses":[]}]}})"),
                     "f", kMulti, {.big_segments = &store});
  };
  store.answer = {BigSegmentsStatus::Healthy, true};
  EXPECT_THAT(
      evaluate(),
      HasSubstr(R"("RULE_MATCH","ruleIndex":0,"ruleId":"r","bigSegmentsStatus":"HEALTHY")"));
  EXPECT_EQ(store.asked, "o big.g7");
  store.answer = {BigSegmentsStatus::Stale, false};
  EXPECT_THAT(evaluate(), HasSubstr(R"("FALLTHROUGH","bigSegmentsStatus":"STALE")"));
  store.answer = {BigSegmentsStatus::StoreError, std::nullopt};
  EXPECT_THAT(
      evaluate(),
      HasSubstr(R"("RULE_MATCH","ruleIndex":0,"ruleId":"r","bigSegmentsStatus":"STORE_ERROR")"));
}

TEST(BigSegments, WorstStatusIsTold) {
  FakeBigSegments store;
  store.answer = {BigSegmentsStatus::Stale, false};
  EXPECT_THAT(
      evaluated(with_rule(R"({"op":"segmentMatch","values":["none","s","s"]})",
                          R"({"none":{"unbounded":true},"s":{"unbounded":true,"generation":1}})"),
                "f", kUser, {.big_segments = &store}),
      HasSubstr("NOT_CONFIGURED"));
}

TEST(Compile, MissingMembersAreTolerated) {
  EXPECT_EQ(
      evaluated(R"({"flags":{"f":{"on":true,"variations":[1],"fallthrough":{"variation":0}}}})",
                "f", kUser),
      result("1", "0", R"("kind":"FALLTHROUGH")"));
  EXPECT_EQ(evaluated(R"({"flags":{"f":{}}})", "f", kUser),
            result("null", "null", R"("kind":"OFF")"));
}

TEST(Compile, ItemsOfAWrongShapeFailAlone) {
  constexpr std::string_view kDocument =
      R"({"flags":{"bad":{"on":"yes"},"f":{"variations":[1],"offVariation":0},"odd":7,
      "deep":{"rules":[{"clauses":[{"values":{}}]}]}},
      "segments":{"s":{"included":[1]}}})";
  const auto evaluator = *Evaluator::compile(kDocument);
  EXPECT_THAT(evaluator->problems(),
              ElementsAre("segment s: included[0] is not a string", "flag bad: on is not a boolean",
                          "flag odd: it is not an object",
                          "flag deep: rules[0].clauses[0].values is not an array"));
  EXPECT_EQ(evaluated(kDocument, "bad", kUser), kMalformed);
  EXPECT_EQ(evaluated(kDocument, "odd", kUser), kMalformed);
  EXPECT_EQ(evaluated(kDocument, "f", kUser), result("1", "0", R"("kind":"OFF")"));
  EXPECT_EQ(in_segment(R"({"s":{"included":[1]}})", kUser), "malformed");
}

TEST(Compile, DocumentsOfAWrongShapeAreRefused) {
  for (const std::string_view document :
       {"", "[]", "7", R"({"flags":[]})", R"({"segments":"s"})", "{"})
    EXPECT_FALSE(Evaluator::compile(document)) << document;
}

TEST(Compile, PropertiesForClients) {
  const auto evaluator = *Evaluator::compile(
      R"({"flags":{"new":{"version":3.0,"trackEvents":true,"debugEventsUntilDate":1795410000000,
      "clientSideAvailability":{"usingMobileKey":false,"usingEnvironmentId":true}},
      "old":{"clientSide":true},"none":{}}})");
  const Flag& flag = *evaluator->find("new");
  EXPECT_EQ(flag.version, 3);
  EXPECT_TRUE(flag.tracks_events);
  EXPECT_EQ(flag.debug_events_until, 1795410000000);
  EXPECT_FALSE(flag.is_for_mobile);
  EXPECT_TRUE(flag.is_for_client_side_id);
  EXPECT_TRUE(evaluator->find("old")->is_for_client_side_id);
  EXPECT_TRUE(evaluator->find("old")->is_for_mobile);
  EXPECT_FALSE(evaluator->find("none")->is_for_client_side_id);
}

}  // namespace
}  // namespace flagstream::flags
