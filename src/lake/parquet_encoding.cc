#include "lake/parquet_encoding.h"

#include <algorithm>
#include <bit>

namespace flagstream::lake {
namespace {

static_assert(std::endian::native == std::endian::little, "bitmaps and numbers are written as is");

constexpr std::size_t kGroup = 8;  // values that are packed together
constexpr std::size_t kWordBits = 64;
constexpr std::size_t kRepeatsMin = 16;  // below it a run costs more than it saves

// Types of Thrift's compact protocol.
enum ThriftType : int {
  kTrue = 1,
  kFalse = 2,
  kI32 = 5,
  kI64 = 6,
  kBinary = 8,
  kList = 9,
  kStruct = 12,
};

void append_varint(std::uint64_t value, std::string& out) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void append_run(std::uint32_t value, std::size_t count, int bits, std::string& out) {
  append_varint(std::uint64_t{count} << 1, out);
  out.append(reinterpret_cast<const char*>(&value), static_cast<std::size_t>(bits + 7) / 8);
}

void append_packed(std::span<const std::uint32_t> values, int bits, std::string& out) {
  if (values.empty()) return;
  const std::size_t groups = (values.size() + kGroup - 1) / kGroup;
  append_varint(std::uint64_t{groups} << 1 | 1, out);
  const std::size_t begin = out.size();
  const std::size_t bytes = groups * static_cast<std::size_t>(bits);
  out.resize(begin + bytes + sizeof(std::uint32_t));  // room for a whole last word
  char* p = out.data() + begin;
  std::uint64_t word = 0;
  int filled = 0;
  for (const std::uint32_t value : values) {
    word |= std::uint64_t{value} << filled;
    filled += bits;
    if (filled < 32) continue;
    const auto low = static_cast<std::uint32_t>(word);
    std::copy_n(reinterpret_cast<const char*>(&low), sizeof low, p);
    p += sizeof low;
    word >>= 32;
    filled -= 32;
  }
  const auto low = static_cast<std::uint32_t>(word);
  if (filled > 0) std::copy_n(reinterpret_cast<const char*>(&low), sizeof low, p);
  out.resize(begin + bytes);
}

bool is_one_value(const std::uint32_t* group) {
  std::uint32_t differences = 0;
  for (std::size_t i = 1; i < kGroup; ++i) differences |= group[i] ^ group[0];
  return differences == 0;
}

}  // namespace

void PresentRows::set_bit(std::uint64_t row) {
  const std::size_t word = row / kWordBits;
  if (words_.empty()) {  // until now there was no gap
    words_.assign(count_ / kWordBits, ~std::uint64_t{0});
    words_.push_back((std::uint64_t{1} << (count_ % kWordBits)) - 1);
  }
  if (word >= words_.size()) words_.resize(word + 1);
  words_[word] |= std::uint64_t{1} << (row % kWordBits);
}

void PresentRows::append_levels(std::uint64_t rows, std::string& out) const {
  const std::size_t size_at = out.size();
  append_plain(std::uint32_t{0}, out);
  const std::size_t begin = out.size();
  if (words_.empty()) {
    if (count_ > 0) append_run(1, count_, 1, out);
    if (rows > count_) append_run(0, rows - count_, 1, out);
  } else {
    const std::uint64_t groups = (rows + kGroup - 1) / kGroup;
    append_varint(groups << 1 | 1, out);
    const std::size_t known = std::min<std::size_t>(groups, words_.size() * sizeof words_[0]);
    out.append(reinterpret_cast<const char*>(words_.data()), known);
    out.append(groups - known, '\0');
  }
  const auto size = static_cast<std::uint32_t>(out.size() - begin);
  std::copy_n(reinterpret_cast<const char*>(&size), sizeof size, out.data() + size_at);
}

int index_bits(std::uint64_t distinct) { return distinct <= 2 ? 1 : std::bit_width(distinct - 1); }

void append_indices(std::span<const std::uint32_t> indices, int bits, std::string& out) {
  out.push_back(static_cast<char>(bits));
  std::size_t packed = 0;  // first one that is not written
  std::size_t at = 0;      // always whole groups behind `packed`
  while (at + kGroup <= indices.size()) {
    if (!is_one_value(&indices[at])) {
      at += kGroup;
      continue;
    }
    std::size_t end = at + kGroup;
    while (end < indices.size() && indices[end] == indices[at]) ++end;
    if (end - at >= kRepeatsMin) {
      append_packed(indices.subspan(packed, at - packed), bits, out);
      append_run(indices[at], end - at, bits, out);
      packed = at = end;
    } else {
      at += kGroup;
    }
  }
  append_packed(indices.subspan(packed), bits, out);
}

void append_zero_indices(std::size_t count, std::string& out) {
  out.push_back(1);
  append_run(0, count, 1, out);
}

void ThriftWriter::varint(std::uint64_t value) { append_varint(value, out_); }

void ThriftWriter::bytes(std::string_view value) {
  varint(value.size());
  out_.append(value);
}

void ThriftWriter::header(int field, int type) {
  const int step = field - fields_.back();
  if (step > 0 && step <= 15) {
    out_.push_back(static_cast<char>(step << 4 | type));
  } else {
    out_.push_back(static_cast<char>(type));
    varint(static_cast<std::uint64_t>(field) << 1);
  }
  fields_.back() = field;
}

void ThriftWriter::i32(int field, std::int32_t value) {
  header(field, kI32);
  varint(static_cast<std::uint32_t>(value) << 1 ^ static_cast<std::uint32_t>(value >> 31));
}

void ThriftWriter::i64(int field, std::int64_t value) {
  header(field, kI64);
  varint(static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63));
}

void ThriftWriter::boolean(int field, bool value) { header(field, value ? kTrue : kFalse); }

void ThriftWriter::text(int field, std::string_view value) {
  header(field, kBinary);
  bytes(value);
}

void ThriftWriter::begin_struct(int field) {
  header(field, kStruct);
  fields_.push_back(0);
}

void ThriftWriter::begin_element() { fields_.push_back(0); }

void ThriftWriter::end_struct() {
  out_.push_back('\0');
  fields_.pop_back();
}

void ThriftWriter::list_header(int field, int type, std::size_t size) {
  header(field, kList);
  constexpr std::size_t kShort = 15;
  if (size < kShort) {
    out_.push_back(static_cast<char>(size << 4 | static_cast<std::size_t>(type)));
  } else {
    out_.push_back(static_cast<char>(kShort << 4 | static_cast<std::size_t>(type)));
    varint(size);
  }
}

void ThriftWriter::begin_struct_list(int field, std::size_t size) {
  list_header(field, kStruct, size);
}

void ThriftWriter::i32_list(int field, std::span<const std::int32_t> values) {
  list_header(field, kI32, values.size());
  for (const std::int32_t value : values)
    varint(static_cast<std::uint32_t>(value) << 1 ^ static_cast<std::uint32_t>(value >> 31));
}

void ThriftWriter::text_list(int field, std::span<const std::string_view> values) {
  list_header(field, kBinary, values.size());
  for (const std::string_view value : values) bytes(value);
}

}  // namespace flagstream::lake
