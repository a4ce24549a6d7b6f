// Statistics of a Parquet file in the form of Delta's `add.stats`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lake/event_rows.h"
#include "lake/parquet_column.h"

namespace flagstream::lake {

// numRecords, minValues, maxValues and nullCount of one file.
class FileStats {
 public:
  explicit FileStats(std::uint64_t rows) : rows_(rows) {}

  void add(const ColumnDefinition& column, const ColumnStats& stats);
  std::string to_json() const;

 private:
  std::uint64_t rows_;
  // Members of JSON objects, with commas between.
  std::string lowest_, highest_, nulls_;
};

// Whether queries filter by this column; bounds of the rest would only make the log larger.
bool has_bounds(std::string_view column);

// "2026-11-24T17:17:38.123Z"; rounded up to whole milliseconds if asked, as a maximum must be.
// Empty for a time before 1970.
enum class Rounding { Down, Up };
std::string delta_timestamp(std::int64_t micros, Rounding rounding);

}  // namespace flagstream::lake
