#include "lake/delta_state.h"

#include <charconv>

#include <fmt/format.h>

#include "json/json.h"
#include "lake/duckdb_json.h"

namespace flagstream::lake {
namespace {

constexpr int kReaderVersion = 1;
constexpr int kWriterVersion = 2;
constexpr std::size_t kVersionDigits = 20;
constexpr std::string_view kCommitSuffix = ".json";
constexpr std::string_view kCheckpointSuffix = ".checkpoint.parquet";

std::string quoted(std::string_view text) {
  std::string out;
  json::append_quoted(out, text);
  return out;
}

std::string add_line(const AddFile& file, bool data_change) {
  std::string values;
  for (const auto& [name, value] : file.partition_values) {
    values += fmt::format("{}{}:{}", values.empty() ? "" : ",", quoted(name), quoted(value));
  }
  return fmt::format(
      R"({{"add":{{"path":{},"partitionValues":{{{}}},"size":{},"modificationTime":{},"dataChange":{},"stats":{}}}}})"
      "\n",
      quoted(url_encoded(file.path)), values, file.size, file.modification_time, data_change,
      quoted(file.stats));
}

std::string mark_line(const TransactionMark& mark) {
  return fmt::format(R"({{"txn":{{"appId":{},"version":{},"lastUpdated":{}}}}})"
                     "\n",
                     quoted(mark.app_id), mark.version, mark.last_updated);
}

std::string protocol_line() {
  return fmt::format(R"({{"protocol":{{"minReaderVersion":{},"minWriterVersion":{}}}}})"
                     "\n",
                     kReaderVersion, kWriterVersion);
}

std::string text_of(const json::Object& object, std::string_view name) {
  const json::Value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::int64_t integer_of(const json::Object& object, std::string_view name) {
  const json::Value* value = object.if_contains(name);
  return value != nullptr && value->is_int64() ? value->get_int64() : 0;
}

Result<void> fold_protocol(const json::Object& protocol, TableState& state) {
  state.reader_version = static_cast<int>(integer_of(protocol, "minReaderVersion"));
  state.writer_version = static_cast<int>(integer_of(protocol, "minWriterVersion"));
  if (state.reader_version > kReaderVersion || state.writer_version > kWriterVersion) {
    return fail(
        ErrorKind::InvalidArgument,
        fmt::format("the table needs Delta reader {} and writer {}; this program has {} and {}",
                    state.reader_version, state.writer_version, kReaderVersion, kWriterVersion));
  }
  return {};
}

void fold_add(const json::Object& add, TableState& state) {
  AddFile file;
  file.path = url_decoded(text_of(add, "path"));
  file.size = integer_of(add, "size");
  file.modification_time = integer_of(add, "modificationTime");
  file.stats = text_of(add, "stats");
  if (const json::Value* values = add.if_contains("partitionValues");
      values != nullptr && values->is_object()) {
    for (const auto& [name, value] : values->get_object()) {
      if (value.is_string())
        file.partition_values[std::string(name)] = std::string(value.get_string());
    }
  }
  state.removed.erase(file.path);
  std::string path = file.path;
  state.files.insert_or_assign(std::move(path), std::move(file));
}

void fold_remove(const json::Object& remove, TableState& state) {
  const std::string path = url_decoded(text_of(remove, "path"));
  state.files.erase(path);
  state.removed[path] = integer_of(remove, "deletionTimestamp");
}

void fold_mark(const json::Object& txn, TableState& state) {
  TransactionMark mark{text_of(txn, "appId"), integer_of(txn, "version"),
                       integer_of(txn, "lastUpdated")};
  std::string app_id = mark.app_id;
  state.marks.insert_or_assign(std::move(app_id), std::move(mark));
}

Result<void> fold(const json::Object& action, TableState& state) {
  for (const auto& [name, value] : action) {
    if (!value.is_object()) continue;
    const json::Object& object = value.get_object();
    if (name == "add") {
      fold_add(object, state);
    } else if (name == "remove") {
      fold_remove(object, state);
    } else if (name == "txn") {
      fold_mark(object, state);
    } else if (name == "metaData") {
      state.metadata = json::serialize(value);
      state.schema = text_of(object, "schemaString");
    } else if (name == "protocol") {
      FS_TRY(fold_protocol(object, state));
    } else if (name == "commitInfo" && object.contains("timestamp")) {
      state.committed_at = integer_of(object, "timestamp");
    }
  }
  return {};
}

std::int64_t version_in(std::string_view name, std::string_view suffix) {
  if (name.size() != kVersionDigits + suffix.size() || !name.ends_with(suffix)) return -1;
  std::int64_t version = -1;
  const char* end = name.data() + kVersionDigits;
  const auto [at, error] = std::from_chars(name.data(), end, version);
  return error == std::errc() && at == end ? version : -1;
}

}  // namespace

std::string encode_commit(const Commit& commit) {
  std::string lines = fmt::format(
      R"({{"commitInfo":{{"timestamp":{},"operation":{},"operationParameters":{{}},"isBlindAppend":true,)"
      R"("engineInfo":"Flagstream","txnId":{}}}}})"
      "\n",
      commit.timestamp, quoted(commit.operation), quoted(commit.id));
  if (!commit.metadata.empty()) {
    lines += protocol_line();
    lines += fmt::format(R"({{"metaData":{}}})"
                         "\n",
                         commit.metadata);
  }
  for (const TransactionMark& mark : commit.marks) lines += mark_line(mark);
  for (const AddFile& file : commit.files) lines += add_line(file, true);
  return lines;
}

Result<void> apply_action(std::string_view json_text, TableState& state) {
  auto parsed = json::parse(json_text);
  if (!parsed || !parsed->is_object())
    return fail(ErrorKind::DataLoss, "an action is not a JSON object");
  return fold(parsed->get_object(), state);
}

Result<void> apply_commit(std::string_view lines, std::int64_t version, TableState& state) {
  while (!lines.empty()) {
    const std::size_t end = lines.find('\n');
    const std::string_view line = lines.substr(0, end);
    if (!line.empty()) {
      if (auto applied = apply_action(line, state); !applied) {
        return fail(std::move(applied).error().in(commit_name(version)));
      }
    }
    lines = end == std::string_view::npos ? std::string_view() : lines.substr(end + 1);
  }
  state.version = version;
  return {};
}

std::string encode_state(const TableState& state) {
  std::string lines = protocol_line();
  lines += fmt::format(R"({{"metaData":{}}})"
                       "\n",
                       state.metadata);
  for (const auto& [app_id, mark] : state.marks) lines += mark_line(mark);
  for (const auto& [path, deleted] : state.removed) {
    lines += fmt::format(R"({{"remove":{{"path":{},"deletionTimestamp":{},"dataChange":false}}}})"
                         "\n",
                         quoted(url_encoded(path)), deleted);
  }
  for (const auto& [path, file] : state.files) lines += add_line(file, false);
  return lines;
}

std::size_t action_count(const TableState& state) {
  return 2 + state.marks.size() + state.removed.size() + state.files.size();
}

std::string url_encoded(std::string_view path) {
  constexpr std::string_view kPlain = "-._~/=";
  std::string out;
  for (const char c : path) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (letter || kPlain.find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string url_decoded(std::string_view path) {
  std::string out;
  for (std::size_t i = 0; i < path.size(); ++i) {
    unsigned value = 0;
    if (path[i] == '%' && i + 2 < path.size()) {
      const auto [at, error] = std::from_chars(path.data() + i + 1, path.data() + i + 3, value, 16);
      if (error == std::errc() && at == path.data() + i + 3) {
        out += static_cast<char>(value);
        i += 2;
        continue;
      }
    }
    out += path[i];
  }
  return out;
}

std::string commit_name(std::int64_t version) { return fmt::format("{:020}.json", version); }
std::string checkpoint_name(std::int64_t version) {
  return fmt::format("{:020}.checkpoint.parquet", version);
}
std::int64_t version_of_commit(std::string_view name) { return version_in(name, kCommitSuffix); }
std::int64_t version_of_checkpoint(std::string_view name) {
  return version_in(name, kCheckpointSuffix);
}

}  // namespace flagstream::lake
