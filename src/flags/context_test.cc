#include "flags/context.h"

#include <gtest/gtest.h>

namespace flagstream::flags {
namespace {

std::string fully_qualified(std::string_view json) {
  const auto context = Context::parse(json);
  return context ? context->fully_qualified_key() : "! " + context.error().what;
}

// The source of the attribute of the context's first member; "absent" if there is none.
std::string attribute(std::string_view json, std::string_view reference) {
  const auto context = Context::parse(json);
  if (!context) return "! " + context.error().what;
  const Node* value =
      context->individuals()[0].lookup(AttributeReference(reference, ReferenceMode::Path));
  if (value == nullptr) return "absent";
  switch (value->type) {
    case NodeType::String:
      return std::string(value->text);
    case NodeType::Bool:
      return value->boolean ? "true" : "false";
    default:
      return std::string(value->source);
  }
}

TEST(Context, FullyQualifiedKeys) {
  EXPECT_EQ(fully_qualified(R"({"key":"user-key-123"})"), "user-key-123");
  EXPECT_EQ(fully_qualified(R"({"kind":"user","key":"a:b%c"})"), "a:b%c");
  EXPECT_EQ(fully_qualified(R"({"kind":"other","key":"user-key-123"})"), "other:user-key-123");
  EXPECT_EQ(fully_qualified(R"({"kind":"org","key":"a:b%3A/"})"), "org:a%3Ab%253A/");
  EXPECT_EQ(fully_qualified(R"({"kind":"multi","user":{"key":"u:1"},"org":{"key":"o1"}})"),
            "org:o1:user:u%3A1");
  EXPECT_EQ(fully_qualified(R"({"kind":"multi","user":{"key":"u:1"}})"), "u:1");
  EXPECT_EQ(fully_qualified(R"({"kind":"multi","org":{"key":"o"}})"), "org:o");
  EXPECT_EQ(fully_qualified(R"({"kind":"multi","a":{"key":"1"},"B":{"key":"2"},"a-":{"key":"3"}})"),
            "B:2:a:1:a-:3");
  EXPECT_EQ(fully_qualified(R"({"key":""})"), "");
}

TEST(Context, BuiltInAttributes) {
  constexpr std::string_view kOrg = R"({"kind":"org","key":"k","anonymous":true,"name":"N"})";
  EXPECT_EQ(attribute(kOrg, "kind"), "org");
  EXPECT_EQ(attribute(kOrg, "key"), "k");
  EXPECT_EQ(attribute(kOrg, "name"), "N");
  EXPECT_EQ(attribute(kOrg, "anonymous"), "true");
  constexpr std::string_view kBare = R"({"kind":"org","key":"k","name":null})";
  EXPECT_EQ(attribute(kBare, "anonymous"), "false");
  EXPECT_EQ(attribute(kBare, "name"), "absent");
  EXPECT_EQ(attribute(R"({"kind":"org","key":"k","_meta":{"privateAttributes":["a"]}})", "_meta"),
            "absent");
}

TEST(Context, PathsDescendIntoObjectsOnly) {
  constexpr std::string_view kContext =
      R"({"kind":"user","key":"k","a":{"b":{"c":1},"n":null,"":2},"/a/b":5,"x":[{"y":1}],"nil":null})";
  EXPECT_EQ(attribute(kContext, "/a/b/c"), "1");
  EXPECT_EQ(attribute(kContext, "/a/b"), R"({"c":1})");
  EXPECT_EQ(attribute(kContext, "/a/n"), "absent");
  EXPECT_EQ(attribute(kContext, "/a/b/c/d"), "absent");
  EXPECT_EQ(attribute(kContext, "/x/0"), "absent");
  EXPECT_EQ(attribute(kContext, "/~1a~1b"), "5");
  EXPECT_EQ(attribute(kContext, "nil"), "absent");
  EXPECT_EQ(attribute(kContext, "other"), "absent");
}

TEST(Context, LaterOfEqualAttributesCounts) {
  EXPECT_EQ(attribute(R"({"kind":"user","key":"k","a":1,"a":2})", "a"), "2");
  EXPECT_EQ(attribute(R"({"kind":"user","key":"k","a":1,"a":null})", "a"), "absent");
}

TEST(Context, LegacyUsersBecomeContexts) {
  constexpr std::string_view kUser =
      R"({"key":"k","name":"N","email":"e","custom":{"email":"c","a":[1],"kind":"x","key":"y",
      "name":"z","anonymous":true,"_meta":1,"n":null},"ip":null,"secondary":"s","other":1,
      "anonymous":null,"privateAttributeNames":["a"]})";
  EXPECT_EQ(attribute(kUser, "kind"), "user");
  EXPECT_EQ(attribute(kUser, "key"), "k");
  EXPECT_EQ(attribute(kUser, "name"), "N");
  EXPECT_EQ(attribute(kUser, "email"), "e");
  EXPECT_EQ(attribute(kUser, "a"), "[1]");
  EXPECT_EQ(attribute(kUser, "anonymous"), "false");
  for (const std::string_view name : {"ip", "secondary", "other", "n", "_meta", "custom"})
    EXPECT_EQ(attribute(kUser, name), "absent") << name;
  EXPECT_EQ(attribute(R"({"key":"k","anonymous":true,"custom":null})", "anonymous"), "true");
}

