#include "delivery/negative_cache.h"

#include <string>

#include <gtest/gtest.h>

namespace flagstream::delivery {
namespace {

using environment::Credential;
using environment::CredentialKind;

Credential key(const std::string& text) { return Credential::of(CredentialKind::SdkKey, text); }

TEST(NegativeCache, AnEntryHoldsUntilThenAndForItsVersion) {
  NegativeCache cache;
  cache.add(key("a"), {.is_expired = true}, 3, 100);
  ASSERT_TRUE(cache.find(key("a"), 3, 99));
  EXPECT_TRUE(cache.find(key("a"), 3, 99)->is_expired);
  EXPECT_FALSE(cache.find(key("a"), 3, 100));
  EXPECT_FALSE(cache.find(key("a"), 4, 99));
  EXPECT_FALSE(cache.find(key("b"), 3, 99));
  cache.add(key("a"), {.is_expired = false}, 4, 200);
  ASSERT_TRUE(cache.find(key("a"), 4, 100));
  EXPECT_FALSE(cache.find(key("a"), 4, 100)->is_expired);
}

TEST(NegativeCache, TheSameTextAsAnotherKindIsAnother) {
  NegativeCache cache;
  cache.add(Credential::of(CredentialKind::SdkKey, "a"), {}, 1, 100);
  EXPECT_FALSE(cache.find(Credential::of(CredentialKind::MobileKey, "a"), 1, 1));
  EXPECT_FALSE(cache.find(Credential::of(CredentialKind::ClientSideId, "a"), 1, 1));
  cache.add(Credential::of(CredentialKind::ClientSideId, "a"), {}, 1, 100);
  EXPECT_TRUE(cache.find(Credential::of(CredentialKind::ClientSideId, "a"), 1, 1));
}

TEST(NegativeCache, ItKeepsTheNewestWithinItsBound) {
  NegativeCache cache;
  constexpr int kMany = 10 * NegativeCache::kSets * NegativeCache::kWays;
  int found = 0;
  for (int i = 1; i <= kMany; ++i) {
    cache.add(key(std::to_string(i)), {}, 1, i + kMany);
    ASSERT_TRUE(cache.find(key(std::to_string(i)), 1, i)) << "what was just added";
  }
  for (int i = 1; i <= kMany; ++i) found += cache.find(key(std::to_string(i)), 1, kMany) ? 1 : 0;
  EXPECT_EQ(found, NegativeCache::kSets * NegativeCache::kWays);
  EXPECT_FALSE(cache.find(key("1"), 1, 1)) << "the oldest went";
}

}  // namespace
}  // namespace flagstream::delivery
