#include "lake/file_stats.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <optional>

#include <fmt/format.h>

#include "json/json.h"
#include "lake/duckdb_json.h"
#include "lake/event_rows.h"

namespace flagstream::lake {
namespace {

// Order of the columns of RETURN_STATS.
enum StatsColumn : std::size_t {
  kFileName,
  kRowCount,
  kFileSize,
  kFooterSize,
  kColumnStatistics,
  kStatsColumns
};

// Longer texts may be cut in Parquet's statistics, and a cut maximum is not one.
constexpr std::size_t kTextBytesMax = 64;

// What queries filter by; statistics of the rest would only make the log larger.
constexpr std::array<std::string_view, 9> kBounded = {
    "received_at", "time",          "environment_id", "kind",      "key",
    "count",       "source_offset", "partition",      "generation"};

std::optional<std::int64_t> integer_in(std::string_view text) {
  std::int64_t value = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || at != text.data() + text.size()) return std::nullopt;
  return value;
}

// The bound as JSON text of the column's Delta type; empty if it cannot be said exactly.
std::string bound_of(const ColumnDefinition& column, std::string_view text, Rounding rounding) {
  std::string out;
  if (column.delta_type == "string") {
    if (text.size() <= kTextBytesMax) append_json_string(text, out);
  } else if (column.delta_type == "timestamp") {
    if (const std::string time = delta_timestamp(text, rounding); !time.empty())
      append_json_string(time, out);
  } else if (integer_in(text)) {
    out = text;
  }
  return out;
}

std::string_view text_at(const json::Object& object, std::string_view name) {
  const json::Value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string())
                                                : std::string_view();
}

struct Members {
  std::string text;
  void add(std::string_view name, std::string_view value) {
    if (value.empty()) return;
    if (!text.empty()) text += ',';
    append_json_string(name, text);
    text += ':';
    text += value;
  }
};

// "2026-11-24 17:17:38.123456+00" as microseconds since 1970; nullopt for anything else.
std::optional<std::int64_t> micros_in(std::string_view text) {
  constexpr std::size_t kSecondsSize = 19;  // of "2026-11-24 17:17:38"
  if (!text.ends_with("+00") || text.size() < kSecondsSize + 3) return std::nullopt;
  text.remove_suffix(3);
  const auto year = integer_in(text.substr(0, 4));
  const auto month = integer_in(text.substr(5, 2));
  const auto day = integer_in(text.substr(8, 2));
  const auto hour = integer_in(text.substr(11, 2));
  const auto minute = integer_in(text.substr(14, 2));
  const auto second = integer_in(text.substr(17, 2));
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  std::int64_t fraction = 0;
  if (text.size() > kSecondsSize) {
    std::string digits(text.substr(kSecondsSize + 1));
    digits.resize(6, '0');
    const auto parsed = integer_in(digits);
    if (!parsed) return std::nullopt;
    fraction = *parsed;
  }
  const std::chrono::sys_days days = std::chrono::year_month_day{
      std::chrono::year(static_cast<int>(*year)), std::chrono::month(static_cast<unsigned>(*month)),
      std::chrono::day(static_cast<unsigned>(*day))};
  return ((days.time_since_epoch().count() * 24 + *hour) * 60 + *minute) * kMicrosPerMinute +
         *second * kMicrosPerSecond + fraction;
}

}  // namespace

Result<FileStats> read_file_stats(const std::vector<std::vector<std::string>>& rows) {
  if (rows.size() != 1 || rows[0].size() < kStatsColumns) {
    return fail(ErrorKind::Unavailable, "DuckDB returned no statistics of the file it wrote");
  }
  const auto count = integer_in(rows[0][kRowCount]);
  const auto size = integer_in(rows[0][kFileSize]);
  auto columns = json::parse(rows[0][kColumnStatistics]);
  if (!count || !size || !columns || !columns->is_object()) {
    return fail(ErrorKind::Unavailable, "DuckDB's statistics of a file cannot be read");
  }
  Members lowest, highest, nulls;
  for (const ColumnDefinition& column : event_columns()) {
    const json::Value* found =
        columns->get_object().if_contains(fmt::format("\"{}\"", column.name));
    if (found == nullptr || !found->is_object()) continue;
    const json::Object& stats = found->get_object();
    nulls.add(column.name, text_at(stats, "null_count"));
    if (std::ranges::find(kBounded, column.name) == kBounded.end()) continue;
    if (!stats.contains("min") || !stats.contains("max")) continue;
    lowest.add(column.name, bound_of(column, text_at(stats, "min"), Rounding::Down));
    highest.add(column.name, bound_of(column, text_at(stats, "max"), Rounding::Up));
  }
  FileStats stats;
  stats.rows = static_cast<std::uint64_t>(*count);
  stats.size = *size;
  stats.delta_json =
      fmt::format(R"({{"numRecords":{},"minValues":{{{}}},"maxValues":{{{}}},"nullCount":{{{}}}}})",
                  *count, lowest.text, highest.text, nulls.text);
  return stats;
}

std::string delta_timestamp(std::string_view text, Rounding rounding) {
  const auto micros = micros_in(text);
  if (!micros || *micros < 0) return {};
  const std::int64_t millis =
      (*micros + (rounding == Rounding::Up ? kMicrosPerMilli - 1 : 0)) / kMicrosPerMilli;
  const std::int64_t seconds = millis / 1000;
  return fmt::format("{}T{:02}:{:02}:{:02}.{:03}Z",
                     date_of_day(static_cast<std::int32_t>(seconds / 86'400)), seconds / 3600 % 24,
                     seconds / 60 % 60, seconds % 60, millis % 1000);
}

}  // namespace flagstream::lake
