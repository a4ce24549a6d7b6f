#include "json/json.h"

#include <limits>

#include <gtest/gtest.h>

namespace flagstream::json {
namespace {

std::string again(std::string_view text) {
  const auto value = parse(text);
  return value ? serialize(*value) : "error: " + value.error().what;
}

// Expected texts: what JSON.stringify(JSON.parse(text)) gives in JavaScript.
TEST(Json, NumbersAreWrittenAsJavaScriptWritesThem) {
  EXPECT_EQ(again("[1.5,1.0,100.0,-0.5,9007199254740991,0.1]"),
            "[1.5,1,100,-0.5,9007199254740991,0.1]");
  EXPECT_EQ(again("18446744073709551615"), "18446744073709551615");
}

TEST(Json, MembersKeepTheirOrderAndTheLastOfTwoCounts) {
  EXPECT_EQ(again(R"({"b":1,"a":{"c":null},"b":true})"), R"({"b":true,"a":{"c":null}})");
}

TEST(Json, TextIsEscapedOnlyWhereItMustBe) {
  EXPECT_EQ(again(R"("a\"\\\n\u0001\u00e9/")"), "\"a\\\"\\\\\\n\\u0001\u00e9/\"");
}

TEST(Json, WhatIsNoDocumentIsRefused) {
  for (const char* text :
       {"", "nul", "[1,]", "{} {}", "{\"a\":1e400}", "[-1e999]", "\"\xff\"", "'a'"}) {
    const auto value = parse(text);
    ASSERT_FALSE(value) << text;
    EXPECT_EQ(value.error().kind, ErrorKind::InvalidArgument);
  }
}

TEST(Json, DepthIsLimited) {
  EXPECT_TRUE(parse(std::string(kDepthMax, '[') + std::string(kDepthMax, ']')));
  EXPECT_FALSE(parse(std::string(kDepthMax + 1, '[') + std::string(kDepthMax + 1, ']')));
  EXPECT_FALSE(parse(std::string(100'000, '[')));
}

TEST(Json, AnInfiniteDoubleNeverMakesInvalidText) {
  EXPECT_EQ(serialize(Value(std::numeric_limits<double>::infinity())), "null");
}

}  // namespace
}  // namespace flagstream::json
