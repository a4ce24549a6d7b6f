// Every operator with every type of value, and how clauses find what they compare.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "flags/test_evaluate.h"

namespace flagstream::flags {
namespace {

// Whether `attribute` (JSON) OP any of `values` (JSON, comma separated); both ways of negation must
// agree.
bool is_match(std::string_view attribute, std::string_view op, std::string_view values) {
  const std::string context = fmt::format(R"({{"kind":"user","key":"k","a":{}}})", attribute);
  const auto result = [&](std::string_view negate) {
    return clause_result(
        fmt::format(
            R"({{"contextKind":"user","attribute":"a","op":"{}","values":[{}],"negate":{}}})", op,
            values, negate),
        context);
  };
  const std::string plain = result("false");
  EXPECT_EQ(result("true"), plain == "match" ? "no match" : "match")
      << attribute << " " << op << " " << values;
  return plain == "match";
}

struct Case {
  std::string_view attribute;
  std::string_view op;
  std::string_view values;
  bool expected;
};

void check(std::initializer_list<Case> cases) {
  for (const Case& each : cases) {
    EXPECT_EQ(is_match(each.attribute, each.op, each.values), each.expected)
        << each.attribute << " " << each.op << " " << each.values;
  }
}

TEST(Operator, InComparesTypeAndValue) {
  check({
      {R"("x")", "in", R"("x")", true},
      {R"("x")", "in", R"("y","x")", true},
      {R"("x")", "in", R"("X")", false},
      {R"("x")", "in", "", false},
      {"5", "in", "5", true},
      {"5", "in", "5.0", true},
      {"5", "in", R"("5")", false},
      {R"("5")", "in", "5", false},
      {"0.5", "in", "5e-1", true},
      {"9007199254740993", "in", "9007199254740992", true},
      {"true", "in", "true", true},
      {"false", "in", "false", true},
      {"true", "in", "false", false},
      {"true", "in", "1", false},
      {"1", "in", "true", false},
      {"false", "in", "0", false},
      {"true", "in", R"("true")", false},
      {R"({"p":1})", "in", R"({"p":1})", false},
      {"[[1]]", "in", "[1]", false},
      {"1", "in", "null", false},
      {R"("")", "in", R"("")", true},
      {R"("é")", "in", R"("\u00e9")", true},
  });
}

TEST(Operator, TextOperatorsWantText) {
  check({
      {R"("xyz")", "startsWith", R"("x")", true},
      {R"("xyz")", "startsWith", R"("z")", false},
      {R"("xyz")", "startsWith", R"("")", true},
      {R"("x")", "startsWith", R"("xy")", false},
      {R"("xyz")", "startsWith", R"("X")", false},
      {R"("99")", "startsWith", "9", false},
      {"99", "startsWith", R"("9")", false},
      {R"("xyz")", "endsWith", R"("z")", true},
      {R"("xyz")", "endsWith", R"("y")", false},
      {R"("z")", "endsWith", R"("yz")", false},
      {R"("xyz")", "endsWith", R"("")", true},
      {R"("99")", "endsWith", "9", false},
      {R"("xyz")", "contains", R"("y")", true},
      {R"("y")", "contains", R"("xyz")", false},
      {R"("xyz")", "contains", R"("")", true},
      {R"("xyz")", "contains", R"("q","yz")", true},
      {"true", "contains", R"("t")", false},
      {R"("true")", "contains", "true", false},
  });
}

TEST(Operator, MatchesSearchesAnywhere) {
  check({
      {R"("hello world")", "matches", R"("hello.*rld")", true},
      {R"("hello world")", "matches", R"("hello.*orl")", true},
      {R"("hello world")", "matches", R"("l+")", true},
      {R"("hello world")", "matches", R"x("(world|planet)")x", true},
      {R"("hello world")", "matches", R"("aloha")", false},
      {R"("hello world")", "matches", R"("^world")", false},
      {R"("hello world")", "matches", R"("***not a regex","world$")", true},
      {R"("hello world")", "matches", R"("***not a regex")", false},
      {R"("hello world")", "matches", R"x("(?=hello)")x", false},
      {"2", "matches", R"("2")", false},
      {R"("2")", "matches", "2", false},
      {R"("é")", "matches", R"("^.$")", true},
  });
}

TEST(Operator, NumberOperatorsWantNumbers) {
  check({
      {"1", "lessThan", "1.5", true},
      {"1", "lessThan", "1", false},
      {"1", "lessThanOrEqual", "1.0", true},
      {"2", "lessThanOrEqual", "1", false},
      {"2", "greaterThan", "1.99", true},
      {"2", "greaterThan", "2", false},
      {"2", "greaterThanOrEqual", "2", true},
      {"1", "greaterThanOrEqual", "2", false},
      {"2", "greaterThan", "3,1", true},
      {R"("2")", "greaterThan", "1", false},
      {"2", "greaterThan", R"("1")", false},
      {"true", "greaterThan", "0", false},
      {"-1", "lessThan", "0", true},
      {"1e400", "greaterThan", "1e308", true},
  });
}

TEST(Operator, DatesAreNumbersOrText) {
  check({
      {"0", "before", "1", true},
      {"-100", "before", "0", true},
      {"1", "before", "1", false},
      {"1", "after", "0", true},
      {R"("1970-01-01T00:00:00Z")", "before", R"("1970-01-01T00:00:01Z")", true},
      {R"("1970-01-01T00:00:00.5Z")", "after", "499", true},
      {"500", "before", R"("1970-01-01T00:00:00.500Z")", false},
      {R"("1970-01-01T00:00:00.500000001Z")", "after", "500", true},
      {R"("1970-01-01T01:00:00+01:00")", "before", "1", true},
      {R"("1970-01-01T01:00:00+01:00")", "after", "-1", true},
      {"1.5", "before", "1.9", false},
      {R"("1970-01-01")", "before", "1000000000000", false},
      {R"("100")", "before", "1000", false},
      {"true", "before", "1000", false},
      {R"("1970-01-01T00:00:00Z")", "before", R"("nonsense","1970-01-01T00:00:01Z")", true},
  });
}

TEST(Operator, SemanticVersionsAreText) {
  check({
      {R"("2.0.0")", "semVerEqual", R"("2.0")", true},
      {R"("2.0.0")", "semVerEqual", R"("2.0.0+b")", true},
      {R"("2.0.0")", "semVerEqual", R"("2.0.0-rc")", false},
      {R"("2.0.0-rc")", "semVerLessThan", R"("2")", true},
      {R"("2.0.0")", "semVerLessThan", R"("2.0.0")", false},
      {R"("2.10.0")", "semVerGreaterThan", R"("2.9.0")", true},
      {R"("2.0.0")", "semVerGreaterThan", R"("2.0.0-rc.1")", true},
      {R"("v2.0.0")", "semVerEqual", R"("2.0.0")", false},
      {R"("2.0.0")", "semVerEqual", R"("hello","2.0.0")", true},
      {"2", "semVerEqual", R"("2")", false},
      {R"("2")", "semVerEqual", "2", false},
  });
}

TEST(Operator, UnknownOneMatchesNothing) {
  EXPECT_FALSE(is_match(R"("x")", "equals", R"("x")"));
  EXPECT_FALSE(is_match(R"("x")", "", R"("x")"));
}

TEST(Operator, AnyElementOfAnArrayIsEnough) {
  check({
      {R"(["x","y"])", "in", R"("y","z")", true},
      {R"(["x","y"])", "in", R"("z")", false},
      {"[]", "in", R"("x")", false},
      {R"([["x"],{"p":"x"},null])", "in", R"("x")", false},
      {"[1,3]", "greaterThan", "2", true},
      {R"([true,"xyz"])", "contains", R"("y")", true},
  });
}

TEST(Clause, MissingAttributeNeverMatches) {
  constexpr std::string_view kContext = R"({"kind":"user","key":"k","n":null,"o":{"p":1}})";
  for (const std::string_view attribute : {"absent", "n", "/o/q", "/o/p/q", "name"}) {
    for (const std::string_view negate : {"false", "true"}) {
      EXPECT_EQ(clause_result(fmt::format(R"({{"contextKind":"user","attribute":"{}","op":"in",
                                          "values":["x"],"negate":{}}})",
                                          attribute, negate),
                              kContext),
                "no match")
          << attribute;
    }
  }
}

