#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace flagstream::bench {

// Durations in nanoseconds, counted in buckets that grow with the value: any quantile is right to
// three significant digits, from a nanosecond to hours, and memory does not grow with the count.
// Up to 2 * kHalf values are exact; above, each doubling has kHalf buckets of equal width.
class Histogram {
 public:
  void record(std::uint64_t value_ns) {
    const std::size_t index = bucket_of(value_ns);
    if (index >= counts_.size()) counts_.resize(index + 1);
    counts_[index] += 1;
    count_ += 1;
    sum_ += static_cast<double>(value_ns);
    max_ = std::max(max_, value_ns);
  }

  std::uint64_t count() const { return count_; }
  std::uint64_t max() const { return max_; }
  double mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

  // The least recorded value, to three digits, that at least this share of all values does not
  // exceed; 0 without values.
  std::uint64_t quantile(double share) const {
    const auto rank = std::max<std::uint64_t>(
        1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_))));
    std::uint64_t seen = 0;
    for (std::size_t index = 0; index < counts_.size(); ++index) {
      seen += counts_[index];
      if (seen >= rank) return std::min(upper_bound(index), max_);
    }
    return max_;
  }

 private:
  static constexpr std::uint64_t kHalf = 1024;
  static constexpr int kHalfBits = 11;

  static std::size_t bucket_of(std::uint64_t value) {
    const int shift = std::max(0, static_cast<int>(std::bit_width(value)) - kHalfBits);
    return static_cast<std::size_t>(shift) * kHalf + static_cast<std::size_t>(value >> shift);
  }
  // The greatest value of a bucket.
  static std::uint64_t upper_bound(std::size_t index) {
    if (index < 2 * kHalf) return index;
    const std::uint64_t shift = index / kHalf - 1;
    return ((index - shift * kHalf + 1) << shift) - 1;
  }

  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace flagstream::bench
