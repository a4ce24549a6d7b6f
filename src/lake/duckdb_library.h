// DuckDB's C API, loaded at run time: only the roles that write or query the lake carry the
// library.
#pragma once

#include <string>

#include <duckdb.h>

#include "base/error.h"

namespace flagstream::lake {

// The version that duckdb.h and the library must both be of.
inline constexpr const char* kDuckDbVersion = "v1.4.4";

// Every function that this module calls; each becomes a member of DuckDb of the same name and type.
// clang-format off
#define FS_DUCKDB_FUNCTIONS(X) \
  X(duckdb_library_version) \
  X(duckdb_create_config) \
  X(duckdb_set_config) \
  X(duckdb_destroy_config) \
  X(duckdb_open_ext) \
  X(duckdb_close) \
  X(duckdb_connect) \
  X(duckdb_disconnect) \
  X(duckdb_free) \
  X(duckdb_query) \
  X(duckdb_destroy_result) \
  X(duckdb_result_error) \
  X(duckdb_column_count) \
  X(duckdb_column_name) \
  X(duckdb_column_logical_type) \
  X(duckdb_fetch_chunk) \
  X(duckdb_destroy_data_chunk) \
  X(duckdb_data_chunk_get_size) \
  X(duckdb_data_chunk_get_vector) \
  X(duckdb_vector_get_data) \
  X(duckdb_vector_get_validity) \
  X(duckdb_list_vector_get_child) \
  X(duckdb_struct_vector_get_child) \
  X(duckdb_array_vector_get_child) \
  X(duckdb_destroy_logical_type) \
  X(duckdb_get_type_id) \
  X(duckdb_decimal_scale) \
  X(duckdb_decimal_internal_type) \
  X(duckdb_enum_internal_type) \
  X(duckdb_enum_dictionary_value) \
  X(duckdb_list_type_child_type) \
  X(duckdb_array_type_child_type) \
  X(duckdb_array_type_array_size) \
  X(duckdb_map_type_key_type) \
  X(duckdb_map_type_value_type) \
  X(duckdb_struct_type_child_count) \
  X(duckdb_struct_type_child_name) \
  X(duckdb_struct_type_child_type) \
  X(duckdb_extract_statements) \
  X(duckdb_extract_statements_error) \
  X(duckdb_destroy_extracted) \
  X(duckdb_prepare_extracted_statement) \
  X(duckdb_prepare_error) \
  X(duckdb_destroy_prepare) \
  X(duckdb_prepared_statement_type) \
  X(duckdb_nparams) \
  X(duckdb_pending_prepared_streaming) \
  X(duckdb_pending_error) \
  X(duckdb_destroy_pending) \
  X(duckdb_execute_pending)
// clang-format on

struct DuckDb {
#define FS_DUCKDB_MEMBER(function) decltype(&::function) function = nullptr;
  FS_DUCKDB_FUNCTIONS(FS_DUCKDB_MEMBER)
#undef FS_DUCKDB_MEMBER
};

// Loads libduckdb.so once per process and keeps it.  `path` empty: searched for beside the
// executable, in
// ../lib/flagstream, and in the build tree around it (deps/duckdb-1.4.4).  NotFound: there is none;
// InvalidArgument: it is of another version.  Thread-safe.
Result<const DuckDb*> load_duckdb(const std::string& path);

}  // namespace flagstream::lake
