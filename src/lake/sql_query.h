// SQL over the lake: one SELECT on the view `events`, answered by a process of its own.
//
// The child process is this program again, with the argument kSqlChild.  It opens an in-memory
// DuckDB, makes the view over exactly the files of the table's current version, gives away every
// right but to read those files, and only then looks at the query.  Whatever a query does, memory,
// time and crashes are the child's.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace flagstream::lake {

// main() calls run_sql_child() when this is its only argument; it is in no help text.
inline constexpr std::string_view kSqlChild = "sql-child";

inline constexpr std::size_t kSqlBytesMax = 64 << 10;

// Threads of a query: two, and no more than half of the processors, so that one is left for the
// front door.
std::uint32_t query_threads();

struct SqlSettings {
  std::string folder;                    // of the table, e.g. DATA/lake/events; need not exist
  std::uint64_t rows_max = 1'000;        // more are cut off, and the result says so
  std::uint64_t bytes_max = 8ull << 20;  // of the result's JSON; likewise
  std::chrono::milliseconds deadline{10'000};
  std::uint64_t memory_bytes_max = 512ull << 20;
  std::uint32_t threads = query_threads();
  std::string program = "/proc/self/exe";
  std::string duckdb_library;  // empty: searched for (duckdb_library.h)
};

// {"columns":[{"name":…,"type":…}],"rows":[[…]],"truncated":bool}; how values are written:
// duckdb_json.h.
//
// Blocks, at most a little longer than the deadline.  Any thread; how many run at once is for the
// caller to bound. InvalidArgument: no SQL, or not one SELECT statement; the text is DuckDB's.
// PermissionDenied: it reaches for what it may not read.  TooLarge: the query's text, or a result
// whose column names alone are over the limit. ResourceExhausted: over its time or memory.
// Unavailable: the lake or DuckDB cannot be read.
Result<std::string> query(const SqlSettings& settings, std::string_view sql);

// The child's side: reads the request from stdin, answers on stdout.  Returns the exit status.
int run_sql_child();

}  // namespace flagstream::lake
