// The child's side of a query: limits of the process first, then DuckDB and the view, then the
// sandbox, and only then the query.
#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/file_system.h"
#include "io/give_way.h"
#include "json/json.h"
#include "lake/delta_table.h"
#include "lake/duckdb_json.h"
#include "lake/duckdb_session.h"
#include "lake/event_rows.h"
#include "lake/sql_query.h"
#include "lake/sql_request.h"
#include "lake/system_call_filter.h"

namespace flagstream::lake {
namespace {

constexpr std::size_t kRequestBytesMax = 1 << 20;
constexpr std::size_t kErrorBytesMax = 4 << 10;
constexpr rlim_t kFilesMax = 4'096;
// Beside DuckDB's own limit: code, stacks, what its allocator reserves, and the result.
[[maybe_unused]] constexpr std::uint64_t kAddressSlackBytes = 1ull << 30;

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FS_SANITIZED_ADDRESS_SPACE
#endif
#endif

void limit(int resource, rlim_t value) {
  rlimit now{};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &now) != 0) return;
  const rlim_t allowed = now.rlim_max == RLIM_INFINITY ? value : std::min(value, now.rlim_max);
  const rlimit wanted{.rlim_cur = allowed, .rlim_max = allowed};
  (void)::setrlimit(static_cast<__rlimit_resource>(resource), &wanted);
}

// What no query can get around, even through a fault of DuckDB.
void confine(const SqlSettings& settings) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  io::give_way();
  ::signal(SIGXFSZ, SIG_IGN);  // a write to a file is then an error, and not a crash
  limit(RLIMIT_FSIZE, 0);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_NOFILE, kFilesMax);
  const auto seconds = static_cast<rlim_t>(settings.deadline.count() / 1000 + 1);
  limit(RLIMIT_CPU, seconds * std::max(1u, settings.threads) + 1);
#ifndef FS_SANITIZED_ADDRESS_SPACE
  limit(RLIMIT_AS, settings.memory_bytes_max + 2 * settings.bytes_max + kAddressSlackBytes);
#endif
  // Where the kernel has no filters, DuckDB's own locks and the limits above remain.
  (void)forbid_writing_and_network();
}

std::string view_columns() {
  std::string list;
  for (const ColumnDefinition& column : event_columns()) {
    list +=
        fmt::format("{}NULL::{} AS \"{}\"", list.empty() ? "" : ", ", column.sql_type, column.name);
  }
  return list;
}

std::string path_list(const std::string& folder, const TableState& table) {
  std::string list;
  for (const auto& [path, file] : table.files) {
    list += (list.empty() ? "" : ", ") + sql_quoted(folder + "/" + path);
  }
  return '[' + list + ']';
}

// A path of another writer may be absolute, or lead out of the table.
bool is_inside(std::string_view path) {
  return !path.starts_with('/') && path.find("://") == std::string_view::npos &&
         ("/" + std::string(path) + "/").find("/../") == std::string::npos;
}

// Whether every file is known to have all our columns: they are only ever added at the end, and a
// file of ours says in its statistics which it has.
bool are_complete(const TableState& table) {
  const std::string last = fmt::format("\"{}\":", event_columns().back().name);
  return std::ranges::all_of(table.files, [&](const auto& each) {
    const std::size_t columns = each.second.stats.find("\"nullCount\":");
    return columns != std::string::npos &&
           each.second.stats.find(last, columns) != std::string::npos;
  });
}

// The view has all our columns, also those that older files, or none at all, do not have.
Result<void> make_view(Session& duckdb, const std::string& folder) {
  FS_TRY(const TableState table, read_table(io::posix_file_system(), duckdb, folder));
  for (const auto& [path, file] : table.files) {
    if (!is_inside(path))
      return fail(ErrorKind::DataLoss, "the table names a file outside itself: " + path);
  }
  const std::string empty = fmt::format("SELECT {} WHERE false", view_columns());
  if (table.files.empty()) return duckdb.execute("CREATE VIEW events AS " + empty);
  const std::string paths = path_list(folder, table);
  // To unite by name every file has to be opened, also those that the query's dates rule out.
  FS_TRY(
      duckdb.execute(fmt::format("CREATE VIEW events AS {} UNION ALL BY NAME SELECT * FROM "
                                 "read_parquet({}, union_by_name = {}, "
                                 "hive_partitioning = true, hive_types = {{'date': DATE}})",
                                 empty, paths, !are_complete(table))));
  return duckdb.execute("SET allowed_paths = " + paths);
}

