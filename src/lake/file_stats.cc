#include "lake/file_stats.h"

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

#include "json/json.h"
#include "lake/duckdb_json.h"

namespace flagstream::lake {
namespace {

// Longer texts would only make the log larger.
constexpr std::size_t kTextBytesMax = 64;

constexpr std::array<std::string_view, 9> kBounded = {
    "received_at", "time",          "environment_id", "kind",      "key",
    "count",       "source_offset", "partition",      "generation"};

// The bound as JSON text of the column's Delta type; empty if there is none.
std::string bound_of(const ColumnDefinition& column, std::optional<std::int64_t> number,
                     const std::optional<std::string>& text, Rounding rounding) {
  std::string out;
  if (text && text->size() <= kTextBytesMax) json::append_quoted(out, *text);
  if (!number) return out;
  if (column.delta_type != "timestamp") return std::to_string(*number);
  if (const std::string time = delta_timestamp(*number, rounding); !time.empty())
    json::append_quoted(out, time);
  return out;
}

void add_member(std::string_view name, std::string_view value, std::string& out) {
  if (value.empty()) return;
  if (!out.empty()) out += ',';
  json::append_quoted(out, name);
  out += ':';
  out += value;
}

}  // namespace

bool has_bounds(std::string_view column) {
  return std::ranges::find(kBounded, column) != kBounded.end();
}

void FileStats::add(const ColumnDefinition& column, const ColumnStats& stats) {
  add_member(column.name, std::to_string(stats.nulls), nulls_);
  if (!has_bounds(column.name)) return;
  add_member(column.name, bound_of(column, stats.lowest, stats.lowest_text, Rounding::Down),
             lowest_);
  add_member(column.name, bound_of(column, stats.highest, stats.highest_text, Rounding::Up),
             highest_);
}

std::string FileStats::to_json() const {
  return fmt::format(
      R"({{"numRecords":{},"minValues":{{{}}},"maxValues":{{{}}},"nullCount":{{{}}}}})", rows_,
      lowest_, highest_, nulls_);
}

std::string delta_timestamp(std::int64_t micros, Rounding rounding) {
  if (micros < 0) return {};
  const std::int64_t millis =
      (micros + (rounding == Rounding::Up ? kMicrosPerMilli - 1 : 0)) / kMicrosPerMilli;
  const std::int64_t seconds = millis / 1000;
  return fmt::format("{}T{:02}:{:02}:{:02}.{:03}Z",
                     date_of_day(static_cast<std::int32_t>(seconds / 86'400)), seconds / 3600 % 24,
                     seconds / 60 % 60, seconds % 60, millis % 1000);
}

}  // namespace flagstream::lake
