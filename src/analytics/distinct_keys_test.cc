#include "analytics/distinct_keys.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "base/hash.h"

namespace flagstream::analytics {
namespace {

std::uint64_t hash_of(std::uint64_t number) { return xxh3_128(std::to_string(number)).low; }

DistinctKeys counted(std::uint64_t keys) {
  DistinctKeys counter;
  for (std::uint64_t i = 0; i < keys; ++i) counter.add(hash_of(i));
  return counter;
}

TEST(DistinctKeys, IsExactUpToItsBoundAndCountsRepeatsOnce) {
  DistinctKeys counter;
  EXPECT_EQ(counter.estimate(), 0u);
  for (std::uint64_t i = 0; i < DistinctKeys::kExactMax; ++i) {
    EXPECT_TRUE(counter.add(hash_of(i)));
    EXPECT_FALSE(counter.add(hash_of(i)));
    EXPECT_EQ(counter.estimate(), i + 1);
  }
}

// 1.04 / sqrt(4096) = 1.6 %: four standard errors.
TEST(DistinctKeys, EstimatesManyKeysWithinFourStandardErrors) {
  for (const std::uint64_t keys : {513u, 1'000u, 5'000u, 20'000u, 300'000u}) {
    const double estimate = static_cast<double>(counted(keys).estimate());
    EXPECT_LT(std::abs(estimate / static_cast<double>(keys) - 1.0), 4 * 0.01625) << keys;
  }
}

TEST(DistinctKeys, StateDependsOnTheSetOfKeysOnly) {
  std::mt19937_64 random(7);
  for (const std::uint64_t keys : {1u, 300u, 512u, 513u, 700u, 4'000u}) {
    const DistinctKeys whole = counted(keys);
    std::vector<std::uint64_t> order(keys * 2);
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i % keys;  // every key twice
    std::shuffle(order.begin(), order.end(), random);
    std::vector<DistinctKeys> parts(5);
    for (const std::uint64_t key : order) parts[random() % parts.size()].add(hash_of(key));
    DistinctKeys merged;
    for (const DistinctKeys& part : parts) merged.merge(part);
    EXPECT_EQ(merged.encode(), whole.encode()) << keys;
    EXPECT_EQ(merged.estimate(), whole.estimate()) << keys;
  }
}

TEST(DistinctKeys, DecodesWhatItEncoded) {
  for (const std::uint64_t keys : {0u, 1u, 512u, 513u, 9'000u}) {
    const DistinctKeys counter = counted(keys);
    const std::string bytes = counter.encode();
    EXPECT_EQ(bytes.size(), counter.encoded_bytes());
    auto decoded = DistinctKeys::decode(bytes);
    ASSERT_TRUE(decoded) << decoded.error().what;
    EXPECT_EQ(*decoded, counter);
  }
}

TEST(DistinctKeys, RefusesWhatItNeverEncodes) {
  const std::string exact = counted(3).encode();
  const std::string dense = counted(600).encode();
  for (const std::string& whole : {exact, dense}) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const auto cut = DistinctKeys::decode(std::string_view(whole).substr(0, size));
      // The exact form has no count: it may only be cut between two hashes.
      if (whole == exact && size >= 2 && size % 8 == 2) continue;
      EXPECT_FALSE(cut) << size;
    }
  }
  std::string twice = exact.substr(0, 10) + exact.substr(2, 8);
  EXPECT_EQ(DistinctKeys::decode(twice).error().kind, ErrorKind::DataLoss);
  std::string high = dense;
  high[5] = 54;  // 64 - 12 + 1 = 53 is the highest rank
  EXPECT_EQ(DistinctKeys::decode(high).error().kind, ErrorKind::DataLoss);
  std::string newer = exact;
  newer[0] = 2;
  EXPECT_EQ(DistinctKeys::decode(newer).error().kind, ErrorKind::InvalidArgument);
}

}  // namespace
}  // namespace flagstream::analytics
