// One Delta table in a folder: reads its transaction log, publishes commits, writes checkpoints.
//
// A commit is published by a hard link, which fails if the version exists: of several writers one
// wins each version.  A crash at any instruction leaves the table at the old or the new version;
// files that no commit names are garbage, which remove_orphans() collects.  Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "io/file_system.h"
#include "lake/delta_state.h"
#include "lake/duckdb_session.h"

namespace flagstream::lake {

// Where a table stood when it was last looked at.  Cheap to ask again.
struct TableStatus {
  std::int64_t version = -1;                     // -1: no table yet
  std::int64_t committed_at = 0;                 // milliseconds UTC
  std::map<std::string, TransactionMark> marks;  // of the commits seen
  std::string last_commit;                       // the whole text of `version`
};

// Reads the whole log of the table in `folder`; version -1 if there is none.  DuckDB reads
// checkpoints.
Result<TableState> read_table(io::FileSystem& files, Session& duckdb, const std::string& folder);

// Looks for commits after `last`; for pages and health checks.  The first time it reads the last
// 128 commits only, so marks that none of them holds are missing.  A table that was deleted, made
// anew or restored from a backup since `last` is looked at as for the first time.
Result<TableStatus> read_status(io::FileSystem& files, const std::string& folder,
                                const TableStatus& last);

class DeltaTable {
 public:
  // Makes the table with `metadata` (a `metaData` object) if the folder holds none.
  static Result<DeltaTable> open(io::FileSystem& files, Session& duckdb, const Clock& clock,
                                 std::string folder, const std::string& metadata);

  const TableState& state() const { return state_; }
  const std::string& folder() const { return folder_; }

  enum class Published {
    Yes,   // the commit is the new version, durably
    Lost,  // another writer took the version: state() is what it wrote; nothing of ours is in it
  };
  // Publishes `commit` as version state().version + 1.  Its files must be durable.  After any error
  // the commit may or may not be there: open the table anew.
  Result<Published> publish(const Commit& commit);

  // Reads commits of other writers.
  Result<void> refresh();
  // A Parquet file of the whole state, so that readers need not read every commit.
  Result<void> write_checkpoint();

  // Removes data files of ours that no version names and that are older than `age` (by the time in
  // their name), and temporary files.  Returns how many.
  Result<std::size_t> remove_orphans(std::int64_t age_micros);

 private:
  DeltaTable(io::FileSystem& files, Session& duckdb, const Clock& clock, std::string folder)
      : files_(&files), duckdb_(&duckdb), clock_(&clock), folder_(std::move(folder)) {}
  std::string log_path(const std::string& name) const { return folder_ + "/_delta_log/" + name; }

  io::FileSystem* files_;
  Session* duckdb_;
  const Clock* clock_;
  std::string folder_;
  TableState state_;
};

// "part-<made at, microseconds, 20 digits>-<32 hex digits>.parquet": unique, and says how old it
// is.
std::string data_file_name(MicrosUtc now);
// The time in such a name; -1 for any other name.
MicrosUtc time_of_data_file(std::string_view name);

}  // namespace flagstream::lake