TEST(Clause, OtherKindNeverMatches) {
  for (const std::string_view negate : {"false", "true"}) {
    EXPECT_EQ(clause_result(fmt::format(R"({{"contextKind":"org","attribute":"key","op":"in",
                                        "values":["k"],"negate":{}}})",
                                        negate),
                            R"({"kind":"user","key":"k"})"),
              "no match");
  }
}

TEST(Clause, KindIsTakenFromTheMember) {
  constexpr std::string_view kMulti =
      R"({"kind":"multi","user":{"key":"u","a":1},"org":{"key":"o","a":2}})";
  const auto result = [kMulti](std::string_view kind, std::string_view value) {
    return clause_result(
        fmt::format(R"({{{}"attribute":"a","op":"in","values":[{}]}})", kind, value), kMulti);
  };
  EXPECT_EQ(result(R"("contextKind":"org",)", "2"), "match");
  EXPECT_EQ(result(R"("contextKind":"org",)", "1"), "no match");
  EXPECT_EQ(result(R"("contextKind":"user",)", "1"), "match");
  EXPECT_EQ(result("", "1"), "match");
  EXPECT_EQ(result(R"("contextKind":"",)", "1"), "match");
  EXPECT_EQ(result(R"("contextKind":"device",)", "1"), "no match");
}

