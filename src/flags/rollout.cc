#include "flags/rollout.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

namespace flagstream::flags {
namespace {

constexpr double kScale = 0xFFFFFFFFFFFFFFF;  // rounds to 2^60
constexpr std::uint64_t kBucketEnd = std::uint64_t{1} << 60;
constexpr double kWeightOfAll = 100'000;
constexpr double kExactBelow = 9'007'199'254'740'992;  // 2^53
constexpr double kExponentFrom = 1e21;                 // where JavaScript begins to write one

using DigitBuffer = std::array<char, 32>;

// A whole number as JavaScript writes it.
std::string_view whole_digits(double number, DigitBuffer& buffer) {
  char* const begin = buffer.data();
  if (std::abs(number) < kExactBelow) {
    const auto done =
        std::to_chars(begin, begin + buffer.size(), static_cast<std::int64_t>(number));
    return {begin, done.ptr};
  }
  // The shortest digits that read back the same, then zeros: "d.ddde+XX" without its dot.
  const auto done =
      std::to_chars(begin, begin + buffer.size(), number, std::chars_format::scientific);
  const std::string_view text(begin, done.ptr);
  if (std::abs(number) >= kExponentFrom) return text;
  const std::size_t e = text.find('e');
  const std::size_t first = number < 0 ? 1 : 0;
  const std::size_t size =
      first + 1 + static_cast<std::size_t>((text[e + 2] - '0') * 10 + (text[e + 3] - '0'));
  const std::size_t digits = e - first > 1 ? e - 1 : e;
  std::move(begin + first + 2, begin + std::max(e, first + 2), begin + first + 1);
  std::fill(begin + digits, begin + size, '0');
  return {begin, size};
}

std::string prefix_of(const Bucketing::Options& options) {
  if (options.seed) return fmt::format("{}.", *options.seed);
  return fmt::format("{}.{}.", options.key, options.salt);
}

std::optional<std::int64_t> seed_of(const Node& node) {
  if (node.type != NodeType::Number || std::abs(node.number) >= kExactBelow) return std::nullopt;
  return static_cast<std::int64_t>(node.number);
}

ReferenceMode mode_of(std::string_view context_kind) {
  return context_kind.empty() ? ReferenceMode::Literal : ReferenceMode::Path;
}

}  // namespace

Bucketing::Bucketing(const Options& options)
    : kind_(options.context_kind.empty() ? kUserKind : options.context_kind),
      is_by_key_(options.by.empty()),
      by_(options.by, mode_of(options.context_kind)),
      hash_(prefix_of(options)) {}

std::uint64_t Bucketing::bits_by(const IndividualContext& individual) const {
  const Node* value = individual.lookup(by_);
  if (value == nullptr) return 0;
  if (value->type == NodeType::String) return hash_.first_60_bits(value->text);
  const bool is_whole = value->type == NodeType::Number && std::isfinite(value->number) &&
                        value->number == std::trunc(value->number);
  if (!is_whole) return 0;
  DigitBuffer buffer;
  return hash_.first_60_bits(whole_digits(value->number, buffer));
}

std::uint64_t bucket_limit(double share) {
  std::uint64_t low = 0;
  std::uint64_t high = kBucketEnd;
  // Doubles this large are 128 apart: the limit is not far from where exact numbers had it.
  if (share > 0 && share < 1) {
    constexpr std::uint64_t kFar = 1 << 12;
    const auto near = static_cast<std::uint64_t>(share * kScale);
    if (near > kFar && static_cast<double>(near - kFar) / kScale < share) low = near - kFar;
    if (near + kFar < high && static_cast<double>(near + kFar) / kScale >= share)
      high = near + kFar;
  }
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (static_cast<double>(middle) / kScale < share) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

Rollout read_rollout(const Node& node, std::string_view key, std::string_view salt) {
  const bool is_experiment = member(node, "kind").text == "experiment";
  Rollout rollout{
      .is_experiment = is_experiment,
      .bucketing = Bucketing({
          .context_kind = member(node, "contextKind").text,
          .by = is_experiment ? std::string_view() : member(node, "bucketBy").text,
          .key = key,
          .salt = salt,
          .seed = seed_of(member(node, "seed")),
      }),
      .entries = {},
  };
  double share = 0;
  std::uint64_t limit = 0;
  for (const Node& each : Elements(member(node, "variations"))) {
    share += member(each, "weight").number / kWeightOfAll;
    limit = std::max(limit, bucket_limit(share));  // a negative weight takes from nobody before it
    const Node* variation = find(each, "variation");
    rollout.entries.push_back({
        .limit = limit,
        .variation = variation == nullptr ? 0 : index_of(*variation),
        .is_untracked = member(each, "untracked").boolean,
    });
  }
  return rollout;
}

std::int64_t index_of(const Node& number) {
  const bool is_index = number.type == NodeType::Number && number.number >= 0 &&
                        number.number < kExactBelow && number.number == std::trunc(number.number);
  return is_index ? static_cast<std::int64_t>(number.number) : -1;
}

}  // namespace flagstream::flags
