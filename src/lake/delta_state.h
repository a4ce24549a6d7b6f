// The actions of a Delta Lake transaction log (protocol reader 1, writer 2) and the table state
// they fold to.
//
// A commit is one file of JSON lines, one action a line.  Which actions this module writes, and
// what it expects from other writers, is in docs/formats/lake.md.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace flagstream::lake {

struct AddFile {
  std::string path;                                     // relative to the table, not URL-encoded
  std::map<std::string, std::string> partition_values;  // a null value is left out
  std::int64_t size = 0;                                // bytes
  std::int64_t modification_time = 0;                   // milliseconds UTC
  std::string stats;                                    // JSON text
};

struct TransactionMark {
  std::string app_id;
  std::int64_t version = 0;
  std::int64_t last_updated = 0;  // milliseconds UTC
};

struct TableState {
  std::int64_t version = -1;             // of the last commit; -1: no table
  std::int64_t checkpoint = 0;           // version of the newest checkpoint; 0: none
  std::int64_t committed_at = 0;         // milliseconds UTC, from the last commit that said so
  std::map<std::string, AddFile> files;  // live, by path
  std::map<std::string, std::int64_t> removed;   // tombstones: path -> milliseconds UTC
  std::map<std::string, TransactionMark> marks;  // by application id
  std::string metadata;                          // the `metaData` action's object as JSON text
  std::string schema;                            // its schemaString
  int reader_version = 0;
  int writer_version = 0;
};

struct Commit {
  std::int64_t timestamp = 0;  // milliseconds UTC
  std::string operation;       // "WRITE", "CREATE TABLE"
  std::string id;              // unique; tells whether a commit that was found is this one
  std::string metadata;        // with the first commit only: also writes `protocol`
  std::vector<TransactionMark> marks;
  std::vector<AddFile> files;
};

// The lines of a commit file, commitInfo first.
std::string encode_commit(const Commit& commit);

// Folds one commit file into `state` and makes `version` its version.  DataLoss: not a commit file.
// InvalidArgument: the table needs a newer reader than this one.
Result<void> apply_commit(std::string_view lines, std::int64_t version, TableState& state);

// The state as lines of one action each, for a checkpoint.
std::string encode_state(const TableState& state);
std::size_t action_count(const TableState& state);
// Folds one action, given as JSON text of {"add": {...} or null, ...}, as a checkpoint holds it.
Result<void> apply_action(std::string_view json, TableState& state);

// RFC 3986 path encoding of what Delta stores in `path`.
std::string url_encoded(std::string_view path);
std::string url_decoded(std::string_view path);

// File names in _delta_log.
std::string commit_name(std::int64_t version);
std::string checkpoint_name(std::int64_t version);
// The version in a name made by commit_name() or checkpoint_name(); -1 for any other name.
std::int64_t version_of_commit(std::string_view name);
std::int64_t version_of_checkpoint(std::string_view name);

}  // namespace flagstream::lake
