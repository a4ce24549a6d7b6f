#include "histogram.h"

#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace flagstream::bench {
namespace {

TEST(Histogram, SmallValuesAreExact) {
  Histogram histogram;
  for (std::uint64_t value = 1; value <= 2'000; ++value) histogram.record(value);
  EXPECT_EQ(histogram.quantile(0.5), 1'000);
  EXPECT_EQ(histogram.quantile(0.99), 1'980);
  EXPECT_EQ(histogram.quantile(1), 2'000);
  EXPECT_EQ(histogram.max(), 2'000);
  EXPECT_EQ(histogram.mean(), 1'000.5);
}

TEST(Histogram, QuantilesAreRightToThreeDigitsOverNineDecades) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> exponent(0, 30);
  std::vector<std::uint64_t> values;
  Histogram histogram;
  for (int n = 0; n < 20'000; ++n) {
    values.push_back(static_cast<std::uint64_t>(std::exp2(exponent(random))));
    histogram.record(values.back());
  }
  std::ranges::sort(values);
  for (const double share : {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank = static_cast<std::size_t>(std::ceil(share * 20'000)) - 1;
    const auto exact = static_cast<double>(values[rank]);
    EXPECT_NEAR(static_cast<double>(histogram.quantile(share)), exact, exact * 0.001) << share;
  }
}

TEST(Histogram, WithoutValuesEverythingIsZero) {
  const Histogram histogram;
  EXPECT_EQ(histogram.quantile(0.99), 0);
  EXPECT_EQ(histogram.mean(), 0);
}

TEST(Histogram, OneStallIsSeenInTheTailAlone) {
  Histogram histogram;
  for (int n = 0; n < 999; ++n) histogram.record(100);
  histogram.record(5'000'000'000);
  EXPECT_EQ(histogram.quantile(0.999), 100);
  EXPECT_EQ(histogram.quantile(1), 5'000'000'000);
}

}  // namespace
}  // namespace flagstream::bench
