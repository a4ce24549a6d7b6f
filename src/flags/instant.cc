#include "flags/instant.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace flagstream::flags {
namespace {

constexpr double kMillisecondsMax = 1e18;
constexpr std::size_t kFractionDigitsMax = 9;

// Takes what is read off the front of its text; any failure stays.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  // A number of exactly so many digits.
  int digits(std::size_t count) {
    int value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (!at_digit()) {
        has_failed_ = true;
        return 0;
      }
      value = value * 10 + (text_.front() - '0');
      text_.remove_prefix(1);
    }
    return value;
  }
  bool at_digit() const { return !text_.empty() && text_.front() >= '0' && text_.front() <= '9'; }
  bool take(char c) {
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  void need(char c) { has_failed_ |= !take(c); }
  bool is_done() const { return !has_failed_ && text_.empty(); }

 private:
  std::string_view text_;
  bool has_failed_ = false;
};

// As nanoseconds; -1: no digit, or too many.
std::int32_t fraction(Scanner& in) {
  std::int32_t nanoseconds = 0;
  std::size_t count = 0;
  for (; in.at_digit(); ++count) {
    if (count == kFractionDigitsMax) return -1;
    nanoseconds = nanoseconds * 10 + in.digits(1);
  }
  if (count == 0) return -1;
  for (; count < kFractionDigitsMax; ++count) nanoseconds *= 10;
  return nanoseconds;
}

}  // namespace

Instant Instant::from_unix_ms(double milliseconds) {
  const auto whole =
      static_cast<std::int64_t>(std::clamp(milliseconds, -kMillisecondsMax, kMillisecondsMax));
  const std::int64_t rest = ((whole % 1000) + 1000) % 1000;
  return {(whole - rest) / 1000, static_cast<std::int32_t>(rest * 1'000'000)};
}

std::optional<Instant> Instant::parse(std::string_view text) {
  Scanner in(text);
  const int year = in.digits(4);
  in.need('-');
  const int month = in.digits(2);
  in.need('-');
  const int day = in.digits(2);
  in.need('T');
  const int hour = in.digits(2);
  in.need(':');
  const int minute = in.digits(2);
  in.need(':');
  const int second = in.digits(2);
  const std::int32_t nanoseconds = in.take('.') ? fraction(in) : 0;
  int offset_minutes = 0;
  if (!in.take('Z')) {
    const int sign = in.take('-') ? -1 : 1;
    if (sign == 1) in.need('+');
    const int offset_hour = in.digits(2);
    in.need(':');
    const int offset_minute = in.digits(2);
    if (offset_hour > 23 || offset_minute > 59) return std::nullopt;
    offset_minutes = sign * (offset_hour * 60 + offset_minute);
  }
  if (!in.is_done() || nanoseconds < 0) return std::nullopt;
  if (month < 1 || month > 12 || day < 1 || day > 31) return std::nullopt;
  if (hour > 23 || minute > 59 || second > 59) return std::nullopt;
  // As in SDKs, a day that its month lacks is one of the next month.
  const std::chrono::year_month_day first{std::chrono::year(year),
                                          std::chrono::month(static_cast<unsigned>(month)),
                                          std::chrono::day(1)};
  const std::int64_t days = std::chrono::sys_days(first).time_since_epoch().count() + day - 1;
  return Instant{days * 86'400 + hour * 3'600 + (minute - offset_minutes) * 60 + second,
                 nanoseconds};
}

}  // namespace flagstream::flags
