// The values of one column of a Parquet file to be, gathered row by row and then encoded.
//
// A row without a value is null, and a column without values costs nothing but a few bytes.  Not
// thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lake/parquet_encoding.h"

namespace flagstream::lake {

// Numbers as the format has them.
enum class ParquetType : std::int32_t {
  Boolean = 0,
  Int32 = 1,
  Int64 = 2,
  Double = 5,
  ByteArray = 6,
};

// What is known of a column's values.  Bounds are exact; no value has none.
struct ColumnStats {
  std::uint64_t nulls = 0;
  std::optional<std::int64_t> lowest, highest;  // of integers
  std::optional<std::string> lowest_text, highest_text;
};

// The pages of a column, not yet compressed.
struct EncodedColumn {
  std::string dictionary;  // PLAIN
  std::uint64_t dictionary_values = 0;
  bool has_dictionary = false;  // `data` has indices into it; otherwise PLAIN values
  std::string data;             // definition levels, then values
  ColumnStats stats;

  void clear();  // keeps memory
};

class NumberColumn {
 public:
  explicit NumberColumn(ParquetType type) : type_(type) {}

  // `row` is above that of every call before.  A Boolean is 0 or 1, a Double the bits of one.
  void add(std::uint64_t row, std::int64_t value) {
    present_.mark(row);
    if (values_.empty()) {
      if (present_.count() == 1) first_ = value;
      if (value == first_) return;
      values_.assign(present_.count() - 1, first_);
    }
    values_.push_back(value);
  }
  void clear();
  std::uint64_t bytes() const { return values_.size() * sizeof values_[0]; }
  ParquetType type() const { return type_; }
  // Replaces the contents of `out`: rows [0, rows).
  void encode(std::uint64_t rows, EncodedColumn& out) const;

 private:
  void append_value(std::int64_t value, std::string& out) const;
  void append_booleans(std::string& out) const;
  void encode_constant(EncodedColumn& out) const;
  void encode_integers(EncodedColumn& out) const;

  ParquetType type_;
  PresentRows present_;
  std::int64_t first_ = 0;
  std::vector<std::int64_t> values_;  // empty as long as all of them are equal to the first
};

// Keeps each different value once, as long as values come again; else all one after the other.
class TextColumn {
 public:
  enum class Bounds { Wanted, NotWanted };
  explicit TextColumn(Bounds bounds) : bounds_(bounds) {}

  // `row` is above that of every call before.
  void add(std::uint64_t row, std::string_view value);
  void clear();
  std::uint64_t bytes() const { return texts_.size() + indices_.size() * sizeof indices_[0]; }
  void encode(std::uint64_t rows, EncodedColumn& out) const;

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t entry = 0;  // from 1 on; 0: empty
  };
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  std::string_view entry(std::uint32_t index) const;
  // kNone: the value is new, and a dictionary does not pay any more.
  std::uint32_t index_of(std::string_view value);
  std::uint32_t add_entry(std::string_view value, std::uint32_t hash, Slot& slot);
  bool is_worthwhile() const;
  void grow();
  void give_up_dictionary();
  void find_bounds(ColumnStats& stats) const;

  Bounds bounds_;
  PresentRows present_;
  bool has_dictionary_ = true;
  std::string texts_;                   // PLAIN: of the dictionary, or of all rows
  std::vector<std::uint32_t> offsets_;  // of the dictionary's entries in texts_
  std::vector<Slot> slots_;             // open addressing; a power of two
  std::vector<std::uint32_t> indices_;  // of each value in the dictionary
  std::uint32_t last_ = kNone;          // index of the value before
};

}  // namespace flagstream::lake
