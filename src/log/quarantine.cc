#include "log/quarantine.h"

#include <algorithm>

#include "base/bytes.h"

namespace flagstream::log {
namespace {

constexpr std::uint32_t kQuarantineMagic = 0x41555146;  // "FQUA"
constexpr std::size_t kRangeBytes = 32;

bool is_before(const QuarantinedRange& a, const QuarantinedRange& b) {
  return a.sequence != b.sequence ? a.sequence < b.sequence : a.range.begin < b.range.begin;
}

std::uint64_t sum(std::span<const QuarantinedRange> ranges) {
  std::uint64_t bytes = 0;
  for (const QuarantinedRange& each : ranges) bytes += each.range.end - each.range.begin;
  return bytes;
}

}  // namespace

std::string encode_quarantine(std::span<const QuarantinedRange> ranges) {
  std::string rest;
  for (const QuarantinedRange& each : ranges) {
    append_le(rest, each.sequence);
    append_le(rest, each.range.begin);
    append_le(rest, each.range.end);
    append_le(rest, each.found);
  }
  return sealed(kQuarantineMagic, rest);
}

std::optional<std::vector<QuarantinedRange>> decode_quarantine(std::string_view bytes) {
  const auto rest = unsealed(kQuarantineMagic, bytes, "quarantine");
  if (!rest || rest->size() % kRangeBytes != 0) return std::nullopt;
  std::vector<QuarantinedRange> ranges;
  for (std::size_t i = 0; i < rest->size(); i += kRangeBytes) {
    const char* const at = rest->data() + i;
    ranges.push_back({.sequence = get_u64(at),
                      .range = {.begin = get_u64(at + 8), .end = get_u64(at + 16)},
                      .found = get_le<MicrosUtc>(at + 24)});
    if (ranges.back().range.begin >= ranges.back().range.end) return std::nullopt;
  }
  if (!std::ranges::is_sorted(ranges, is_before)) return std::nullopt;
  return ranges;
}

std::string quarantine_path(const std::string& folder) { return folder + "/quarantine"; }

std::vector<QuarantinedRange> read_quarantine(io::FileSystem& files, const std::string& folder) {
  const auto bytes = files.read_file(quarantine_path(folder));
  if (!bytes) return {};
  return decode_quarantine(*bytes).value_or(std::vector<QuarantinedRange>());
}

Quarantine::Quarantine(io::FileSystem& files, std::string folder)
    : files_(files), folder_(std::move(folder)), ranges_(read_quarantine(files_, folder_)) {}

std::uint64_t Quarantine::add(std::uint64_t sequence, std::span<const DamagedRange> ranges,
                              MicrosUtc now) {
  if (ranges.empty()) return 0;
  const std::lock_guard lock(mutex_);
  const std::uint64_t before = sum(ranges_);
  const std::size_t had = ranges_.size();
  for (const DamagedRange& each : ranges)
    ranges_.push_back({.sequence = sequence, .range = each, .found = now});
  std::ranges::stable_sort(ranges_, is_before);
  std::vector<QuarantinedRange> joined;
  for (const QuarantinedRange& each : ranges_) {
    if (!joined.empty() && joined.back().sequence == each.sequence &&
        joined.back().range.end >= each.range.begin) {
      QuarantinedRange& last = joined.back();
      last.range.end = std::max(last.range.end, each.range.end);
      last.found = std::min(last.found, each.found);
    } else {
      joined.push_back(each);
    }
  }
  ranges_ = std::move(joined);
  const std::uint64_t added = sum(ranges_) - before;
  is_changed_ = is_changed_ || added > 0 || ranges_.size() != had;
  return added;
}

void Quarantine::forget_before(std::uint64_t first_sequence) {
  const std::lock_guard lock(mutex_);
  if (std::erase_if(ranges_, [&](const auto& each) { return each.sequence < first_sequence; }) > 0)
    is_changed_ = true;
}

Result<void> Quarantine::save() {
  const std::lock_guard lock(mutex_);
  if (!is_changed_) return {};
  FS_TRY(files_.replace_file(quarantine_path(folder_), encode_quarantine(ranges_)));
  is_changed_ = false;
  return {};
}

std::uint64_t Quarantine::bytes() const {
  const std::lock_guard lock(mutex_);
  return sum(ranges_);
}

bool Quarantine::holds(std::uint64_t sequence) const {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(ranges_, [&](const auto& each) { return each.sequence == sequence; });
}

}  // namespace flagstream::log
