#include "delivery/secure_mode.h"

#include <string>

#include <gtest/gtest.h>

#include "base/hash.h"

namespace flagstream::delivery {
namespace {

constexpr char kSdkKey[] = "sdk-01234567-89ab-cdef-0123-456789abcdef";
constexpr char kUser[] = R"({"kind":"user","key":"user-key-123"})";
constexpr char kUserHash[] = "73df666a13f2c474e50aa34ca5a761e89abb737fb139ff65fdde7fa85c9dcacd";

environment::FlagSet secure() {
  environment::FlagSet flags;
  flags.secure_mode = true;
  flags.hash_keys = {{.hmac_state = hmac_sha256_state(kSdkKey), .expires = 0}};
  return flags;
}

// "right", or the kind of the error.
std::string checked(const environment::FlagSet& flags, std::string_view context,
                    std::string_view hash, MicrosUtc now = 1'000) {
  const auto parsed = flags::Context::parse(context);
  const auto result = check_hash(flags, *parsed, hash, now);
  return result ? "right" : std::string(to_string(result.error().kind));
}

TEST(SecureMode, PublishedHashesAreRight) {
  EXPECT_EQ(checked(secure(), kUser, kUserHash), "right");
  EXPECT_EQ(checked(secure(), R"({"key":"user-key-123"})", kUserHash), "right");
  EXPECT_EQ(checked(secure(), R"({"kind":"other","key":"user-key-123"})",
                    "98a933ca26d2951547fc021981ebcdeda95fbca2ac3f767ae67f7042d5458f72"),
            "right");
  EXPECT_EQ(
      checked(secure(), R"({"kind":"multi","user":{"key":"user-key-123"},"org":{"key":"o1"}})",
              "39cc8939f32cf5ed120c2cff2bde6609a43946560100fbab6d1ab95b9d3cfe01"),
      "right");
}

TEST(SecureMode, AMissingOrWrongHashIsRefused) {
  EXPECT_EQ(checked(secure(), kUser, ""), "InvalidArgument");
  EXPECT_EQ(checked(secure(), R"({"kind":"user","key":"user-key-124"})", kUserHash),
            "InvalidArgument");
  const std::string right = kUserHash;
  EXPECT_EQ(checked(secure(), kUser, right.substr(1)), "InvalidArgument");
  EXPECT_EQ(checked(secure(), kUser, right + "0"), "InvalidArgument");
  for (std::size_t i = 0; i < right.size(); ++i) {
    std::string wrong = right;
    wrong[i] = wrong[i] == '0' ? '1' : '0';
    EXPECT_EQ(checked(secure(), kUser, wrong), "InvalidArgument") << i;
  }
}

TEST(SecureMode, EveryValidSdkKeyCounts) {
  environment::FlagSet flags = secure();
  flags.hash_keys.insert(flags.hash_keys.begin(),
                         {.hmac_state = hmac_sha256_state("sdk-new"), .expires = 0});
  EXPECT_EQ(checked(flags, kUser, kUserHash), "right");
  EXPECT_EQ(checked(flags, kUser, hmac_sha256_hex("sdk-new", "user-key-123")), "right");
  flags.hash_keys[1].expires = 1'001;
  EXPECT_EQ(checked(flags, kUser, kUserHash, 1'000), "right");
  EXPECT_EQ(checked(flags, kUser, kUserHash, 1'001), "InvalidArgument") << "the key has expired";
}

TEST(SecureMode, WhatCannotBeCheckedIsRefusedForNow) {
  environment::FlagSet flags = secure();
  flags.hash_keys[0].hmac_state.clear();
  EXPECT_EQ(checked(flags, kUser, kUserHash), "Unavailable");
  flags.hash_keys[0].expires = 5;
  EXPECT_EQ(checked(flags, kUser, kUserHash), "InvalidArgument") << "of no valid key anyway";
}

TEST(SecureMode, IsOnlyWhereItIsOn) {
  environment::FlagSet flags = secure();
  flags.secure_mode = false;
  EXPECT_EQ(checked(flags, kUser, ""), "right");
  EXPECT_EQ(checked(flags, kUser, "nonsense"), "right");
}

}  // namespace
}  // namespace flagstream::delivery
