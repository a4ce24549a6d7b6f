// The encodings of Parquet that our files use:
// https://parquet.apache.org/docs/file-format/data-pages/encodings/
//
// Only those that every reader has known for years: PLAIN, RLE_DICTIONARY and the RLE/bit-packing
// hybrid; and Thrift's compact protocol for the metadata around them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace flagstream::lake {

// Which rows of a column have a value.
class PresentRows {
 public:
  // `row` is above that of every call before.
  void mark(std::uint64_t row) {
    if (row != count_ || !words_.empty()) set_bit(row);
    ++count_;
  }
  void clear() {
    words_.clear();
    count_ = 0;
  }
  std::uint64_t count() const { return count_; }
  // Definition levels of a data page (version 1) for rows [0, rows): 1 where there is a value.
  void append_levels(std::uint64_t rows, std::string& out) const;

 private:
  void set_bit(std::uint64_t row);

  // A bit for each row, up to the last one with a value.  Empty: the first count_ rows have one.
  std::vector<std::uint64_t> words_;
  std::uint64_t count_ = 0;
};

// Bits that tell `distinct` values apart; at least 1, for not every reader takes 0.
int index_bits(std::uint64_t distinct);

// The values of a page with dictionary: the width in bits, then the hybrid.
void append_indices(std::span<const std::uint32_t> indices, int bits, std::string& out);
// The same where all of them are 0.
void append_zero_indices(std::size_t count, std::string& out);

// Little-endian, as PLAIN wants it.
template <class T>
void append_plain(T value, std::string& out) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// Writes one Thrift structure with all that it contains.  Fields in ascending order of their ids.
class ThriftWriter {
 public:
  explicit ThriftWriter(std::string& out) : out_(out) {}
  void i32(int field, std::int32_t value);
  void i64(int field, std::int64_t value);
  void boolean(int field, bool value);
  void text(int field, std::string_view value);
  void begin_struct(int field);
  void begin_struct_list(int field, std::size_t size);
  void begin_element();  // a structure of a list
  void end_struct();     // also the outermost one
  void i32_list(int field, std::span<const std::int32_t> values);
  void text_list(int field, std::span<const std::string_view> values);

 private:
  void header(int field, int type);
  void list_header(int field, int type, std::size_t size);
  void varint(std::uint64_t value);
  void bytes(std::string_view value);

  std::string& out_;
  std::vector<int> fields_ = {0};  // the last one of each open structure
};

}  // namespace flagstream::lake
