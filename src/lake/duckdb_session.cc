#include "lake/duckdb_session.h"

#include <string_view>

#include "lake/duckdb_json.h"

namespace flagstream::lake {

Result<std::unique_ptr<Session>> Session::open(const DuckDb& duckdb, SessionSettings settings) {
  const std::pair<const char*, std::string> options[] = {
      {"threads", std::to_string(settings.threads)},
      {"memory_limit", std::to_string(settings.memory_bytes_max) + "B"},
      {"temp_directory", ""},
      {"autoinstall_known_extensions", "false"},
      {"autoload_known_extensions", "false"},
      {"allow_community_extensions", "false"},
      {"extension_directory", "/nonexistent"},
  };
  duckdb_config config = nullptr;
  if (duckdb.duckdb_create_config(&config) == DuckDBError) {
    return fail(ErrorKind::Unavailable, "DuckDB made no configuration");
  }
  std::unique_ptr<Session> session(new Session(duckdb));
  std::string refused;
  for (const auto& [name, value] : options) {
    if (duckdb.duckdb_set_config(config, name, value.c_str()) == DuckDBError) refused = name;
  }
  char* text = nullptr;
  if (refused.empty() &&
      duckdb.duckdb_open_ext(":memory:", &session->database_, config, &text) == DuckDBError) {
    refused = text != nullptr ? text : "open";
  }
  if (text != nullptr) duckdb.duckdb_free(text);
  duckdb.duckdb_destroy_config(&config);
  if (!refused.empty()) return fail(ErrorKind::Unavailable, "DuckDB refused: " + refused);
  if (duckdb.duckdb_connect(session->database_, &session->connection_) == DuckDBError) {
    return fail(ErrorKind::Unavailable, "DuckDB made no connection");
  }
  FS_TRY(session->execute("SET TimeZone = 'UTC'"));
  return session;
}

Session::~Session() {
  if (connection_ != nullptr) duckdb_.duckdb_disconnect(&connection_);
  if (database_ != nullptr) duckdb_.duckdb_close(&database_);
}

Result<void> Session::execute(const std::string& sql) {
  FS_TRY(rows(sql));
  return {};
}

Result<std::vector<std::vector<std::string>>> Session::rows(const std::string& sql) {
  duckdb_result result;
  std::vector<std::vector<std::string>> all;
  if (duckdb_.duckdb_query(connection_, sql.c_str(), &result) == DuckDBError) {
    Error error = error_from_duckdb(duckdb_.duckdb_result_error(&result), ErrorKind::Unavailable);
    duckdb_.duckdb_destroy_result(&result);
    return fail(std::move(error));
  }
  const JsonColumns columns(duckdb_, result);
  while (duckdb_data_chunk chunk = duckdb_.duckdb_fetch_chunk(result)) {
    for (idx_t row = 0; row < duckdb_.duckdb_data_chunk_get_size(chunk); ++row) {
      std::vector<std::string>& values = all.emplace_back(columns.count());
      for (std::size_t column = 0; column < columns.count(); ++column) {
        columns.append_value(chunk, column, row, values[column]);
      }
    }
    duckdb_.duckdb_destroy_data_chunk(&chunk);
  }
  duckdb_.duckdb_destroy_result(&result);
  return all;
}

std::string sql_quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') quoted += '\'';
    quoted += c;
  }
  return quoted + '\'';
}

Error error_from_duckdb(const char* text, ErrorKind otherwise) {
  const std::string_view what = text == nullptr ? "unknown failure" : text;
  const bool memory = what.starts_with("Out of Memory");
  return Error(memory ? ErrorKind::ResourceExhausted : otherwise, std::string(what));
}

}  // namespace flagstream::lake
