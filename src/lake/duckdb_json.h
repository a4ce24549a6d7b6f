// Values of DuckDB's result vectors as JSON text.
//
// Integers beyond 2^53, decimals, times, blobs (hex), UUIDs and non-finite numbers become strings,
// so that every JSON reader gets them exactly; lists become arrays; structs and maps objects.  A
// type without a rule here (BIT, UNION, TIMETZ, ...) becomes the string "(cast TYPE to VARCHAR)".
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "lake/duckdb_library.h"

namespace flagstream::lake {

class LogicalType {
 public:
  LogicalType(const DuckDb& duckdb, duckdb_logical_type type) : duckdb_(&duckdb), type_(type) {}
  LogicalType(LogicalType&& other) noexcept : duckdb_(other.duckdb_), type_(other.type_) {
    other.type_ = nullptr;
  }
  LogicalType(const LogicalType&) = delete;
  LogicalType& operator=(LogicalType&&) = delete;
  LogicalType& operator=(const LogicalType&) = delete;
  ~LogicalType();
  duckdb_logical_type get() const { return type_; }

 private:
  const DuckDb* duckdb_;
  duckdb_logical_type type_;
};

// Names and types of a result's columns.  The result must outlive it.
class JsonColumns {
 public:
  JsonColumns(const DuckDb& duckdb, duckdb_result& result);
  std::size_t count() const { return types_.size(); }
  const std::string& name(std::size_t column) const { return names_[column]; }
  // DuckDB's name of the type, e.g. "BIGINT".
  std::string_view type_name(std::size_t column) const;
  void append_value(duckdb_data_chunk chunk, std::size_t column, idx_t row, std::string& out) const;

 private:
  const DuckDb& duckdb_;
  std::vector<std::string> names_;
  std::vector<LogicalType> types_;
};

}  // namespace flagstream::lake
