#include "flags/semver.h"

#include <algorithm>

namespace flagstream::flags {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_numeric(std::string_view text) { return std::ranges::all_of(text, is_digit); }

bool is_identifier(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
  });
}

bool has_leading_zero(std::string_view digits) { return digits.size() > 1 && digits[0] == '0'; }

// Cuts what is before the first dot off `text`; without a dot everything.
std::string_view take_part(std::string_view& text, bool& is_last) {
  const std::size_t dot = text.find('.');
  is_last = dot == std::string_view::npos;
  const std::string_view part = text.substr(0, dot);
  text.remove_prefix(is_last ? text.size() : dot + 1);
  return part;
}

bool are_identifiers(std::string_view dotted, bool may_have_leading_zeros) {
  for (bool is_last = false; !is_last;) {
    const std::string_view part = take_part(dotted, is_last);
    if (!is_identifier(part)) return false;
    if (!may_have_leading_zeros && is_numeric(part) && has_leading_zero(part)) return false;
  }
  return true;
}

std::weak_ordering compare_numbers(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return a.size() <=> b.size();
  return a <=> b;
}

std::weak_ordering compare_prereleases(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) return a.empty() <=> b.empty();
  for (;;) {
    bool is_last_a = false;
    bool is_last_b = false;
    const std::string_view part_a = take_part(a, is_last_a);
    const std::string_view part_b = take_part(b, is_last_b);
    const bool is_numeric_a = is_numeric(part_a);
    const bool is_numeric_b = is_numeric(part_b);
    if (is_numeric_a != is_numeric_b) return is_numeric_b <=> is_numeric_a;
    const auto order =
        is_numeric_a ? compare_numbers(part_a, part_b) : std::weak_ordering(part_a <=> part_b);
    if (order != 0) return order;
    if (is_last_a || is_last_b) return is_last_b <=> is_last_a;
  }
}

}  // namespace

std::optional<SemVer> SemVer::parse(std::string_view text) {
  const std::size_t plus = text.find('+');
  if (plus != std::string_view::npos && !are_identifiers(text.substr(plus + 1), true))
    return std::nullopt;
  text = text.substr(0, plus);
  SemVer version;
  const std::size_t hyphen = text.find('-');
  if (hyphen != std::string_view::npos) {
    version.prerelease = text.substr(hyphen + 1);
    if (!are_identifiers(version.prerelease, false)) return std::nullopt;
  }
  text = text.substr(0, hyphen);
  bool is_last = false;
  for (std::string_view* part : {&version.major, &version.minor, &version.patch}) {
    *part = take_part(text, is_last);
    if (part->empty() || !is_numeric(*part) || has_leading_zero(*part)) return std::nullopt;
    if (is_last) return version;
  }
  return std::nullopt;
}

std::weak_ordering SemVer::operator<=>(const SemVer& other) const {
  if (const auto order = compare_numbers(major, other.major); order != 0) return order;
  if (const auto order = compare_numbers(minor, other.minor); order != 0) return order;
  if (const auto order = compare_numbers(patch, other.patch); order != 0) return order;
  return compare_prereleases(prerelease, other.prerelease);
}

}  // namespace flagstream::flags
