#include "analytics/distinct_keys.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "base/bytes.h"

namespace flagstream::analytics {
namespace {

constexpr int kIndexBits = 12;
constexpr int kRankMax = 64 - kIndexBits + 1;
constexpr char kVersion = 1;
constexpr char kExact = 0;
constexpr char kRegisterForm = 1;

// The two series of Ertl's estimator ("New cardinality estimation algorithms for HyperLogLog
// sketches", 2017): unbiased over the whole range without tables of corrections.
double sigma(double x) {
  if (x == 1.0) return std::numeric_limits<double>::infinity();
  double y = 1.0;
  double z = x;
  for (double before = -1.0; before != z;) {
    x *= x;
    before = z;
    z += x * y;
    y += y;
  }
  return z;
}

double tau(double x) {
  if (x == 0.0 || x == 1.0) return 0.0;
  double y = 1.0;
  double z = 1.0 - x;
  for (double before = -1.0; before != z;) {
    x = std::sqrt(x);
    before = z;
    y *= 0.5;
    z -= (1.0 - x) * (1.0 - x) * y;
  }
  return z / 3.0;
}

double estimate_of(const std::vector<std::uint8_t>& registers) {
  std::array<std::uint32_t, kRankMax + 1> registers_at{};
  for (const std::uint8_t rank : registers) ++registers_at[rank];
  const double m = static_cast<double>(registers.size());
  double z = m * tau(1.0 - registers_at[kRankMax] / m);
  for (int rank = kRankMax - 1; rank >= 1; --rank)
    z = 0.5 * (z + registers_at[static_cast<std::size_t>(rank)]);
  z += m * sigma(registers_at[0] / m);
  const double alpha = 0.5 / std::log(2.0);
  return alpha * m * m / z;
}

}  // namespace

bool DistinctKeys::raise_register(std::uint64_t hash) {
  const auto index = static_cast<std::size_t>(hash >> (64 - kIndexBits));
  // The bit below the hash's last ends the count of zeros.
  const std::uint64_t rest = (hash << kIndexBits) | (1ull << (kIndexBits - 1));
  const auto rank = static_cast<std::uint8_t>(std::countl_zero(rest) + 1);
  if (registers_[index] >= rank) return false;
  registers_[index] = rank;
  return true;
}

void DistinctKeys::make_registers() {
  if (!registers_.empty()) return;
  registers_.resize(kRegisters);
  for (const std::uint64_t hash : hashes_) raise_register(hash);
  hashes_ = {};
}

bool DistinctKeys::add(std::uint64_t hash) {
  if (!registers_.empty()) return raise_register(hash);
  const auto at = std::lower_bound(hashes_.begin(), hashes_.end(), hash);
  if (at != hashes_.end() && *at == hash) return false;
  hashes_.insert(at, hash);
  if (hashes_.size() > kExactMax) make_registers();
  return true;
}

void DistinctKeys::merge(const DistinctKeys& other) {
  if (other.registers_.empty()) {
    for (const std::uint64_t hash : other.hashes_) add(hash);
    return;
  }
  make_registers();
  for (std::size_t i = 0; i < kRegisters; ++i)
    registers_[i] = std::max(registers_[i], other.registers_[i]);
}

std::uint64_t DistinctKeys::estimate() const {
  if (registers_.empty()) return hashes_.size();
  return static_cast<std::uint64_t>(std::llround(estimate_of(registers_)));
}

std::size_t DistinctKeys::encoded_bytes() const {
  return 2 + (registers_.empty() ? hashes_.size() * sizeof(std::uint64_t) : kRegisters);
}

std::string DistinctKeys::encode() const {
  std::string out;
  out.reserve(encoded_bytes());
  out.push_back(kVersion);
  out.push_back(registers_.empty() ? kExact : kRegisterForm);
  for (const std::uint64_t hash : hashes_) append_be64(out, hash);
  out.append(registers_.begin(), registers_.end());
  return out;
}

Result<DistinctKeys> DistinctKeys::decode(std::string_view bytes) {
  if (bytes.size() < 2 || bytes[0] < kVersion)
    return fail(ErrorKind::DataLoss, "distinct keys: too short");
  if (bytes[0] != kVersion)
    return fail(ErrorKind::InvalidArgument, "distinct keys: written by a newer flagstream");
  const char form = bytes[1];
  bytes.remove_prefix(2);
  DistinctKeys keys;
  if (form == kExact && bytes.size() % 8 == 0 && bytes.size() <= kExactMax * 8) {
    for (std::size_t i = 0; i < bytes.size(); i += 8) {
      const std::uint64_t hash = get_be64(bytes.data() + i);
      if (!keys.hashes_.empty() && hash <= keys.hashes_.back())
        return fail(ErrorKind::DataLoss, "distinct keys: hashes not ascending");
      keys.hashes_.push_back(hash);
    }
    return keys;
  }
  if (form != kRegisterForm || bytes.size() != kRegisters)
    return fail(ErrorKind::DataLoss, "distinct keys: wrong size");
  keys.registers_.assign(bytes.begin(), bytes.end());
  const auto over = [](std::uint8_t rank) { return rank > kRankMax; };
  if (std::any_of(keys.registers_.begin(), keys.registers_.end(), over))
    return fail(ErrorKind::DataLoss, "distinct keys: a register over its maximum");
  return keys;
}

}  // namespace flagstream::analytics
