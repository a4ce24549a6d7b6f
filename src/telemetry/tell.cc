#include "telemetry/tell.h"

#include <atomic>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/clock.h"
#include "json/json.h"

namespace flagstream::telemetry {
namespace {

std::atomic<Level> least_level{Level::Info};
std::string& role_name() {
  static std::string name;
  return name;
}

std::string_view name_of(Level level) {
  switch (level) {
    case Level::Debug:
      return "debug";
    case Level::Info:
      return "info";
    case Level::Warn:
      return "warn";
    case Level::Error:
      return "error";
  }
  return "";
}

void append_value(std::string& out, const Field::Value& value) {
  if (const auto* text = std::get_if<std::string_view>(&value))
    json::append_quoted(out, *text);
  else if (const auto* i = std::get_if<std::int64_t>(&value))
    fmt::format_to(std::back_inserter(out), "{}", *i);
  else if (const auto* u = std::get_if<std::uint64_t>(&value))
    fmt::format_to(std::back_inserter(out), "{}", *u);
  else if (const auto* d = std::get_if<double>(&value))
    fmt::format_to(std::back_inserter(out), "{:.6g}", *d);
  else
    out += std::get<bool>(value) ? "true" : "false";
}

}  // namespace

void configure(Level least, std::string_view role) {
  least_level = least;
  role_name() = role;
}

void set_level(Level least) { least_level = least; }

bool is_enabled(Level level) { return level >= least_level.load(std::memory_order_relaxed); }

std::string format_line(Level level, std::string_view message,
                        std::initializer_list<Field> fields) {
  std::string out = "\"level\":\"";
  out += name_of(level);
  out += "\",\"msg\":";
  json::append_quoted(out, message);
  if (!role_name().empty()) {
    out += ",\"role\":";
    json::append_quoted(out, role_name());
  }
  for (const Field& field : fields) {
    out += ',';
    json::append_quoted(out, field.name);
    out += ':';
    append_value(out, field.value);
  }
  return out;
}

void tell(Level level, std::string_view message, std::initializer_list<Field> fields) {
  if (!is_enabled(level)) return;
  const MicrosUtc now = SystemClock().now();
  const std::string line = fmt::format("{{\"ts\":\"{:%Y-%m-%dT%H:%M:%S}.{:06}Z\",{}}}\n",
                                       fmt::gmtime(now / kMicrosPerSecond), now % kMicrosPerSecond,
                                       format_line(level, message, fields));
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace flagstream::telemetry
