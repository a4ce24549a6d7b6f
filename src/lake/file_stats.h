// Statistics of a Parquet file, from DuckDB's COPY ... (RETURN_STATS), in the form of Delta's
// `add.stats`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace flagstream::lake {

struct FileStats {
  std::uint64_t rows = 0;
  std::int64_t size = 0;   // bytes
  std::string delta_json;  // numRecords, minValues, maxValues, nullCount
};

// `rows`: what the COPY returned (one row), each value as JSON text.
Result<FileStats> read_file_stats(const std::vector<std::vector<std::string>>& rows);

// "2026-11-24 17:17:38.123456+00" -> "2026-11-24T17:17:38.123Z"; rounded up to whole milliseconds
// if asked, as a maximum must be.  Empty for any other text.
enum class Rounding { Down, Up };
std::string delta_timestamp(std::string_view text, Rounding rounding);

}  // namespace flagstream::lake
