#include <array>

#include <gtest/gtest.h>

#include "catalog/items.h"

namespace flagstream::catalog {
namespace {

Flag flag_with(std::vector<Clause> clauses) {
  Flag flag;
  flag.key = "a";
  flag.variations = {{"1", "true", "", ""}, {"2", "false", "", ""}};
  FlagConfig config;
  config.salt = "s";
  config.off_variation = 1;
  Rule rule;
  rule.id = "r";
  rule.clauses = std::move(clauses);
  config.rules = {rule};
  flag.environments = {{"production", config}};
  return flag;
}

FlagConfig& config_of(Flag& flag) { return flag.environments.at("production"); }

Result<void> check(const Flag& flag) {
  const Environment environment{
      .id = EnvironmentId{1}, .project = ProjectId{1}, .key = "production"};
  const Project project{.id = ProjectId{1}, .key = "p", .name = "p"};
  return check_for_publication(flag, flag.environments.at("production"),
                               flag_item(project, environment, flag));
}

bool accepts(const Clause& clause) {
  const auto checked = check(flag_with({clause}));
  if (!checked) EXPECT_EQ(checked.error().kind, ErrorKind::InvalidArgument);
  return checked.has_value();
}

bool accepts(std::string_view op, std::string value) {
  return accepts(
      Clause{.attribute = "x", .op = std::string(op), .values_json = {std::move(value)}});
}

TEST(CheckItem, ValuesThatEverySdkReadsAlikePass) {
  struct Case {
    const char* op;
    const char* value;
  };
  constexpr std::array kCases = {Case{"in", "\"de\""},
                                 Case{"in", "1.5"},
                                 Case{"in", "true"},
                                 Case{"startsWith", "\"\""},
                                 Case{"matches", R"("^a(b|c)+\\d{2}$")"},
                                 Case{"matches", R"j("\\\\Q(?:a)")j"},
                                 Case{"lessThan", "-3"},
                                 Case{"after", "1700000000000"},
                                 Case{"before", "\"2026-01-31T23:59:59Z\""},
                                 Case{"before", "\"2026-01-31T23:59:59.123+01:30\""},
                                 Case{"semVerEqual", "\"2\""},
                                 Case{"semVerLessThan", "\"1.2.3-rc.1+build.007\""},
                                 Case{"segmentMatch", "\"beta\""},
                                 Case{"in", "9007199254740992"}};
  for (const Case& each : kCases)
    EXPECT_TRUE(accepts(each.op, each.value)) << each.op << ' ' << each.value;
}

TEST(CheckItem, ValuesThatSdksReadDifferentlyAreRefused) {
  struct Case {
    const char* op;
    const char* value;
  };
  constexpr std::array kCases = {Case{"in", "null"},
                                 Case{"in", "[1]"},
                                 Case{"in", "{}"},
                                 Case{"in", "9007199254740993"},
                                 Case{"in", "18446744073709551615"},
                                 Case{"contains", "1"},
                                 Case{"is", "1"},
                                 Case{"", "1"},
                                 Case{"matches", "\"(\""},
                                 Case{"matches", "\"(?=a)b\""},
                                 Case{"matches", R"("(a)\\1")"},
                                 Case{"matches", "\"(?P<n>a)\""},
                                 Case{"matches", "\"(?i)a\""},
                                 Case{"matches", R"("\\pLx")"},
                                 Case{"matches", "7"},
                                 Case{"lessThan", "\"1\""},
                                 Case{"after", "1.5"},
                                 Case{"after", "\"2026-01-31\""},
                                 Case{"after", "\"2026-01-31t23:59:59z\""},
                                 Case{"after", "\"2026-01-31T23:59:59\""},
                                 Case{"after", "\"2026-13-31T23:59:59Z\""},
                                 Case{"after", "\"2026-01-31T23:59:59.Z\""},
                                 Case{"after", "\"2026-01-31T23:59:59.1234Z\""},
                                 Case{"after", "9300000000000"},
                                 Case{"before", "-9300000000000"},
                                 Case{"after", "\"2026-01-31T23:59:59+1:00\""},
                                 Case{"after", "true"},
                                 Case{"semVerEqual", "\"v1.0\""},
                                 Case{"semVerEqual", "\"01.0\""},
                                 Case{"semVerEqual", "\"1.2.3.4\""},
                                 Case{"semVerEqual", "\" 1.0\""},
                                 Case{"semVerEqual", "\"1.0-\""},
                                 Case{"semVerEqual", "\"1.0-01\""},
                                 Case{"semVerEqual", "1"},
                                 Case{"segmentMatch", "1"}};
  for (const Case& each : kCases)
    EXPECT_FALSE(accepts(each.op, each.value)) << each.op << ' ' << each.value;
}

TEST(CheckItem, AttributesAndContextKindsMustBeReadAlike) {
  for (const char* good : {"country", "kind", "/a/b", "/a~1b/c~0", "a/b~c", "/meta", "/kinds"})
    EXPECT_TRUE(accepts(Clause{.attribute = good, .op = "in", .values_json = {}})) << good;
  for (const char* bad : {"", "/", "/a/", "//a", "/a//b", "/a~", "/a~2", "/~1a", "/a/~0", "a//b",
                          "a~", "/kind", "_meta", "/_meta", "/_meta/x"})
    EXPECT_FALSE(accepts(Clause{.attribute = bad, .op = "in", .values_json = {}})) << bad;
  for (const char* bad : {"", "kind", "multi", "a b"})
    EXPECT_FALSE(
        accepts(Clause{.context_kind = bad, .attribute = "x", .op = "in", .values_json = {}}))
        << bad;
}

TEST(CheckItem, WhatIsServedMustExistAndAddUp) {
  const Flag good = flag_with({});
  EXPECT_TRUE(check(good));
  const std::array<void (*)(Flag&), 14> faults = {
      [](Flag& flag) { config_of(flag).fallthrough = 2; },
      [](Flag& flag) { config_of(flag).fallthrough = -1; },
      [](Flag& flag) { config_of(flag).off_variation = 2; },
      [](Flag& flag) { config_of(flag).rules[0].serve = 2; },
      [](Flag& flag) { config_of(flag).rules.push_back(config_of(flag).rules[0]); },
      [](Flag& flag) { config_of(flag).fallthrough = Rollout(); },
      [](Flag& flag) { config_of(flag).fallthrough = Rollout{.variations = {{0, 99'999, false}}}; },
      [](Flag& flag) {
        config_of(flag).fallthrough = Rollout{.variations = {{2, 100'000, false}}};
      },
      [](Flag& flag) {
        config_of(flag).fallthrough =
            Rollout{.variations = {{0, 100'000, false}}, .bucket_by = "//"};
      },
      [](Flag& flag) {
        config_of(flag).fallthrough =
            Rollout{.variations = {{0, 100'000, false}}, .bucket_by = "kind"};
      },
      [](Flag& flag) {
        config_of(flag).fallthrough = Rollout{.variations = {{0, 100'000, false}}, .seed = 0};
      },
      [](Flag& flag) { config_of(flag).targets = {{.values = {"u"}, .variation = 2}}; },
      [](Flag& flag) {
        config_of(flag).context_targets = {
            {.context_kind = "user", .values = {"u"}, .variation = 0}};
      },
      [](Flag& flag) { config_of(flag).prerequisites = {{"a", 0}}; },
  };
  for (std::size_t i = 0; i < faults.size(); ++i) {
    Flag flag = good;
    faults[i](flag);
    const auto checked = check(flag);
    ASSERT_FALSE(checked) << i;
    EXPECT_EQ(checked.error().kind, ErrorKind::InvalidArgument) << i;
  }
}

TEST(CheckItem, VariationsHoldNoIntegerThatJavaScriptRounds) {
  Flag flag = flag_with({});
  flag.variations[0].value_json = R"({"a":[{"b":9007199254740993}]})";
  EXPECT_FALSE(check(flag));
}

TEST(CheckItem, AFlagLargerThanARecordIsRefused) {
  Flag flag = flag_with({});
  flag.variations[0].value_json = "\"" + std::string(6 << 20, 'x') + "\"";
  EXPECT_FALSE(check(flag));
}

}  // namespace
}  // namespace flagstream::catalog
