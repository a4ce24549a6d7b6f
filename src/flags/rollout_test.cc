#include "flags/rollout.h"

#include <cmath>

#include <gtest/gtest.h>

namespace flagstream::flags {
namespace {

double bucket_of(const Bucketing::Options& options, std::string_view context) {
  const auto parsed = Context::parse(context);
  EXPECT_TRUE(parsed) << context;
  return static_cast<double>(Bucketing(options).bucket(*parsed).bits) / 0x1p60;
}

constexpr Bucketing::Options kPlain = {
    .context_kind = "user", .by = "", .key = "hashKey", .salt = "saltyA", .seed = {}};

Bucketing::Options with_seed(std::int64_t seed) {
  Bucketing::Options options = kPlain;
  options.seed = seed;
  return options;
}

Bucketing::Options by(std::string_view attribute) {
  Bucketing::Options options = kPlain;
  options.by = attribute;
  return options;
}

// Expected values: the vectors that all SDKs share.
TEST(Bucketing, HashesKeySaltAndAttribute) {
  EXPECT_NEAR(bucket_of(kPlain, R"({"key":"userKeyA"})"), 0.42157587, 1e-8);
  EXPECT_NEAR(bucket_of(kPlain, R"({"key":"userKeyB"})"), 0.67084850, 1e-8);
  EXPECT_NEAR(bucket_of(kPlain, R"({"key":"userKeyC"})"), 0.10343106, 1e-8);
}

TEST(Bucketing, SeedReplacesKeyAndSalt) {
  EXPECT_NEAR(bucket_of(with_seed(61), R"({"key":"userKeyA"})"), 0.09801207, 1e-8);
  EXPECT_NEAR(bucket_of(with_seed(61), R"({"key":"userKeyB"})"), 0.14483777, 1e-8);
  EXPECT_NEAR(bucket_of(with_seed(61), R"({"key":"userKeyC"})"), 0.92426409, 1e-8);
}

TEST(Bucketing, SeedZeroIsASeed) {
  EXPECT_NE(bucket_of(with_seed(0), R"({"key":"userKeyA"})"),
            bucket_of(kPlain, R"({"key":"userKeyA"})"));
}

TEST(Bucketing, KeysMayBeAnyText) {
  const Bucketing::Options options = {
      .context_kind = "", .by = "", .key = "flag", .salt = "salt", .seed = {}};
  EXPECT_NEAR(bucket_of(options, R"({"key":"ключ"})"), 0.49449809, 1e-8);
  const auto context = Context::parse(R"({"key":"ключ"})");
  EXPECT_EQ(Bucketing(options).bucket(*context).bits, 0x7e976d54833ce61u);
}

TEST(Bucketing, WholeNumbersAreHashedAsDigits) {
  constexpr std::string_view kContext =
      R"({"kind":"user","key":"k","a":33333,"b":"33333","c":99999,"d":33333.0,"e":3.3333e4})";
  EXPECT_NEAR(bucket_of(by("a"), kContext), 0.54771423, 1e-8);
  EXPECT_NEAR(bucket_of(by("b"), kContext), 0.54771423, 1e-8);
  EXPECT_NEAR(bucket_of(by("c"), kContext), 0.73096580, 1e-8);
  EXPECT_NEAR(bucket_of(by("d"), kContext), 0.54771423, 1e-8);
  EXPECT_NEAR(bucket_of(by("e"), kContext), 0.54771423, 1e-8);
}

// As JavaScript's String() writes them.
TEST(Bucketing, LargeWholeNumbersAreHashedAsJavaScriptWritesThem) {
  const auto same = [](std::string_view number, std::string_view text) {
    const std::string context = std::string(R"({"kind":"user","key":"k","n":)")
                                    .append(number)
                                    .append(R"(,"t":")")
                                    .append(text)
                                    .append("\"}");
    EXPECT_EQ(bucket_of(by("n"), context), bucket_of(by("t"), context)) << number;
  };
  same("-0", "0");
  same("-17", "-17");
  same("9007199254740991", "9007199254740991");
  same("9007199254740992", "9007199254740992");
  same("1152921504606846976", "1152921504606847000");
  same("-1152921504606846976", "-1152921504606847000");
  same("1e18", "1000000000000000000");
  same("123456789012345678901", "123456789012345680000");
  same("1e21", "1e+21");
  same("-1.5e300", "-1.5e+300");
}

TEST(Bucketing, WhatCannotBeHashedIsBucketZero) {
  constexpr std::string_view kContext =
      R"({"kind":"user","key":"k","f":1.5,"b":true,"a":["x"],"o":{"p":"x"},"n":null})";
  for (const std::string_view attribute : {"f", "b", "a", "o", "n", "absent", "/o/q"})
    EXPECT_EQ(bucket_of(by(attribute), kContext), 0) << attribute;
  EXPECT_NE(bucket_of(by("/o/p"), kContext), 0);
}

TEST(Bucketing, WithoutTheKindThereIsNoContext) {
  const auto context = Context::parse(R"({"kind":"org","key":"k"})");
  const Bucket bucket = Bucketing(kPlain).bucket(*context);
  EXPECT_EQ(bucket.bits, 0u);
  EXPECT_FALSE(bucket.has_context);
}

TEST(Bucketing, PathIsReadOnlyWithAContextKind) {
  Bucketing::Options options = by("//");
  EXPECT_FALSE(Bucketing(options).is_valid());
  options.context_kind = "";
  EXPECT_TRUE(Bucketing(options).is_valid());
}

TEST(BucketLimit, IsTheFirstBucketThatIsNotBelow) {
  for (const double share : {0.0, 1e-5, 0.1, 0.33333, 0.5, 0.66667, 0.99999, 1.0}) {
    const std::uint64_t limit = bucket_limit(share);
    const auto value = [](std::uint64_t bits) { return static_cast<double>(bits) / 0x1p60; };
    if (limit > 0) {
      EXPECT_LT(value(limit - 1), share);
    }
    EXPECT_GE(value(limit), share);
  }
  EXPECT_EQ(bucket_limit(-1), 0u);
  // Just below 2^59 doubles are 64 apart, and half of that is rounded up to it.
  EXPECT_EQ(bucket_limit(0.5), (std::uint64_t{1} << 59) - 32);
}

TEST(Index, IsAWholeNumberFromZero) {
  const auto index = [](std::string_view text) {
    return index_of((*Document::parse(text))->root());
  };
  EXPECT_EQ(index("0"), 0);
  EXPECT_EQ(index("3.0"), 3);
  for (const std::string_view text : {"-1", "1.5", "1e30", "\"1\"", "null", "true"})
    EXPECT_EQ(index(text), -1) << text;
}

}  // namespace
}  // namespace flagstream::flags
