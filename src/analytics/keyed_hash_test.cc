#include "analytics/keyed_hash.h"

#include <string>

#include <gtest/gtest.h>

namespace flagstream::analytics {
namespace {

// Appendix A of the SipHash paper (15 bytes) and the first of its authors' vectors (none).
TEST(SipHash, MatchesThePublishedVectors) {
  const SipKey key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  std::string bytes;
  EXPECT_EQ(sip_hash(key, 2, 4, bytes), 0x726fdb47dd0e0e31u);
  for (int i = 0; i < 15; ++i) bytes.push_back(static_cast<char>(i));
  EXPECT_EQ(sip_hash(key, 2, 4, bytes), 0xa129ca6149be45e5u);
}

TEST(KeyedHash, DependsOnEveryByteAndOnTheKey) {
  const KeyedHash hash;
  std::string bytes = "flag-with-a-long-key";
  const std::size_t before = hash(bytes);
  EXPECT_EQ(hash(bytes), before);
  for (char& byte : bytes) {
    byte ^= 1;
    EXPECT_NE(hash(bytes), before);
    byte ^= 1;
  }
  EXPECT_NE(sip_hash({1, 2}, 1, 3, bytes), sip_hash({1, 3}, 1, 3, bytes));
}

}  // namespace
}  // namespace flagstream::analytics