TEST(Clause, AttributeIsAPathOnlyWithAContextKind) {
  constexpr std::string_view kContext =
      R"({"kind":"user","key":"k","a":{"b":"path"},"/a/b":"name"})";
  EXPECT_EQ(
      clause_result(R"({"contextKind":"user","attribute":"/a/b","op":"in","values":["path"]})",
                    kContext),
      "match");
  EXPECT_EQ(clause_result(R"({"attribute":"/a/b","op":"in","values":["name"]})", kContext),
            "match");
  EXPECT_EQ(clause_result(R"({"attribute":"//","op":"in","values":["name"]})", kContext),
            "no match");
}

TEST(Clause, KindAttributeTestsTheNamesOfAllKinds) {
  constexpr std::string_view kMulti = R"({"kind":"multi","user":{"key":"u"},"org":{"key":"o"}})";
  const auto result = [](std::string_view more, std::string_view context) {
    return clause_result(
        fmt::format(R"({{"contextKind":"org","attribute":"kind","op":"in",{}}})", more), context);
  };
  constexpr std::string_view kUser = R"({"kind":"user","key":"u"})";
  EXPECT_EQ(result(R"("values":["user"])", kUser), "match");
  EXPECT_EQ(result(R"("values":["org"])", kUser), "no match");
  EXPECT_EQ(result(R"("values":["org"],"negate":true)", kUser), "match");
  EXPECT_EQ(result(R"("values":["org"])", kMulti), "match");
  EXPECT_EQ(result(R"("values":["user"])", kMulti), "match");
  EXPECT_EQ(result(R"("values":["org"],"negate":true)", kMulti), "no match");
  EXPECT_EQ(result(R"("values":["device"],"negate":true)", kMulti), "match");
}

TEST(Clause, BadReferenceMakesTheFlagMalformed) {
  constexpr std::string_view kContext = R"({"kind":"user","key":"k"})";
  for (const std::string_view attribute : {"", "/", "//", "/a/", "/a~2", "/a//b"}) {
    EXPECT_EQ(clause_result(fmt::format(R"({{"contextKind":"user","attribute":"{}","op":"in",
                                        "values":["k"]}})",
                                        attribute),
                            kContext),
              "malformed")
        << attribute;
  }
  EXPECT_EQ(clause_result(R"({"op":"in","values":["k"]})", kContext), "malformed");
}

}  // namespace
}  // namespace flagstream::flags
