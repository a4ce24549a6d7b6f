#include "lake/sql_request.h"

#include <fmt/format.h>

#include "json/json.h"

namespace flagstream::lake {
namespace {

constexpr std::string_view kKinds = "abcdefghij";  // 'a' + ErrorKind
static_assert(static_cast<std::size_t>(ErrorKind::Indeterminate) + 1 == kKinds.size());

}  // namespace

std::string encode_request(const SqlSettings& settings, std::string_view sql) {
  return fmt::format(
      R"({{"folder":{},"library":{},"rowsMax":{},"bytesMax":{},"deadlineMs":{},"memory":{},"threads":{},"sql":{}}})",
      json::quoted(settings.folder), json::quoted(settings.duckdb_library), settings.rows_max,
      settings.bytes_max, settings.deadline.count(), settings.memory_bytes_max, settings.threads,
      json::quoted(sql));
}

Result<SqlRequest> decode_request(std::string_view text) {
  FS_TRY(const json::Value value, json::parse(text));
  if (!value.is_object()) return fail(ErrorKind::InvalidArgument, "the request is no object");
  const json::Object& object = value.get_object();
  const auto number = [&](std::string_view name) -> std::int64_t {
    const json::Value* member = object.if_contains(name);
    return member != nullptr && member->is_int64() ? member->get_int64() : 0;
  };
  SqlRequest request;
  request.settings.folder = json::text_member(object, "folder");
  request.settings.duckdb_library = json::text_member(object, "library");
  request.settings.rows_max = static_cast<std::uint64_t>(number("rowsMax"));
  request.settings.bytes_max = static_cast<std::uint64_t>(number("bytesMax"));
  request.settings.deadline = std::chrono::milliseconds(number("deadlineMs"));
  request.settings.memory_bytes_max = static_cast<std::uint64_t>(number("memory"));
  request.settings.threads = static_cast<std::uint32_t>(number("threads"));
  request.sql = json::text_member(object, "sql");
  return request;
}

std::string encode_answer(const Result<std::string>& answer) {
  if (answer) return '+' + *answer + '\n';
  const char kind = kKinds[static_cast<std::size_t>(answer.error().kind)];
  return std::string("-") + kind + answer.error().what + '\n';
}

std::optional<Result<std::string>> decode_answer(std::string_view text) {
  if (text.size() < 2 || text.back() != '\n') return std::nullopt;
  text.remove_suffix(1);
  if (text[0] == '+') return Result<std::string>(text.substr(1));
  if (text[0] != '-' || text.size() < 2) return std::nullopt;
  const std::size_t kind = kKinds.find(text[1]);
  if (kind == std::string_view::npos) return std::nullopt;
  return Result<std::string>(fail(static_cast<ErrorKind>(kind), std::string(text.substr(2))));
}

}  // namespace flagstream::lake
