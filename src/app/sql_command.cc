#include "app/sql_command.h"

#include <algorithm>
#include <charconv>
#include <ostream>
#include <span>
#include <vector>

#include <fmt/format.h>

#include "app/config.h"
#include "json/json.h"
#include "lake/sql_query.h"

namespace flagstream::app {
namespace {

constexpr std::size_t kCellWidthMax = 60;

struct Cell {
  std::string text;
  std::size_t width = 0;  // code points
  bool is_number = false;
};

bool begins_code_point(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }

// U+0000 to U+001F and U+007F to U+009F: what terminals take as commands.
bool is_control(std::string_view text, std::size_t at) {
  const auto c = static_cast<unsigned char>(text[at]);
  if (c < 0x20 || c == 0x7f) return true;
  return c == 0xc2 && at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) < 0xa0;
}

Cell text_cell(std::string_view text) {
  Cell cell;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (begins_code_point(text[at]) && cell.width >= kCellWidthMax) {
      cell.text += "…";
      ++cell.width;
      break;
    }
    if (is_control(text, at)) {
      const bool is_wide = text[at] == '\xc2';
      const auto code = static_cast<unsigned char>(is_wide ? text[++at] : text[at]);
      cell.text += fmt::format("\\u{:04x}", code);
      cell.width += 6;
    } else {
      cell.text += text[at];
      if (begins_code_point(text[at])) ++cell.width;
    }
  }
  return cell;
}

Cell value_cell(const json::Value& value) {
  Cell cell = value.is_string() ? text_cell(std::string_view(value.get_string()))
              : value.is_null() ? text_cell("NULL")
                                : text_cell(json::serialize(value));
  cell.is_number = value.is_number();
  return cell;
}

void append_line(const std::vector<Cell>& cells, const std::vector<std::size_t>& widths,
                 std::string& out) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const std::string padding(widths[i] - cells[i].width, ' ');
    if (i > 0) line += "  ";
    line += cells[i].is_number ? padding + cells[i].text : cells[i].text + padding;
  }
  line.resize(line.find_last_not_of(' ') + 1);
  out += line + '\n';
}

Result<lake::SqlSettings> settings_of(const SqlOptions& options) {
  lake::SqlSettings settings;
  settings.folder = options.lake_folder + "/events";
  const char* end = options.rows_max.data() + options.rows_max.size();
  const auto [at, error] = std::from_chars(options.rows_max.data(), end, settings.rows_max);
  if (error != std::errc() || at != end) {
    return fail(ErrorKind::InvalidArgument,
                "--rows-max " + options.rows_max + ": needs a number of rows");
  }
  auto bytes = parse_bytes(options.bytes_max);
  if (!bytes) return fail(std::move(bytes).error().in("--bytes-max " + options.bytes_max));
  settings.bytes_max = *bytes;
  auto timeout = parse_duration(options.timeout);
  if (!timeout) return fail(std::move(timeout).error().in("--timeout " + options.timeout));
  settings.deadline = std::chrono::duration_cast<std::chrono::milliseconds>(*timeout);
  return settings;
}

}  // namespace

Result<std::string> sql_table(const std::string& result) {
  FS_TRY(const json::Value value, json::parse(result));
  const json::Object& object = value.get_object();
  const json::Array& rows = *json::array_member(object, "rows");
  std::vector<std::vector<Cell>> table(1);
  for (const json::Value& column : *json::array_member(object, "columns")) {
    table[0].push_back(text_cell(json::text_member(column.get_object(), "name")));
  }
  for (const json::Value& row : rows) {
    std::vector<Cell>& cells = table.emplace_back();
    for (const json::Value& each : row.get_array()) cells.push_back(value_cell(each));
  }
  std::vector<std::size_t> widths(table[0].size());
  for (const std::vector<Cell>& cells : table) {
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], cells[i].width);
  }
  std::string out;
  append_line(table[0], widths, out);
  std::vector<Cell> rule;
  rule.reserve(widths.size());
  for (const std::size_t width : widths) rule.push_back({std::string(width, '-'), width, false});
  append_line(rule, widths, out);
  for (const std::vector<Cell>& cells : std::span(table).subspan(1))
    append_line(cells, widths, out);
  const bool is_truncated = object.at("truncated").as_bool();
  out += fmt::format("({} {}{})\n", rows.size(), rows.size() == 1 ? "row" : "rows",
                     is_truncated ? ", and more: see --rows-max and --bytes-max" : "");
  return out;
}

int sql(const SqlOptions& options, std::ostream& out, std::ostream& err) {
  const auto settings = settings_of(options);
  if (!settings) {
    err << "flagstream sql: " << settings.error().what << '\n';
    return kExitUsage;
  }
  auto result = lake::query(*settings, options.query);
  if (result && options.output != "json") result = sql_table(*result);
  if (!result) {
    err << "flagstream sql: " << result.error().what << '\n';
    return kExitFailed;
  }
  out << *result;
  if (options.output == "json") out << '\n';
  return kExitDone;
}

}  // namespace flagstream::app
