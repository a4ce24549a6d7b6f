#include "delivery/ofrep_messages.h"

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "flags/evaluator.h"

namespace flagstream::delivery {
namespace {

std::string key_of(const std::string& context) {
  const auto read = read_ofrep_request(R"({"context":)" + context + "}");
  return read ? read->fully_qualified_key() : "refused: " + read.error().details;
}

std::string refusal_of(std::string_view body) {
  const auto read = read_ofrep_request(body);
  if (read) return "read";
  std::string out;
  append_ofrep_error(out, std::nullopt, read.error());
  return out.substr(0, out.find(",\"errorDetails\""));
}

TEST(OfrepRequest, TheTargetingKeyIsTheKeyAndUserTheKindUnlessOneIsGiven) {
  EXPECT_EQ(key_of(R"({"targetingKey":"u1"})"), "u1");
  EXPECT_EQ(key_of(R"({"targetingKey":"u1","key":"other"})"), "u1");
  EXPECT_EQ(key_of(R"({"key":"k1"})"), "k1");
  EXPECT_EQ(key_of(R"({"targetingKey":"","key":"k1"})"), "k1");
  EXPECT_EQ(key_of(R"({"targetingKey":null,"key":"k1"})"), "k1");
  EXPECT_EQ(key_of(R"({"targetingKey":"o1","kind":"org"})"), "org:o1");
  EXPECT_EQ(key_of(R"({"targetingKey":"a","targetingKey":"b"})"), "b");
  for (const char* kind : {"5", "null", "\"\"", "\"a b\"", "\"kind\"", "{}"})
    EXPECT_EQ(key_of(R"({"targetingKey":"u1","kind":)" + std::string(kind) + "}"), "u1") << kind;
}

TEST(OfrepRequest, SeveralKindsComeInLaunchDarklysShape) {
  EXPECT_EQ(key_of(R"({"kind":"multi","user":{"key":"u:1"},"org":{"targetingKey":"o"}})"),
            "org:o:user:u%3A1");
  EXPECT_EQ(key_of(R"({"kind":"multi","targetingKey":"t","org":{"kind":"x","key":"o"}})"), "org:o");
  EXPECT_EQ(refusal_of(R"({"context":{"kind":"multi"}})"), R"({"errorCode":"INVALID_CONTEXT")");
  EXPECT_EQ(refusal_of(R"({"context":{"kind":"multi","org":"o"}})"),
            R"({"errorCode":"INVALID_CONTEXT")");
  EXPECT_EQ(refusal_of(R"({"context":{"kind":"multi","org":{}}})"),
            R"({"errorCode":"TARGETING_KEY_MISSING")");
}

TEST(OfrepRequest, OtherMembersAreAttributes) {
  const auto context = read_ofrep_request(
      R"({"context":{"targetingKey":"u1","name":null,"anonymous":null,"n":{"a":[1]},"m":true}})");
  ASSERT_TRUE(context) << context.error().details;
  const flags::IndividualContext& user = *context->user();
  EXPECT_FALSE(user.is_anonymous);
  const auto lookup = [&](std::string_view path) {
    return user.lookup(flags::AttributeReference(path, flags::ReferenceMode::Path));
  };
  EXPECT_EQ(lookup("/n/a")->source, "[1]");
  EXPECT_TRUE(lookup("m")->boolean);
  EXPECT_EQ(lookup("name"), nullptr);
  EXPECT_EQ(lookup("targetingKey"), nullptr);
}

TEST(OfrepRequest, BadInputIsRefusedWithItsCode) {
  for (const char* body : {"", "{", "[]", "5", "null", "\"x\"", "{\"context\":{}} x", "\xff"})
    EXPECT_EQ(refusal_of(body), R"({"errorCode":"PARSE_ERROR")") << body;
  EXPECT_EQ(refusal_of(std::string(600, '[')), R"({"errorCode":"PARSE_ERROR")");
  for (const char* body : {"{}", R"({"context":null})", R"({"context":{}})",
                           R"({"context":{"targetingKey":""}})", R"({"context":{"key":5}})"})
    EXPECT_EQ(refusal_of(body), R"({"errorCode":"TARGETING_KEY_MISSING")") << body;
  for (const char* body :
       {R"({"context":[]})", R"({"context":"u"})", R"({"context":{"targetingKey":5}})",
        R"({"context":{"targetingKey":{},"key":"k"}})",
        R"({"context":{"targetingKey":"u","name":5}})",
        R"({"context":{"targetingKey":"u","anonymous":"yes"}})",
        R"({"context":{"targetingKey":"u","_meta":[]}})"})
    EXPECT_EQ(refusal_of(body), R"({"errorCode":"INVALID_CONTEXT")") << body;
}

// The answer for user u1 of a flag with the variations "a" and "b".
std::string result_of(const std::string& members) {
  const auto evaluator = flags::Evaluator::compile(
      R"({"flags":{"f":{"key":"f","version":3,"salt":"s","variations":["a","b"],)" + members +
      R"(},"off":{"key":"off","version":1,"on":false,"variations":[1]}},"segments":{}})");
  EXPECT_TRUE(evaluator);
  const auto context = read_ofrep_request(R"({"context":{"targetingKey":"u1"}})");
  const flags::Flag& flag = *(*evaluator)->find("f");
  std::string out;
  append_ofrep_result(out, flag, (*evaluator)->evaluate(flag, *context));
  return out;
}

std::string success(const std::string& value, const std::string& reason, int variation) {
  return R"({"key":"f","value":)" + value + R"(,"reason":")" + reason + R"(","variant":")" +
         std::to_string(variation) + R"(","metadata":{"version":3}})";
}

