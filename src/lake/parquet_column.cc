#include "lake/parquet_column.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace flagstream::lake {
namespace {

using Indices = std::vector<std::uint32_t>;
using Entries = std::vector<std::int64_t>;

constexpr std::size_t kDictionaryBytesMax = 1 << 20;  // what readers must hold beside the data
constexpr std::size_t kTrialEntries = 2'048;          // so many are let in before it must pay
constexpr std::size_t kProbesMax = 64;                // keys that are made to collide
constexpr std::size_t kSizeBytes = sizeof(std::uint32_t);
// With fewer, zstd makes more of the plain numbers, which mostly rise, than of packed indices.
constexpr std::size_t kRowsAnEntry = 16;
constexpr std::uint64_t kTableRange = 1 << 16;
constexpr std::uint64_t kMultiplier = 0x9E3779B97F4A7C15;

// Numbers close to each other: a table says where each stands in the ascending dictionary.
bool index_by_table(std::span<const std::int64_t> values, std::int64_t lowest, std::uint64_t range,
                    Indices& indices, Entries& entries) {
  const auto place = [lowest](std::int64_t value) {
    return static_cast<std::uint64_t>(value) - static_cast<std::uint64_t>(lowest);
  };
  std::vector<std::uint32_t> table(range + 1);
  for (const std::int64_t value : values) table[place(value)] = 1;
  for (std::uint64_t i = 0; i <= range; ++i) {
    if (table[i] == 0) continue;
    table[i] = static_cast<std::uint32_t>(entries.size());
    entries.push_back(static_cast<std::int64_t>(static_cast<std::uint64_t>(lowest) + i));
  }
  if (entries.size() * kRowsAnEntry > values.size()) return false;
  indices.reserve(values.size());
  for (const std::int64_t value : values) indices.push_back(table[place(value)]);
  return true;
}

bool index_by_hash(std::span<const std::int64_t> values, Indices& indices, Entries& entries) {
  constexpr std::size_t kEntriesMax = 1 << 14;
  constexpr int kShift = 64 - 15;  // a slot is one of twice as many
  std::vector<std::uint32_t> slots(kEntriesMax * 2);
  indices.reserve(values.size());
  for (const std::int64_t value : values) {
    std::size_t at = (static_cast<std::uint64_t>(value) * kMultiplier) >> kShift;
    std::size_t probes = 0;
    while (slots[at] != 0 && entries[slots[at] - 1] != value) {
      at = (at + 1) % slots.size();
      if (++probes == kProbesMax) return false;
    }
    if (slots[at] == 0) {
      const bool pays = entries.size() < kTrialEntries || entries.size() * 2 < indices.size();
      if (!pays || entries.size() == kEntriesMax) return false;
      entries.push_back(value);
      slots[at] = static_cast<std::uint32_t>(entries.size());
    }
    indices.push_back(slots[at] - 1);
  }
  return entries.size() * 2 <= values.size();
}

}  // namespace

void EncodedColumn::clear() {
  dictionary.clear();
  dictionary_values = 0;
  has_dictionary = false;
  data.clear();
  stats = {};
}

void NumberColumn::clear() {
  present_.clear();
  values_.clear();
}

void NumberColumn::append_value(std::int64_t value, std::string& out) const {
  if (type_ == ParquetType::Int32) {
    append_plain(static_cast<std::int32_t>(value), out);
  } else {
    append_plain(value, out);
  }
}

void NumberColumn::append_booleans(std::string& out) const {
  constexpr std::size_t kBits = 8;
  if (values_.empty()) {
    out.append((present_.count() + kBits - 1) / kBits, first_ == 0 ? '\0' : '\xFF');
    return;
  }
  for (std::size_t i = 0; i < values_.size(); i += kBits) {
    unsigned byte = 0;
    for (std::size_t bit = 0; bit < kBits && i + bit < values_.size(); ++bit)
      byte |= static_cast<unsigned>(values_[i + bit]) << bit;
    out.push_back(static_cast<char>(byte));
  }
}

void NumberColumn::encode(std::uint64_t rows, EncodedColumn& out) const {
  out.clear();
  out.stats.nulls = rows - present_.count();
  present_.append_levels(rows, out.data);
  if (present_.count() == 0) return;
  if (type_ == ParquetType::Boolean) return append_booleans(out.data);
  if (values_.empty()) return encode_constant(out);
  encode_integers(out);
}

void NumberColumn::encode_constant(EncodedColumn& out) const {
  if (type_ != ParquetType::Double) out.stats.lowest = out.stats.highest = first_;
  append_value(first_, out.dictionary);
  out.dictionary_values = 1;
  out.has_dictionary = true;
  append_zero_indices(present_.count(), out.data);
}

