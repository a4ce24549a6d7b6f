// The `events` table: its columns, and rows of them gathered in memory, column by column, and
// written as Parquet.
//
// The columns and what each means: docs/formats/lake.md.  Columns are only ever added, at the end.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "events/event_view.h"
#include "io/file_system.h"
#include "lake/delta_state.h"
#include "lake/environment_labels.h"
#include "lake/parquet_file.h"

namespace flagstream::lake {

struct ColumnDefinition {
  std::string_view name;
  std::string_view sql_type;    // DuckDB's
  std::string_view delta_type;  // Delta's
};

// `date` is first: it is the partition column, and stands in the folder's name instead of the
// files.
std::span<const ColumnDefinition> event_columns();

// The `metaData` object of a new table.
std::string event_table_metadata(const std::string& id, std::int64_t created_ms);
// The schemaString within it.
std::string event_table_schema();
// The first of our columns that the table with this schemaString does not have; empty: none.
std::string missing_column(std::string_view schema);

// "summary" for SUMMARY and so on; "unknown" for what this release does not know.
std::string_view kind_text(events::proto::EventKind kind);

struct RowOrigin {
  std::uint32_t partition = 0;
  std::uint64_t generation = 0;
  const EnvironmentLabel* label = nullptr;  // null: not known
};

// Rows of one or more dates in memory.  Not thread-safe.
class EventRows {
 public:
  // `files` must outlive it.
  explicit EventRows(io::FileSystem& files) : files_(files) {}
  EventRows(const EventRows&) = delete;
  EventRows& operator=(const EventRows&) = delete;

  void add(const events::EventView& event, const RowOrigin& origin);
  void clear();
  std::uint64_t rows() const { return rows_; }
  // Memory of the values held, about.
  std::uint64_t bytes() const;

  // Writes one Parquet file for each date below `folder` (which has a folder for each of dates())
  // and forgets the rows.  Not synced; after an error this object must not be used again.
  Result<std::vector<AddFile>> write(const std::string& folder, MicrosUtc now);
  // The dates held, as days since 1970.
  std::vector<std::int32_t> dates() const;

 private:
  using Column = std::variant<NumberColumn, TextColumn>;

  // The rows of one date.
  struct Day {
    std::uint64_t rows = 0;
    std::vector<Column> columns;  // as event_columns()

    Day();
    void clear();
  };

  Day& day_at(std::int32_t day);
  Result<AddFile> write_day(const std::string& folder, std::int32_t day, const Day& rows,
                            MicrosUtc now);
  Result<void> write_file(const std::string& path, const Day& rows, AddFile& file);

  void text(std::size_t column, std::string_view value);
  void optional_text(std::size_t column, std::string_view value);
  void number(std::size_t column, std::int64_t value);
  void optional_number(std::size_t column, std::optional<std::int64_t> value);
  void add_identity(const events::EventView& event, const RowOrigin& origin);
  void add_label(const EnvironmentLabel& label);
  void add_values(const events::EventView& event);
  void add_metric_and_summary(const events::EventView& event);
  void add_contexts(const events::EventView& event);

  io::FileSystem& files_;
  PageCompressor compressor_;
  EncodedColumn encoded_;  // reused
  std::map<std::int32_t, Day> days_;
  std::optional<Day> spare_;  // an empty one, whose memory is used again
  Day* current_ = nullptr;    // of the row being added
  std::int32_t current_day_ = 0;
  std::uint64_t rows_ = 0;
  std::string scratch_;
  std::string source_log_;  // bytes of the id whose hex digits are in source_log_hex_
  std::string source_log_hex_;
};

// "2026-11-24"
std::string date_of_day(std::int32_t day);

}  // namespace flagstream::lake