TEST(OfrepResult, EveryReasonHasItsWord) {
  EXPECT_EQ(result_of(R"("on":false,"offVariation":1)"), success("\"b\"", "DISABLED", 1));
  EXPECT_EQ(result_of(R"("on":true,"fallthrough":{"variation":0})"), success("\"a\"", "STATIC", 0));
  EXPECT_EQ(result_of(R"("on":true,"targets":[{"values":["u1"],"variation":1}])"),
            success("\"b\"", "TARGETING_MATCH", 1));
  EXPECT_EQ(result_of(R"("on":true,"rules":[{"id":"r","clauses":[],"variation":1}])"),
            success("\"b\"", "TARGETING_MATCH", 1));
  const std::string rollout = R"("rollout":{"variations":[{"variation":1,"weight":100000}]})";
  EXPECT_EQ(result_of(R"("on":true,"fallthrough":{)" + rollout + "}"),
            success("\"b\"", "SPLIT", 1));
  EXPECT_EQ(result_of(R"("on":true,"rules":[{"id":"r","clauses":[],)" + rollout + "}]"),
            success("\"b\"", "SPLIT", 1));
  EXPECT_EQ(
      result_of(R"("on":true,"offVariation":0,"prerequisites":[{"key":"off","variation":0}])"),
      success("\"a\"", "DISABLED", 0));
}

TEST(OfrepResult, AnExperimentIsInTheMetadata) {
  EXPECT_EQ(
      result_of(
          R"("on":true,"fallthrough":{"rollout":{"kind":"experiment","seed":1,"variations":[{"variation":1,"weight":100000}]}})"),
      R"({"key":"f","value":"b","reason":"SPLIT","variant":"1","metadata":{"version":3,"inExperiment":true}})");
}

TEST(OfrepResult, WithoutAnOffVariationTheDefaultOfTheApplicationCounts) {
  EXPECT_EQ(result_of(R"("on":false)"),
            R"({"key":"f","reason":"DISABLED","metadata":{"version":3}})");
}

TEST(OfrepResult, AMalformedFlagIsAnErrorOfItsOwn) {
  EXPECT_EQ(result_of(R"("on":true,"fallthrough":{"variation":7})"),
            R"({"key":"f","errorCode":"PARSE_ERROR","errorDetails":"the flag is malformed"})");
}

}  // namespace
}  // namespace flagstream::delivery
