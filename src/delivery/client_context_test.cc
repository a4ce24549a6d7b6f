#include "delivery/client_context.h"

#include <string>

#include <gtest/gtest.h>

namespace flagstream::delivery {
namespace {

std::string decoded(std::string_view segment) {
  const auto json = decode_context_segment(segment);
  return json ? *json : "! " + json.error().what;
}

TEST(ContextSegment, IsBase64WithOrWithoutPadding) {
  EXPECT_EQ(decoded(""), "");
  EXPECT_EQ(decoded("Zg"), "f");
  EXPECT_EQ(decoded("Zg=="), "f");
  EXPECT_EQ(decoded("Zg="), "f");
  EXPECT_EQ(decoded("Zm8"), "fo");
  EXPECT_EQ(decoded("Zm8="), "fo");
  EXPECT_EQ(decoded("Zm9v"), "foo");
  EXPECT_EQ(decoded("eyJraW5kIjoidXNlciIsImtleSI6InUxIn0"), R"({"kind":"user","key":"u1"})");
}

TEST(ContextSegment, BothAlphabetsAreRead) {
  EXPECT_EQ(decoded("-_-_"), "\xfb\xff\xbf");
  EXPECT_EQ(decoded("+/+/"), "\xfb\xff\xbf");
  EXPECT_EQ(decoded("+_-/"), "\xfb\xff\xbf");
}

TEST(ContextSegment, AnythingElseIsRefused) {
  for (const char* segment : {"A", "Zm9vA", "Zg===", "Z=g", "Zm9v!", "Zm 9v", "Zm9v\n",
                              "\xc3\xa9\xc3\xa9", "%7B", "Zm9*"}) {
    const auto json = decode_context_segment(segment);
    ASSERT_FALSE(json) << segment;
    EXPECT_EQ(json.error().kind, ErrorKind::InvalidArgument);
  }
}

TEST(ClientContext, BothSchemasAreReadAndAKeyIsNeeded) {
  EXPECT_EQ(parse_context(R"({"kind":"user","key":"u1"})")->fully_qualified_key(), "u1");
  EXPECT_EQ(parse_context(R"({"key":"u1","custom":{"a":1}})")->fully_qualified_key(), "u1");
  EXPECT_EQ(parse_context(R"({"kind":"multi","user":{"key":"a:b%"},"org":{"key":"o"}})")
                ->fully_qualified_key(),
            "org:o:user:a%3Ab%25");
  for (const char* json :
       {"", "{", "[]", "null", R"("u1")", "{}", R"({"kind":"user"})", R"({"key":""})",
        R"({"kind":"user","key":""})", R"({"kind":"multi"})", R"({"kind":"kind","key":"a"})",
        R"({"kind":"user","key":7})", "{\"kind\":\"user\",\"key\":\"\xff\"}"}) {
    const auto context = parse_context(json);
    ASSERT_FALSE(context) << json;
    EXPECT_EQ(context.error().kind, ErrorKind::InvalidArgument) << json;
  }
}

}  // namespace
}  // namespace flagstream::delivery
