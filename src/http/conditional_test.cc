#include "http/conditional.h"

#include <string>

#include <gtest/gtest.h>

namespace flagstream::http {
namespace {

Headers with(std::string name, std::string value) {
  Headers headers;
  headers.add(std::move(name), std::move(value));
  return headers;
}

TEST(IfNoneMatch, IsAListOfTagsOrAStar) {
  const auto matches = [](std::string value) {
    return matches_if_none_match(with("If-None-Match", std::move(value)), "\"7-a\"");
  };
  for (const char* value : {"\"7-a\"", "W/\"7-a\"", "*", " * ", "\"x\", \"7-a\"",
                            "\"x\",W/\"7-a\" , \"y\"", "\"a,b\", \"7-a\"", ",, \"7-a\""})
    EXPECT_TRUE(matches(value)) << value;
  for (const char* value : {"", "\"7-b\"", "7-a", "\"7-a", "garbage\"", "\"*\"", "w/\"7-a\"",
                            "\"x\" garbage \"7-a\"", "W/W/\"7-a\"", "\"\"7-a\"\""})
    EXPECT_FALSE(matches(value)) << value;
  EXPECT_FALSE(matches_if_none_match(Headers(), "\"7-a\""));
  Headers two = with("if-none-match", "\"x\"");
  two.add("IF-NONE-MATCH", "\"7-a\"");
  EXPECT_TRUE(matches_if_none_match(two, "\"7-a\""));
}

TEST(AcceptEncoding, TakesGzipUnlessItsWeightIsZero) {
  const auto accepts = [](std::string value) {
    return accepts_gzip(with("Accept-Encoding", std::move(value)));
  };
  for (const char* value :
       {"gzip", "GZIP", "x-gzip", "deflate, gzip", "gzip;q=1", "gzip;q=0.001",
        "br;q=1.0, gzip ; q=0.5", "*", "*;q=0.1", "identity;q=0, *", "*;q=0, gzip", "gzip;q=oops"})
    EXPECT_TRUE(accepts(value)) << value;
  for (const char* value : {"", "br", "gzip;q=0", "gzip; Q=0.000", "gzip ;q=0.", "*;q=0",
                            "gzip;q=0, *", "gzipped", "deflate;x=gzip", "identity"})
    EXPECT_FALSE(accepts(value)) << value;
  EXPECT_FALSE(accepts_gzip(Headers()));
}

TEST(AuthorizationKey, IsTheKeyAloneOrAfterApiKey) {
  const auto key = [](std::string value) {
    const Headers headers = with("authorization", std::move(value));
    return std::string(authorization_key(headers).value_or("(none)"));
  };
  EXPECT_EQ(key("sdk-1"), "sdk-1");
  EXPECT_EQ(key("api_key sdk-1"), "sdk-1");
  EXPECT_EQ(key("api_key   sdk-1 "), "sdk-1");
  EXPECT_EQ(key("api_keys"), "api_keys");
  for (const char* value : {"", "  ", "api_key", "Bearer sdk-1", "a\tb", "s\xd0\xb4k", "a\x7f"})
    EXPECT_EQ(key(value), "(none)") << value;
  EXPECT_EQ(key(std::string(512, 'k')), std::string(512, 'k'));
  EXPECT_EQ(key(std::string(513, 'k')), "(none)");
  EXPECT_EQ(authorization_key(Headers()), std::nullopt);
}

TEST(BearerOrApiKey, IsInEitherHeader) {
  const auto key = [](std::string authorization, std::string api_key) {
    Headers headers = with("authorization", std::move(authorization));
    headers.add("x-api-key", std::move(api_key));
    return std::string(bearer_or_api_key(headers).value_or("(none)"));
  };
  for (const char* value : {"sdk-1", "Bearer sdk-1", "bearer   sdk-1 "})
    EXPECT_EQ(key(value, "other"), "sdk-1") << value;
  for (const char* value : {"", "Bearer", "Basic dXNlcg=="}) {
    EXPECT_EQ(key(value, " sdk-2 "), "sdk-2") << value;
    EXPECT_EQ(key(value, "sdk 2"), "(none)") << value;
  }
  EXPECT_EQ(bearer_or_api_key(Headers()), std::nullopt);
}

}  // namespace
}  // namespace flagstream::http
