// One in-memory DuckDB with one connection.  Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "lake/duckdb_library.h"

namespace flagstream::lake {

struct SessionSettings {
  std::uint64_t memory_bytes_max = 1ull << 30;
  std::uint32_t threads = 1;
};

class Session {
 public:
  // Extensions, their download and temporary files are off, and the time zone is UTC, whatever the
  // settings.
  static Result<std::unique_ptr<Session>> open(const DuckDb& duckdb, SessionSettings settings);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Runs one statement of ours (never a user's).  ResourceExhausted: out of memory; Unavailable:
  // anything else.
  Result<void> execute(const std::string& sql);
  // Its rows; each value as JSON text (duckdb_json.h).
  Result<std::vector<std::vector<std::string>>> rows(const std::string& sql);

  const DuckDb& api() const { return duckdb_; }
  duckdb_connection connection() const { return connection_; }

 private:
  explicit Session(const DuckDb& duckdb) : duckdb_(duckdb) {}

  const DuckDb& duckdb_;
  duckdb_database database_ = nullptr;
  duckdb_connection connection_ = nullptr;
};

// 'it''s' for it's.
std::string sql_quoted(std::string_view text);

// ResourceExhausted where DuckDB's text says that memory ran out, else `otherwise`.
Error error_from_duckdb(const char* text, ErrorKind otherwise);

}  // namespace flagstream::lake
