#include "lake/delta_table.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "base/id.h"
#include "io/crash_point.h"
#include "lake/duckdb_json.h"

namespace flagstream::lake {
namespace {

constexpr std::string_view kLogFolder = "/_delta_log";
constexpr std::string_view kDataPrefix = "part-";
constexpr std::size_t kTimeDigits = 20;
constexpr std::int64_t kStatusCommits = 128;

// What of a checkpoint is read: other writers add columns, and leave some of these out.
constexpr std::array kActionColumns = {"txn", "add", "remove", "metaData", "protocol"};

constexpr std::string_view kCheckpointColumns =
    "{txn: 'STRUCT(\"appId\" VARCHAR, version BIGINT, \"lastUpdated\" BIGINT)',"
    " add: 'STRUCT(path VARCHAR, \"partitionValues\" MAP(VARCHAR, VARCHAR), size BIGINT, "
    "\"modificationTime\" BIGINT,"
    " \"dataChange\" BOOLEAN, stats VARCHAR, tags MAP(VARCHAR, VARCHAR))',"
    " remove: 'STRUCT(path VARCHAR, \"deletionTimestamp\" BIGINT, \"dataChange\" BOOLEAN)',"
    " \"metaData\": 'STRUCT(id VARCHAR, name VARCHAR, description VARCHAR, format STRUCT(provider "
    "VARCHAR, options"
    " MAP(VARCHAR, VARCHAR)), \"schemaString\" VARCHAR, \"partitionColumns\" VARCHAR[], "
    "configuration MAP(VARCHAR,"
    " VARCHAR), \"createdTime\" BIGINT)',"
    " protocol: 'STRUCT(\"minReaderVersion\" INTEGER, \"minWriterVersion\" INTEGER)'}";

Result<void> read_checkpoint(Session& duckdb, const std::string& path, TableState& state) {
  FS_TRY(auto described, duckdb.rows("SELECT name FROM parquet_schema(" + sql_quoted(path) + ")"));
  for (const char* column : kActionColumns) {
    const std::string quoted_name = fmt::format("\"{}\"", column);
    const bool present =
        std::ranges::any_of(described, [&](const auto& row) { return row[0] == quoted_name; });
    if (!present) continue;
    FS_TRY(auto rows,
           duckdb.rows(fmt::format("SELECT {} FROM read_parquet({}) WHERE {} IS NOT NULL",
                                   quoted_name, sql_quoted(path), quoted_name)));
    for (const auto& row : rows) {
      FS_TRY(apply_action(fmt::format("{{{}:{}}}", quoted_name, row[0]), state));
    }
  }
  return {};
}

Result<void> write_new_file(io::FileSystem& files, const std::string& path,
                            std::string_view contents) {
  FS_TRY(auto file, files.open(path, io::OpenMode::CreateNew));
  const std::array parts = {contents};
  FS_TRY(file->write_at(0, parts));
  return file->sync();
}

// nullopt: there is no such commit.
Result<std::optional<std::string>> read_commit(io::FileSystem& files, const std::string& folder,
                                               std::int64_t version) {
  auto lines = files.read_file(fmt::format("{}{}/{}", folder, kLogFolder, commit_name(version)));
  if (!lines && lines.error().kind == ErrorKind::NotFound) return std::nullopt;
  if (!lines) return fail(std::move(lines).error());
  return std::optional(*std::move(lines));
}

// Returns the text of the last one; empty if there were none.
Result<std::string> read_commits_after(io::FileSystem& files, const std::string& folder,
                                       TableState& state) {
  for (std::string last;;) {
    const std::int64_t next = state.version + 1;
    FS_TRY(auto lines, read_commit(files, folder, next));
    if (!lines) return last;
    FS_TRY(apply_commit(*lines, next, state));
    last = *std::move(lines);
  }
}

// The time in `name` = prefix, 20 digits, anything, suffix; -1 for any other name.
MicrosUtc time_in_name(std::string_view name, std::string_view prefix, std::string_view suffix) {
  if (!name.starts_with(prefix) || !name.ends_with(suffix)) return -1;
  name.remove_prefix(prefix.size());
  if (name.size() < kTimeDigits) return -1;
  MicrosUtc time = -1;
  const auto [at, error] = std::from_chars(name.data(), name.data() + kTimeDigits, time);
  return error == std::errc() && at == name.data() + kTimeDigits ? time : -1;
}

// The table's folder, its log's, and their names in the folders above, all durable.
Result<void> make_durable_folders(io::FileSystem& files, const std::string& folder) {
  FS_TRY(files.make_folder(folder + std::string(kLogFolder)));
  FS_TRY(files.sync_folder(folder));
  const std::size_t slash = folder.rfind('/');
  return files.sync_folder(
      slash == std::string::npos ? "." : folder.substr(0, std::max<std::size_t>(slash, 1)));
}

std::string temporary_name(MicrosUtc now, std::string_view id) {
  return fmt::format(".{:0{}}-{}.tmp", now, kTimeDigits, id);
}

}  // namespace

Result<TableState> read_table(io::FileSystem& files, Session& duckdb, const std::string& folder) {
  TableState state;
  const std::string log = folder + std::string(kLogFolder);
  auto names = files.list(log);
  if (!names && names.error().kind == ErrorKind::NotFound) return state;
  if (!names) return fail(std::move(names).error());
  std::int64_t checkpoint = -1;
  std::int64_t last = -1;
  for (const std::string& name : *names) {
    checkpoint = std::max(checkpoint, version_of_checkpoint(name));
    last = std::max(last, version_of_commit(name));
  }
  if (checkpoint >= 0) {
    FS_TRY(read_checkpoint(duckdb, log + "/" + checkpoint_name(checkpoint), state));
    state.version = state.checkpoint = checkpoint;
  }
  FS_TRY(read_commits_after(files, folder, state));
  if (state.version < last) {
    return fail(ErrorKind::DataLoss,
                fmt::format("{}: version {} is missing", folder, state.version + 1));
  }
  return state;
}

Result<TableStatus> read_status(io::FileSystem& files, const std::string& folder,
                                const TableStatus& last) {
  TableState state;
  if (last.version >= 0) {
    FS_TRY(const auto newest, read_commit(files, folder, last.version));
    // Not the table that was looked at before.
    if (newest != last.last_commit) return read_status(files, folder, {});
    state.version = last.version;
    state.committed_at = last.committed_at;
    state.marks = last.marks;
  } else {
    auto names = files.list(folder + std::string(kLogFolder));
    if (!names && names.error().kind == ErrorKind::NotFound) return TableStatus{};
    if (!names) return fail(std::move(names).error());
    std::int64_t first = -1;
    std::int64_t newest = -1;
    for (const std::string& name : *names) {
      const std::int64_t version = version_of_commit(name);
      if (version < 0) continue;
      if (first < 0) first = version;
      newest = std::max(newest, version);
    }
    if (newest < 0) return TableStatus{};  // somebody is just making it
    state.version = std::max(first, newest - kStatusCommits + 1) - 1;
  }
  FS_TRY(std::string newer, read_commits_after(files, folder, state));
  return TableStatus{.version = state.version,
                     .committed_at = state.committed_at,
                     .marks = std::move(state.marks),
                     .last_commit = newer.empty() ? last.last_commit : newer};
}

Result<DeltaTable> DeltaTable::open(io::FileSystem& files, Session& duckdb, const Clock& clock,
                                    std::string folder, const std::string& metadata) {
  DeltaTable table(files, duckdb, clock, std::move(folder));
  FS_TRY(make_durable_folders(files, table.folder_));
  FS_TRY(table.state_, read_table(files, duckdb, table.folder_));
  if (table.state_.version < 0) {
    Commit commit;
    commit.timestamp = clock.now() / kMicrosPerMilli;
    commit.operation = "CREATE TABLE";
    commit.id = Id128::random().to_hex();
    commit.metadata = metadata;
    // Lost: somebody else has just made it, and state_ is theirs.
    FS_TRY(table.publish(commit));
  }
  return table;
}

Result<DeltaTable::Published> DeltaTable::publish(const Commit& commit) {
  FS_CRASH_POINT("lake.before_commit");
  const std::int64_t version = state_.version + 1;
  const std::string lines = encode_commit(commit);
  const std::string temporary = log_path(temporary_name(clock_->now(), commit.id));
  FS_TRY(write_new_file(*files_, temporary, lines));
  auto linked = files_->link(temporary, log_path(commit_name(version)));
  FS_CRASH_POINT("lake.after_link");
  const bool taken = !linked && linked.error().kind == ErrorKind::Conflict;
  if (!linked && !taken) return fail(std::move(linked).error().in("publish a commit"));
  FS_TRY(files_->sync_folder(folder_ + std::string(kLogFolder)));
  FS_CRASH_POINT("lake.after_commit");
  FS_TRY(files_->remove(temporary));
  if (taken) {
    FS_TRY(refresh());
    return Published::Lost;
  }
  FS_TRY(apply_commit(lines, version, state_));
  return Published::Yes;
}

Result<void> DeltaTable::refresh() {
  FS_TRY(read_commits_after(*files_, folder_, state_));
  return {};
}

Result<void> DeltaTable::write_checkpoint() {
  const std::string id = Id128::random().to_hex();
  const std::string lines = log_path(temporary_name(clock_->now(), id + ".json"));
  const std::string parquet = log_path(temporary_name(clock_->now(), id + ".parquet"));
  FS_TRY(write_new_file(*files_, lines, encode_state(state_)));
  FS_TRY(duckdb_->execute(
      fmt::format("COPY (SELECT * FROM read_json({}, format = 'newline_delimited', "
                  "maximum_object_size = 67108864, columns = {})) "
                  "TO {} (FORMAT parquet, COMPRESSION zstd)",
                  sql_quoted(lines), kCheckpointColumns, sql_quoted(parquet))));
  FS_CRASH_POINT("lake.checkpoint.before_rename");
  {
    FS_TRY(auto file, files_->open(parquet, io::OpenMode::ReadWrite));
    FS_TRY(file->sync());
  }
  FS_TRY(files_->rename(parquet, log_path(checkpoint_name(state_.version))));
  FS_TRY(files_->remove(lines));
  FS_TRY(files_->sync_folder(folder_ + std::string(kLogFolder)));
  state_.checkpoint = state_.version;
  FS_CRASH_POINT("lake.checkpoint.after_rename");
  return files_->replace_file(
      log_path("_last_checkpoint"),
      fmt::format(R"({{"version":{},"size":{}}})", state_.version, action_count(state_)));
}

Result<std::size_t> DeltaTable::remove_orphans(std::int64_t age_micros) {
  std::size_t count = 0;
  const MicrosUtc newest = clock_->now() - age_micros;
  FS_TRY(auto log_names, files_->list(folder_ + std::string(kLogFolder)));
  for (const std::string& name : log_names) {
    const MicrosUtc made = time_in_name(name, ".", ".tmp");
    if (made < 0 || made > newest) continue;
    FS_TRY(files_->remove(log_path(name)));
    ++count;
  }
  FS_TRY(auto folders, files_->list(folder_));
  for (const std::string& partition : folders) {
    if (!partition.starts_with("date=")) continue;
    FS_TRY(auto names, files_->list(folder_ + "/" + partition));
    for (const std::string& name : names) {
      const std::string path = partition + "/" + name;
      const MicrosUtc made = time_of_data_file(name);
      if (made < 0 || made > newest || state_.files.contains(path) || state_.removed.contains(path))
        continue;
      FS_TRY(files_->remove(folder_ + "/" + path));
      ++count;
    }
  }
  return count;
}

std::string data_file_name(MicrosUtc now) {
  return fmt::format("{}{:0{}}-{}.parquet", kDataPrefix, now, kTimeDigits,
                     Id128::random().to_hex());
}

MicrosUtc time_of_data_file(std::string_view name) {
  return time_in_name(name, kDataPrefix, ".parquet");
}

}  // namespace flagstream::lake
