#include "flags/document.h"

#include <cmath>

#include <gtest/gtest.h>

namespace flagstream::flags {
namespace {

std::unique_ptr<Document> parsed(std::string_view text) {
  auto document = Document::parse(text);
  EXPECT_TRUE(document) << text << ": " << document.error().what;
  return document ? *std::move(document) : nullptr;
}

std::string problem(std::string_view text) {
  const auto document = Document::parse(text);
  return document ? "" : document.error().what;
}

TEST(Document, KeepsTheSourceOfEveryValue) {
  const auto document = parsed(" { \"a\" : [ 1.50, {\"b\":\"\\u0041\"} , null ] } ");
  const Node& array = member(document->root(), "a");
  EXPECT_EQ(array.source, "[ 1.50, {\"b\":\"\\u0041\"} , null ]");
  std::vector<std::string_view> sources;
  for (const Node& each : Elements(array)) sources.push_back(each.source);
  EXPECT_EQ(sources, (std::vector<std::string_view>{"1.50", "{\"b\":\"\\u0041\"}", "null"}));
}

TEST(Document, NumbersAreReadAsDoubles) {
  const auto number = [](std::string_view text) { return parsed(text)->root().number; };
  EXPECT_EQ(number("-0"), 0);
  EXPECT_TRUE(std::signbit(number("-0")));
  EXPECT_EQ(number("123456789012345"), 123456789012345.0);
  EXPECT_EQ(number("-17"), -17);
  EXPECT_EQ(number("1.5e2"), 150);
  EXPECT_EQ(number("9007199254740993"), 9007199254740992.0);
  EXPECT_EQ(number("123456789012345678901234567890"), 123456789012345678901234567890.0);
  EXPECT_EQ(number("1e400"), HUGE_VAL);
  EXPECT_EQ(number("-1e400"), -HUGE_VAL);
  EXPECT_EQ(number("1e-400"), 0);
}

TEST(Document, StringsAreUnescaped) {
  const auto text = [](std::string_view json) { return std::string(parsed(json)->root().text); };
  EXPECT_EQ(text(R"("\"\\\/\b\f\n\r\t")"), "\"\\/\b\f\n\r\t");
  EXPECT_EQ(text(R"("a\u00e9\u20ac\ud83d\ude00z")"), "aé€😀z");
  EXPECT_EQ(text(R"("\ud83d")"), "\xEF\xBF\xBD");
  EXPECT_EQ(text(R"("\ude00\ud83dx")"), "\xEF\xBF\xBD\xEF\xBF\xBDx");
  EXPECT_EQ(text(R"("\u0000")"), std::string(1, '\0'));
}

TEST(Document, LastOfEqualNamesCounts) {
  EXPECT_EQ(member(parsed(R"({"a":1,"b":[1,2],"a":3})")->root(), "a").number, 3);
}

TEST(Document, EmptyContainersAndDeepOnes) {
  EXPECT_EQ(parsed("[]")->root().span, 1);
  EXPECT_EQ(parsed("[[],{},[{}]]")->root().span, 5);
  const std::string deep(Document::kDepthMax, '[');
  EXPECT_EQ(problem(deep + std::string(Document::kDepthMax, ']')), "");
  EXPECT_EQ(problem("[" + deep), "not JSON: less depth expected at byte 512");
}

TEST(Document, WhatIsNotJsonIsRefusedWithItsPlace) {
  EXPECT_EQ(problem(""), "not JSON: a value expected at byte 0");
  EXPECT_EQ(problem("[1,]"), "not JSON: a value expected at byte 3");
  EXPECT_EQ(problem("[1 2]"), "not JSON: a comma or ] expected at byte 3");
  EXPECT_EQ(problem("{\"a\":1,}"), "not JSON: a member's name expected at byte 7");
  EXPECT_EQ(problem("{\"a\" 1}"), "not JSON: a colon expected at byte 5");
  EXPECT_EQ(problem("{\"a\":1]"), "not JSON: a comma or } expected at byte 6");
  EXPECT_EQ(problem("1 2"), "not JSON: the end expected at byte 2");
  EXPECT_EQ(problem("]"), "not JSON: a value expected at byte 0");
  for (const std::string_view text : {"01",
                                      "1.",
                                      ".5",
                                      "+1",
                                      "-",
                                      "1e",
                                      "0x1",
                                      "NaN",
                                      "tru",
                                      "nul",
                                      "'a'",
                                      "\"a",
                                      "\"\\x\"",
                                      "\"\\u12g4\"",
                                      "\"\\u-123\"",
                                      "\"\t\"",
                                      "\"\xff\"",
                                      "\"\xc0\x80\"",
                                      "\"\xed\xa0\x80\"",
                                      "\"\xf4\x90\x80\x80\"",
                                      "\"\xe2\x82",
                                      "[",
                                      "{",
                                      "{\"a\":",
                                      "[1",
                                      "{1:2}"}) {
    EXPECT_NE(problem(text), "") << text;
  }
}

TEST(Document, OneLineIsAsWrittenWhereItCanBe) {
  EXPECT_EQ(one_line(parsed("{ \"a\": 1.0 }")->root()), "{ \"a\": 1.0 }");
  EXPECT_EQ(one_line(parsed("{\n \"a b\": [1.0,\r\n \"\\\" ,\"]\n}")->root()),
            "{\"a b\":[1.0,\"\\\" ,\"]}");
}

TEST(Document, TextsOutliveTheNodes) {
  const auto document = parsed(R"(["plain","\u0041"])");
  std::vector<std::string_view> texts;
  for (const Node& each : Elements(document->root())) texts.push_back(each.text);
  document->drop_nodes();
  EXPECT_EQ(texts, (std::vector<std::string_view>{"plain", "A"}));
}

}  // namespace
}  // namespace flagstream::flags
