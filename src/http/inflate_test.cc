#include "http/inflate.h"

#include <string>

#include <gtest/gtest.h>

namespace flagstream::http {
namespace {

// `printf hello | gzip -n`
const std::string kHello(
    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\x07\x00\x86\xa6\x10\x36\x05\x00"
    "\x00\x00",
    25);

ErrorKind error_of(std::string_view gzip, InflateLimits limits = {}) {
  std::string out;
  const auto inflated = inflate_gzip(gzip, limits, out);
  EXPECT_FALSE(inflated.has_value());
  return inflated ? ErrorKind::Indeterminate : inflated.error().kind;
}

TEST(Inflate, AppendsWhatGzipMade) {
  std::string out = ">";
  ASSERT_TRUE(inflate_gzip(kHello, {}, out).has_value());
  EXPECT_EQ(out, ">hello");
}

TEST(Inflate, EveryCutIsInvalid) {
  for (std::size_t size = 0; size < kHello.size(); ++size) {
    EXPECT_EQ(error_of(kHello.substr(0, size)), ErrorKind::InvalidArgument) << size;
  }
}

TEST(Inflate, AWrongChecksumOrLengthIsInvalid) {
  for (std::size_t at = kHello.size() - 8; at < kHello.size(); ++at) {
    std::string damaged = kHello;
    damaged[at] ^= 1;
    EXPECT_EQ(error_of(damaged), ErrorKind::InvalidArgument) << at;
  }
}

TEST(Inflate, WhatFollowsTheMemberIsInvalid) {
  EXPECT_EQ(error_of(kHello + "x"), ErrorKind::InvalidArgument);
  EXPECT_EQ(error_of(kHello + kHello), ErrorKind::InvalidArgument);
}

TEST(Inflate, PlainTextIsInvalid) { EXPECT_EQ(error_of("[]"), ErrorKind::InvalidArgument); }

TEST(Inflate, TheSizeLimitIsExact) {
  std::string out;
  EXPECT_TRUE(inflate_gzip(kHello, {.bytes_max = 5}, out).has_value());
  EXPECT_EQ(error_of(kHello, {.bytes_max = 4}), ErrorKind::TooLarge);
}

TEST(Inflate, ABombIsTooLargeByItsRatio) {
  const std::string bomb = deflate_gzip(std::string(8 << 20, '0'));
  ASSERT_LT(bomb.size() * 100, 8u << 20);
  EXPECT_EQ(error_of(bomb), ErrorKind::TooLarge);
  std::string out;
  EXPECT_TRUE(inflate_gzip(bomb, {.ratio_max = 10'000}, out).has_value());
}

TEST(Inflate, WhatWeDeflateInflatesToTheSame) {
  std::string noise;
  std::uint32_t seed = 1;
  for (std::size_t size : {0, 1, 1'000, 65'536, 300'000}) {
    while (noise.size() < size)
      noise += static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
    std::string out;
    ASSERT_TRUE(inflate_gzip(deflate_gzip(noise), {}, out).has_value()) << size;
    EXPECT_EQ(out, noise);
  }
}

}  // namespace
}  // namespace flagstream::http