TEST(Context, EveryOtherShapeIsRefused) {
  for (const std::string_view json : {
           R"([])",
           R"(null)",
           R"("user")",
           R"({})",
           R"({"kind":"user"})",
           R"({"kind":"user","key":""})",
           R"({"kind":"user","key":null})",
           R"({"kind":"user","key":1})",
           R"({"kind":null,"key":"k"})",
           R"({"kind":1,"key":"k"})",
           R"({"kind":"","key":"k"})",
           R"({"kind":"kind","key":"k"})",
           R"({"kind":"a b","key":"k"})",
           R"({"kind":"ä","key":"k"})",
           R"({"kind":"user","key":"k","name":1})",
           R"({"kind":"user","key":"k","anonymous":null})",
           R"({"kind":"user","key":"k","anonymous":"true"})",
           R"({"kind":"user","key":"k","_meta":1})",
           R"({"kind":"user","key":"k","_meta":{"privateAttributes":"a"}})",
           R"({"kind":"user","key":"k","_meta":{"privateAttributes":[1]}})",
           R"({"kind":"multi"})",
           R"({"kind":"multi","user":null})",
           R"({"kind":"multi","user":"k"})",
           R"({"kind":"multi","user":{"key":"u"},"org":{}})",
           R"({"kind":"multi","multi":{"key":"k"}})",
           R"({"kind":"multi","a b":{"key":"k"}})",
           R"({"kind":"multi","":{"key":"k"}})",
           R"({"kind":"multi","a":{"key":"k"},"a":{"key":"k"}})",
           R"({"key":null})",
           R"({"key":1})",
           R"({"key":"k","name":1})",
           R"({"key":"k","email":false})",
           R"({"key":"k","custom":[]})",
           R"({"key":"k","anonymous":"yes"})",
           R"({"key":"k","privateAttributeNames":"a"})",
       }) {
    EXPECT_FALSE(Context::parse(json)) << json;
  }
}

TEST(Context, NullsThatMeanNothingAreAccepted) {
  EXPECT_TRUE(Context::parse(R"({"kind":"user","key":"k","_meta":null})"));
  EXPECT_TRUE(Context::parse(R"({"kind":"user","key":"k","_meta":{"privateAttributes":null}})"));
  EXPECT_TRUE(
      Context::parse(R"({"key":"k","custom":null,"privateAttributeNames":null,"name":null})"));
  EXPECT_TRUE(Context::parse(R"({"kind":"user","key":"k","":1})"));
}

}  // namespace
}  // namespace flagstream::flags