// Doubles, too, of which only the bits are looked at.
void NumberColumn::encode_integers(EncodedColumn& out) const {
  const auto [lowest, highest] = std::ranges::minmax(values_);
  if (type_ != ParquetType::Double) {
    out.stats.lowest = lowest;
    out.stats.highest = highest;
  }
  const std::uint64_t range =
      static_cast<std::uint64_t>(highest) - static_cast<std::uint64_t>(lowest);
  Indices indices;
  Entries entries;
  out.has_dictionary = range < kTableRange
                           ? index_by_table(values_, lowest, range, indices, entries)
                           : index_by_hash(values_, indices, entries);
  if (!out.has_dictionary) {
    for (const std::int64_t value : values_) append_value(value, out.data);
    return;
  }
  for (const std::int64_t value : entries) append_value(value, out.dictionary);
  out.dictionary_values = entries.size();
  append_indices(indices, index_bits(entries.size()), out.data);
}

void TextColumn::clear() {
  present_.clear();
  has_dictionary_ = true;
  texts_.clear();
  offsets_.clear();
  slots_.clear();
  indices_.clear();
  last_ = kNone;
}

std::string_view TextColumn::entry(std::uint32_t index) const {
  std::uint32_t size;
  std::memcpy(&size, texts_.data() + offsets_[index], kSizeBytes);
  return {texts_.data() + offsets_[index] + kSizeBytes, size};
}

namespace {

void append_text(std::string_view value, std::string& out) {
  append_plain(static_cast<std::uint32_t>(value.size()), out);
  out.append(value);
}

}  // namespace

void TextColumn::add(std::uint64_t row, std::string_view value) {
  present_.mark(row);
  if (has_dictionary_) {
    const std::uint32_t index = index_of(value);
    if (index != kNone) {
      indices_.push_back(index);
      last_ = index;
      return;
    }
    give_up_dictionary();
  }
  append_text(value, texts_);
}

std::uint32_t TextColumn::index_of(std::string_view value) {
  if (last_ != kNone && entry(last_) == value) return last_;
  if (offsets_.size() * 2 >= slots_.size()) grow();
  const auto hash = static_cast<std::uint32_t>(XXH3_64bits(value.data(), value.size()));
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = hash & mask;
  for (std::size_t probes = 0; probes < kProbesMax; ++probes, at = (at + 1) & mask) {
    Slot& slot = slots_[at];
    if (slot.entry == 0) return is_worthwhile() ? add_entry(value, hash, slot) : kNone;
    if (slot.hash == hash && entry(slot.entry - 1) == value) return slot.entry - 1;
  }
  return kNone;
}

bool TextColumn::is_worthwhile() const {
  if (texts_.size() > kDictionaryBytesMax) return false;
  return offsets_.size() < kTrialEntries || offsets_.size() * 2 < indices_.size();
}

std::uint32_t TextColumn::add_entry(std::string_view value, std::uint32_t hash, Slot& slot) {
  offsets_.push_back(static_cast<std::uint32_t>(texts_.size()));
  append_text(value, texts_);
  slot = {.hash = hash, .entry = static_cast<std::uint32_t>(offsets_.size())};
  return slot.entry - 1;
}

void TextColumn::grow() {
  constexpr std::size_t kSlotsMin = 64;
  std::vector<Slot> old(std::max(kSlotsMin, slots_.size() * 2));
  old.swap(slots_);
  const std::size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.entry == 0) continue;
    std::size_t at = slot.hash & mask;
    while (slots_[at].entry != 0) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

void TextColumn::give_up_dictionary() {
  std::string all;
  for (const std::uint32_t index : indices_) append_text(entry(index), all);
  texts_ = std::move(all);
  has_dictionary_ = false;
  offsets_.clear();
  slots_.clear();
  indices_.clear();
}

// Of what texts_ holds, each different value being there at least once.
void TextColumn::find_bounds(ColumnStats& stats) const {
  std::optional<std::string_view> lowest, highest;
  for (std::size_t at = 0; at < texts_.size();) {
    std::uint32_t size;
    std::memcpy(&size, texts_.data() + at, kSizeBytes);
    const std::string_view value(texts_.data() + at + kSizeBytes, size);
    if (!lowest || value < *lowest) lowest = value;
    if (!highest || value > *highest) highest = value;
    at += kSizeBytes + size;
  }
  if (!lowest) return;
  stats.lowest_text = *lowest;
  stats.highest_text = *highest;
}

void TextColumn::encode(std::uint64_t rows, EncodedColumn& out) const {
  out.clear();
  out.stats.nulls = rows - present_.count();
  present_.append_levels(rows, out.data);
  if (bounds_ == Bounds::Wanted) find_bounds(out.stats);
  if (!has_dictionary_ || offsets_.empty()) {
    out.data += texts_;
    return;
  }
  out.has_dictionary = true;
  out.dictionary = texts_;
  out.dictionary_values = offsets_.size();
  append_indices(indices_, index_bits(offsets_.size()), out.data);
}

}  // namespace flagstream::lake
