// The `events` table: its columns, and rows of them gathered in memory and written as Parquet.
//
// The columns and what each means: docs/formats/lake.md.  Columns are only ever added, at the end.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "events/event.h"
#include "lake/delta_state.h"
#include "lake/duckdb_session.h"
#include "lake/environment_labels.h"

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

// Rows of one or more dates in memory, in DuckDB's own layout.  Not thread-safe.
class EventRows {
 public:
  static Result<std::unique_ptr<EventRows>> open(Session& duckdb);
  ~EventRows();
  EventRows(const EventRows&) = delete;
  EventRows& operator=(const EventRows&) = delete;

  void add(const events::proto::Event& event, const RowOrigin& origin);
  void clear();
  std::uint64_t rows() const { return rows_; }
  // Text bytes held, about.
  std::uint64_t bytes() const { return bytes_; }

  // Writes one Parquet file for each date below `folder` (which has a folder for each of dates())
  // and forgets the rows.  Not synced; after an error this object must not be used again.
  Result<std::vector<AddFile>> write(const std::string& folder, MicrosUtc now);
  // The dates held, as days since 1970.
  std::vector<std::int32_t> dates() const;

 private:
  explicit EventRows(Session& duckdb) : duckdb_(duckdb), api_(duckdb.api()) {}
  Result<void> register_function();
  void hand_over(duckdb_data_chunk out);
  void begin_chunk();
  void finish_chunk();
  Result<AddFile> write_date(const std::string& folder, std::int32_t day, bool is_only,
                             MicrosUtc now);
  Result<void> copy_date(const std::string& folder, std::int32_t day, bool is_only, AddFile& file);

  void text(std::size_t column, std::string_view value);
  void optional_text(std::size_t column, std::string_view value);
  template <class T>
  void number(std::size_t column, T value);
  void null(std::size_t column);
  void add_identity(const events::proto::Event& event, const RowOrigin& origin, std::int32_t day);
  void add_label(const EnvironmentLabel* label);
  void add_values(const events::proto::Event& event);
  void add_metric_and_summary(const events::proto::Event& event);
  void add_contexts(const events::proto::Event& event);

  Session& duckdb_;
  const DuckDb& api_;
  // Of a DuckDB table function that yields the rows.  It cannot be taken back, so nobody else may
  // know its name.
  const std::string function_name_ = "rows_" + Id128::random().to_hex();
  std::vector<duckdb_data_chunk> chunks_;  // full ones, the one being filled, and spare ones
  std::size_t full_chunks_ = 0;
  std::size_t handed_over_ = 0;
  std::vector<duckdb_vector> vectors_;
  std::vector<void*> data_;
  std::vector<std::uint64_t*> validity_;
  idx_t row_ = 0;  // in the chunk
  idx_t chunk_rows_ = 0;
  std::uint64_t rows_ = 0;
  std::uint64_t bytes_ = 0;
  std::map<std::int32_t, std::uint64_t> rows_by_day_;
  std::string scratch_;
};

// "2026-11-24"
std::string date_of_day(std::int32_t day);

}  // namespace flagstream::lake
