#include "transform/decode_number.h"

#include <array>

namespace flagstream::transform {
namespace {

// What was cut off below the last digit kept, against half of that digit's unit.
enum class Tail { None, BelowHalf, Half, AboveHalf };

struct Decimal {
  bool negative = false;
  std::uint64_t digits = 0;   // the first 19 significant digits
  std::int64_t exponent = 0;  // of ten, for the last of them
  Tail tail = Tail::None;
};

constexpr int kDigitsKept = 19;
constexpr std::int64_t kExponentMax = 1'000'000'000;  // beyond it every number is zero or saturated

constexpr auto kPowersOfTen = [] {
  std::array<std::uint64_t, 20> powers{};
  std::uint64_t power = 1;
  for (auto& slot : powers) {
    slot = power;
    power *= 10;
  }
  return powers;
}();

bool is_digit(char c) { return c >= '0' && c <= '9'; }

Tail extended(Tail tail, bool first, int digit) {
  if (first) {
    if (digit == 0) return Tail::None;
    return digit < 5 ? Tail::BelowHalf : digit == 5 ? Tail::Half : Tail::AboveHalf;
  }
  if (digit == 0) return tail;
  if (tail == Tail::None) return Tail::BelowHalf;
  return tail == Tail::Half ? Tail::AboveHalf : tail;
}

class DecimalReader {
 public:
  explicit DecimalReader(std::string_view text) : text_(text) {}

  std::optional<Decimal> read() {
    decimal_.negative = skip('-');
    if (!peek_digit()) return std::nullopt;
    const bool leading_zero = text_[at_] == '0';
    const std::size_t begin = at_;
    while (peek_digit()) take_digit(0);
    if (leading_zero && at_ - begin > 1) return std::nullopt;
    if (skip('.')) {
      if (!peek_digit()) return std::nullopt;
      while (peek_digit()) take_digit(1);
    }
    if (skip('e') || skip('E')) {
      if (!read_exponent()) return std::nullopt;
    }
    if (at_ != text_.size()) return std::nullopt;
    return decimal_;
  }

 private:
  bool peek_digit() const { return at_ < text_.size() && is_digit(text_[at_]); }
  bool skip(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void take_digit(int places_after_point) {
    const int digit = text_[at_++] - '0';
    if (kept_ < kDigitsKept) {
      decimal_.digits = decimal_.digits * 10 + static_cast<unsigned>(digit);
      if (decimal_.digits != 0) ++kept_;
      decimal_.exponent -= places_after_point;
      return;
    }
    decimal_.tail = extended(decimal_.tail, cut_ == 0, digit);
    ++cut_;
    decimal_.exponent += 1 - places_after_point;
  }

  bool read_exponent() {
    const bool negative = skip('-');
    if (!negative) skip('+');
    if (!peek_digit()) return false;
    std::int64_t exponent = 0;
    while (peek_digit()) {
      exponent = exponent * 10 + (text_[at_++] - '0');
      if (exponent > kExponentMax) exponent = kExponentMax;
    }
    decimal_.exponent += negative ? -exponent : exponent;
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int kept_ = 0;
  std::size_t cut_ = 0;
  Decimal decimal_;
};

Tail tail_of(std::uint64_t remainder, std::uint64_t unit, Tail below) {
  if (remainder == 0 && below == Tail::None) return Tail::None;
  const std::uint64_t half = unit / 2;
  if (remainder != half) return remainder < half ? Tail::BelowHalf : Tail::AboveHalf;
  return below == Tail::None ? Tail::Half : Tail::AboveHalf;
}

// The usual number, of few digits and nothing else.  nullopt: it is not such a one.
std::optional<Scaled> scaled_plain(std::string_view text, int scale) {
  constexpr std::size_t kDigitsMax = 18;  // of the scaled number: below kScaledMax
  if (text.empty() || text.size() + static_cast<std::size_t>(scale) > kDigitsMax)
    return std::nullopt;
  if (text[0] == '0' && text.size() > 1) return std::nullopt;
  std::uint64_t digits = 0;
  for (const char c : text) {
    if (!is_digit(c)) return std::nullopt;
    digits = digits * 10 + static_cast<unsigned>(c - '0');
  }
  return Scaled{
      .value = static_cast<std::int64_t>(digits * kPowersOfTen[static_cast<std::size_t>(scale)])};
}

Scaled signed_result(bool negative, std::uint64_t magnitude, bool exact) {
  Scaled scaled{.value = 0, .exact = exact, .saturated = magnitude > kScaledMax};
  if (scaled.saturated) magnitude = kScaledMax;
  scaled.value =
      negative ? -static_cast<std::int64_t>(magnitude) : static_cast<std::int64_t>(magnitude);
  return scaled;
}

}  // namespace

std::optional<Scaled> scaled_number(std::string_view text, int scale) {
  if (const auto scaled = scaled_plain(text, scale)) return scaled;
  const auto decimal = DecimalReader(text).read();
  if (!decimal) return std::nullopt;
  if (decimal->digits == 0) return Scaled{};
  const std::int64_t exponent = decimal->exponent + scale;
  if (exponent > 0) {
    const bool fits =
        exponent < kDigitsKept &&
        decimal->digits <= static_cast<std::uint64_t>(kScaledMax) / kPowersOfTen[exponent];
    const std::uint64_t magnitude =
        fits ? decimal->digits * kPowersOfTen[exponent] : ~std::uint64_t{0};
    return signed_result(decimal->negative, magnitude, decimal->tail == Tail::None);
  }
  if (exponent < -kDigitsKept) return Scaled{.value = 0, .exact = false};
  const std::uint64_t unit = kPowersOfTen[-exponent];
  std::uint64_t magnitude = decimal->digits / unit;
  const Tail tail =
      exponent == 0 ? decimal->tail : tail_of(decimal->digits % unit, unit, decimal->tail);
  if (tail == Tail::AboveHalf || (tail == Tail::Half && magnitude % 2 == 1)) ++magnitude;
  return signed_result(decimal->negative, magnitude, tail == Tail::None);
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  const auto scaled = scaled_number(text, 0);
  if (!scaled || !scaled->exact || scaled->saturated) return std::nullopt;
  return scaled->value;
}

}  // namespace flagstream::transform
