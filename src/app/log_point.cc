#include "app/log_point.h"

#include <charconv>
#include <chrono>
#include <optional>

#include <fmt/format.h>

#include "app/config.h"

namespace flagstream::app {
namespace {

// Digits of a number of fixed width at the front of `text`, which moves behind them.
std::optional<int> take_number(std::string_view& text, std::size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int value = 0;
  for (const char digit : text.substr(0, digits)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    value = 10 * value + (digit - '0');
  }
  text.remove_prefix(digits);
  return value;
}

bool take_one(std::string_view& text, std::string_view of) {
  if (text.empty() || of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

// Micros of ".25"; the text moves behind it.
std::optional<std::int64_t> take_fraction(std::string_view& text) {
  if (!take_one(text, ".")) return 0;
  std::int64_t micros = 0;
  std::int64_t unit = kMicrosPerSecond / 10;
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  for (; !text.empty() && text.front() >= '0' && text.front() <= '9'; text.remove_prefix(1)) {
    micros += (text.front() - '0') * unit;
    unit /= 10;
  }
  return micros;
}

std::optional<std::int64_t> take_zone(std::string_view& text) {
  if (take_one(text, "Zz")) return 0;
  const bool is_behind = !text.empty() && text.front() == '-';
  if (!take_one(text, "+-")) return std::nullopt;
  const auto hours = take_number(text, 2);
  if (!hours || *hours > 23 || !take_one(text, ":")) return std::nullopt;
  const auto minutes = take_number(text, 2);
  if (!minutes || *minutes > 59) return std::nullopt;
  const std::int64_t micros = *hours * kMicrosPerHour + *minutes * kMicrosPerMinute;
  return is_behind ? -micros : micros;
}

std::optional<MicrosUtc> parse_rfc3339(std::string_view text) {
  const auto year = take_number(text, 4);
  if (!year || !take_one(text, "-")) return std::nullopt;
  const auto month = take_number(text, 2);
  if (!month || !take_one(text, "-")) return std::nullopt;
  const auto day = take_number(text, 2);
  if (!day || !take_one(text, "Tt ")) return std::nullopt;
  const auto hour = take_number(text, 2);
  if (!hour || *hour > 23 || !take_one(text, ":")) return std::nullopt;
  const auto minute = take_number(text, 2);
  if (!minute || *minute > 59 || !take_one(text, ":")) return std::nullopt;
  const auto second = take_number(text, 2);
  if (!second || *second > 60) return std::nullopt;
  const auto fraction = take_fraction(text);
  if (!fraction) return std::nullopt;
  const auto zone = take_zone(text);
  if (!zone || !text.empty()) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * kMicrosPerDay + *hour * kMicrosPerHour + *minute * kMicrosPerMinute +
         *second * kMicrosPerSecond + *fraction - *zone;
}

}  // namespace

Result<MicrosUtc> parse_log_time(std::string_view text, MicrosUtc now) {
  if (const auto time = parse_rfc3339(text)) return *time;
  if (const auto ago = parse_duration(text)) return now - ago->count();
  return fail(ErrorKind::InvalidArgument,
              fmt::format("\"{}\" is no time: give one like 2026-11-25T21:00:00Z, or how long ago, "
                          "like 2h",
                          text));
}

Result<LogPoint> parse_log_point(std::string_view text, MicrosUtc now) {
  if (text == "beginning") return LogPoint{.kind = LogPoint::Kind::Beginning};
  if (text == "end") return LogPoint{.kind = LogPoint::Kind::End};
  LogPoint point{.kind = LogPoint::Kind::Offset};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), point.offset);
  if (error == std::errc() && end == text.data() + text.size()) return point;
  const auto time = parse_log_time(text, now);
  if (!time) {
    return fail(ErrorKind::InvalidArgument,
                fmt::format("\"{}\" is no place in the log: give beginning, end, an offset, a time "
                            "like 2026-11-25T21:00:00Z, or how long ago, like 2h",
                            text));
  }
  return LogPoint{.kind = LogPoint::Kind::Time, .time = *time};
}

std::string to_rfc3339(MicrosUtc time) {
  if (time == 0) return "-";
  const std::chrono::sys_time<std::chrono::microseconds> at{std::chrono::microseconds(time)};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(at - day).count();
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     seconds / 3600, seconds / 60 % 60, seconds % 60);
}

}  // namespace flagstream::app