Result<void> lock(Session& duckdb) {
  FS_TRY(duckdb.execute("SET enable_external_access = false"));
  return duckdb.execute("SET lock_configuration = true");
}

// Without white space, comments (which nest) and opening parentheses in front.
std::string_view after_comments(std::string_view sql) {
  while (!sql.empty()) {
    if (std::isspace(static_cast<unsigned char>(sql[0])) != 0 || sql[0] == '(') {
      sql.remove_prefix(1);
    } else if (sql.starts_with("--")) {
      sql.remove_prefix(std::min(sql.find('\n'), sql.size()));
    } else if (sql.starts_with("/*")) {
      int depth = 0;
      do {
        const bool opens = sql.starts_with("/*"), closes = sql.starts_with("*/");
        depth += opens ? 1 : closes ? -1 : 0;
        sql.remove_prefix(opens || closes ? 2 : 1);
      } while (depth > 0 && !sql.empty());
    } else {
      break;
    }
  }
  return sql;
}

// DuckDB turns some PRAGMA statements into a SELECT before it says what a statement is.
Result<void> check_first_word(std::string_view sql) {
  constexpr std::array<std::string_view, 6> kQueries = {"SELECT", "WITH",     "FROM",
                                                        "VALUES", "DESCRIBE", "SUMMARIZE"};
  sql = after_comments(sql);
  std::string word;
  for (const char c : sql) {
    if (std::isalpha(static_cast<unsigned char>(c)) == 0) break;
    word += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  if (std::ranges::find(kQueries, word) != kQueries.end()) return {};
  return fail(ErrorKind::InvalidArgument, "only one SELECT statement can be run");
}

Error query_error(const char* text) {
  const std::string_view what = text == nullptr ? "unknown failure" : text;
  ErrorKind kind = ErrorKind::InvalidArgument;
  if (what.starts_with("Permission Error")) kind = ErrorKind::PermissionDenied;
  if (what.starts_with("IO Error")) kind = ErrorKind::Unavailable;
  // What follows the first line on lack of memory advises settings that a query cannot have.
  const std::size_t size = what.starts_with("Out of Memory") ? what.find('\n') : kErrorBytesMax;
  return error_from_duckdb(std::string(what.substr(0, size)).c_str(), kind);
}

// The statements of a text; one of them prepared; its result.  Each is freed with it.
class Statement {
 public:
  explicit Statement(Session& session) : session_(session), api_(session.api()) {}
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement() {
    if (has_result_) api_.duckdb_destroy_result(&result_);
    if (pending_ != nullptr) api_.duckdb_destroy_pending(&pending_);
    if (prepared_ != nullptr) api_.duckdb_destroy_prepare(&prepared_);
    if (extracted_ != nullptr) api_.duckdb_destroy_extracted(&extracted_);
  }

  Result<void> prepare(const std::string& sql) {
    const idx_t count =
        api_.duckdb_extract_statements(session_.connection(), sql.c_str(), &extracted_);
    if (count == 0) {
      const char* error = api_.duckdb_extract_statements_error(extracted_);
      if (error != nullptr) return fail(query_error(error));
    }
    if (count != 1) return fail(ErrorKind::InvalidArgument, "only one SELECT statement can be run");
    FS_TRY(check_first_word(sql));
    if (api_.duckdb_prepare_extracted_statement(session_.connection(), extracted_, 0, &prepared_) ==
        DuckDBError) {
      return fail(query_error(api_.duckdb_prepare_error(prepared_)));
    }
    if (api_.duckdb_prepared_statement_type(prepared_) != DUCKDB_STATEMENT_TYPE_SELECT) {
      return fail(ErrorKind::InvalidArgument, "only one SELECT statement can be run");
    }
    if (api_.duckdb_nparams(prepared_) != 0) {
      return fail(ErrorKind::InvalidArgument, "a query cannot have parameters");
    }
    return {};
  }

  Result<void> execute() {
    if (api_.duckdb_pending_prepared_streaming(prepared_, &pending_) == DuckDBError) {
      return fail(query_error(api_.duckdb_pending_error(pending_)));
    }
    has_result_ = true;
    if (api_.duckdb_execute_pending(pending_, &result_) == DuckDBError) {
      return fail(query_error(api_.duckdb_result_error(&result_)));
    }
    return {};
  }
  duckdb_result& result() { return result_; }

 private:
  Session& session_;
  const DuckDb& api_;
  duckdb_extracted_statements extracted_ = nullptr;
  duckdb_prepared_statement prepared_ = nullptr;
  duckdb_pending_result pending_ = nullptr;
  duckdb_result result_{};
  bool has_result_ = false;
};

// Appends rows until there are no more (true) or the next one would break a limit (false).
class RowWriter {
 public:
  RowWriter(const DuckDb& api, const SqlSettings& settings, const JsonColumns& columns,
            std::string& out)
      : api_(api), settings_(settings), columns_(columns), out_(out) {}

  bool append(duckdb_data_chunk chunk) {
    for (idx_t row = 0; row < api_.duckdb_data_chunk_get_size(chunk); ++row) {
      if (rows_ == settings_.rows_max) return false;
      const std::size_t before = out_.size();
      out_ += rows_ == 0 ? "[" : ",[";
      for (std::size_t column = 0; column < columns_.count(); ++column) {
        if (column > 0) out_ += ',';
        columns_.append_value(chunk, column, row, out_);
        if (out_.size() > settings_.bytes_max) {
          out_.resize(before);
          return false;
        }
      }
      out_ += ']';
      ++rows_;
    }
    return true;
  }

 private:
  const DuckDb& api_;
  const SqlSettings& settings_;
  const JsonColumns& columns_;
  std::string& out_;
  std::uint64_t rows_ = 0;
};

Result<std::string> result_json(Session& session, const SqlSettings& settings,
                                duckdb_result& result) {
  const DuckDb& api = session.api();
  const JsonColumns columns(api, result);
  std::string out = R"({"columns":[)";
  for (std::size_t column = 0; column < columns.count(); ++column) {
    if (column > 0) out += ',';
    out += R"({"name":)";
    json::append_quoted(out, columns.name(column));
    out += fmt::format(R"(,"type":"{}"}})", columns.type_name(column));
  }
  out += R"(],"rows":[)";
  RowWriter rows(api, settings, columns, out);
  bool is_whole = true;
  while (is_whole) {
    duckdb_data_chunk chunk = api.duckdb_fetch_chunk(result);
    if (chunk == nullptr) {
      if (const char* error = api.duckdb_result_error(&result)) return fail(query_error(error));
      break;
    }
    is_whole = rows.append(chunk);
    api.duckdb_destroy_data_chunk(&chunk);
  }
  out += fmt::format(R"(],"truncated":{}}})", !is_whole);
  return out;
}

Result<std::string> read_request() {
  std::string text;
  std::array<char, 64 << 10> piece;
  for (;;) {
    const ssize_t got = ::read(STDIN_FILENO, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(error_from_errno(errno, "read the request"));
    if (got == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(got));
    if (text.size() > kRequestBytesMax)
      return fail(ErrorKind::TooLarge, "the request is too large");
  }
}

Result<std::string> answer() {
  FS_TRY(const std::string text, read_request());
  FS_TRY(const SqlRequest request, decode_request(text));
  if (request.sql.find('\0') != std::string::npos) {
    return fail(ErrorKind::InvalidArgument, "a query cannot hold a zero byte");
  }
  confine(request.settings);
  FS_TRY(const DuckDb* duckdb, load_duckdb(request.settings.duckdb_library));
  FS_TRY(const auto session,
         Session::open(*duckdb, {.memory_bytes_max = request.settings.memory_bytes_max,
                                 .threads = std::max(1u, request.settings.threads)}));
  FS_TRY(make_view(*session, request.settings.folder));
  FS_TRY(lock(*session));
  Statement statement(*session);
  FS_TRY(statement.prepare(request.sql));
  FS_TRY(statement.execute());
  return result_json(*session, request.settings, statement.result());
}

}  // namespace

int run_sql_child() {
  const std::string text = encode_answer(answer());
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t put = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return 1;
    rest.remove_prefix(static_cast<std::size_t>(put));
  }
  // Nothing of DuckDB's needs an orderly end; the process is all that has to go.
  ::_exit(0);
}

}  // namespace flagstream::lake
