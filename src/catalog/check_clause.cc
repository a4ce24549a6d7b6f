// Each refusal stands for a case in which official SDKs of two languages give the same context
// different variations, or refuse the flag.
#include "catalog/check_clause.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include <re2/re2.h>

namespace flagstream::catalog {
namespace {

constexpr std::int64_t kDateMax = 9'200'000'000'000;  // ms: beyond 2261 Go's nanoseconds overflow
constexpr std::int64_t kRegexMemoryMax = 1 << 20;
constexpr std::size_t kRegexBytesMax = 1'000;

std::unexpected<Error> invalid(std::string what) {
  return fail(ErrorKind::InvalidArgument, std::move(what));
}

// ---- numbers

bool is_exact(const json::Value& value) {
  switch (value.kind()) {
    case boost::json::kind::int64:
      return value.get_int64() >= -kWholeMax && value.get_int64() <= kWholeMax;
    case boost::json::kind::uint64:
      return value.get_uint64() <= static_cast<std::uint64_t>(kWholeMax);
    case boost::json::kind::array:
      return std::all_of(value.get_array().begin(), value.get_array().end(), is_exact);
    case boost::json::kind::object:
      return std::all_of(value.get_object().begin(), value.get_object().end(),
                         [](const auto& member) { return is_exact(member.value()); });
    case boost::json::kind::null:
    case boost::json::kind::bool_:
    case boost::json::kind::double_:
    case boost::json::kind::string:
      return true;
  }
  return true;
}

// ---- values of clauses

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Takes `count` digits off the front and returns their number, or -1.
int take_digits(std::string_view& text, std::size_t count) {
  if (text.size() < count) return -1;
  int number = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (!is_digit(text[i])) return -1;
    number = number * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return number;
}

bool take(std::string_view& text, char wanted) {
  if (!text.starts_with(wanted)) return false;
  text.remove_prefix(1);
  return true;
}

bool take_number(std::string_view& text, std::size_t digits, int least, int most) {
  const int number = take_digits(text, digits);
  return number >= least && number <= most;
}

// RFC 3339 as every SDK reads it: capitals, two-digit hours, no finer than milliseconds, a zone.
bool is_date(std::string_view text) {
  if (!take_number(text, 4, 0, 9999) || !take(text, '-') || !take_number(text, 2, 1, 12) ||
      !take(text, '-') || !take_number(text, 2, 1, 31) || !take(text, 'T') ||
      !take_number(text, 2, 0, 23) || !take(text, ':') || !take_number(text, 2, 0, 59) ||
      !take(text, ':') || !take_number(text, 2, 0, 59))
    return false;
  if (take(text, '.')) {
    std::size_t digits = 0;
    while (!text.empty() && is_digit(text.front())) text.remove_prefix(1), ++digits;
    if (digits < 1 || digits > 3) return false;
  }
  if (text == "Z") return true;
  if (!take(text, '+') && !take(text, '-')) return false;
  return take_number(text, 2, 0, 23) && take(text, ':') && take_number(text, 2, 0, 59) &&
         text.empty();
}

bool is_semver_number(std::string_view text) {
  return !text.empty() && text.size() <= 9 && std::all_of(text.begin(), text.end(), is_digit) &&
         (text.size() == 1 || text.front() != '0');
}

std::string_view take_until(std::string_view& text, std::string_view ends) {
  const std::string_view front = text.substr(0, text.find_first_of(ends));
  text.remove_prefix(front.size());
  return front;
}

// Dot-separated [0-9A-Za-z-]+; of a prerelease, numbers without leading zeros.
bool is_semver_tail(std::string_view text, bool is_prerelease) {
  for (;;) {
    const std::string_view part = take_until(text, ".");
    const bool is_plain = !part.empty() && std::all_of(part.begin(), part.end(), [](char c) {
      return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
    });
    if (!is_plain) return false;
    const bool is_number = std::all_of(part.begin(), part.end(), is_digit);
    if (is_prerelease && is_number && !is_semver_number(part)) return false;
    if (!take(text, '.')) return text.empty();
  }
}

// N[.N[.N]][-prerelease][+build]
bool is_semver(std::string_view text) {
  for (int parts = 1;; ++parts) {
    if (!is_semver_number(take_until(text, ".-+"))) return false;
    if (parts == 3 || !take(text, '.')) break;
  }
  if (take(text, '-') && !is_semver_tail(take_until(text, "+"), true)) return false;
  if (take(text, '+')) return is_semver_tail(text, false);
  return text.empty();
}

// What RE2 understands and JavaScript does not, or not alike, where the pattern has it; empty:
// nothing.
std::string_view only_in_re2(std::string_view pattern) {
  constexpr std::string_view kEscapes = "QEAzpPCa";
  constexpr std::array<std::string_view, 7> kGroups = {"(?P", "(?i", "(?s", "(?m",
                                                       "(?U", "(?-", "[[:"};
  for (std::size_t at = 0; at < pattern.size(); ++at) {
    if (pattern[at] == '\\') {
      if (at + 1 < pattern.size() && kEscapes.find(pattern[at + 1]) != std::string_view::npos) {
        return pattern.substr(at, 2);
      }
      ++at;
      continue;
    }
    for (const std::string_view group : kGroups) {
      if (pattern.substr(at).starts_with(group)) return group;
    }
  }
  return {};
}

// Every engine must read it alike: RE2 has no look-around and no back-references.
Result<void> check_regex(const std::string& pattern) {
  if (pattern.size() > kRegexBytesMax) {
    return invalid("a regular expression has at most " + std::to_string(kRegexBytesMax) + " bytes");
  }
  if (const std::string_view found = only_in_re2(pattern); !found.empty()) {
    return invalid("the regular expression uses " + std::string(found) +
                   ", which not every SDK knows");
  }
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kRegexMemoryMax);
  const RE2 compiled(pattern, options);
  if (compiled.ok()) return {};
  return invalid("not every SDK can read the regular expression: " + compiled.error());
}

enum class ValueType { Scalar, Text, Regex, Number, Date, SemVer };

struct Operator {
  std::string_view name;
  ValueType takes;
};

constexpr std::array kOperators = {
    Operator{"in", ValueType::Scalar},
    Operator{"startsWith", ValueType::Text},
    Operator{"endsWith", ValueType::Text},
    Operator{"contains", ValueType::Text},
    Operator{"segmentMatch", ValueType::Text},
    Operator{"matches", ValueType::Regex},
    Operator{"lessThan", ValueType::Number},
    Operator{"lessThanOrEqual", ValueType::Number},
    Operator{"greaterThan", ValueType::Number},
    Operator{"greaterThanOrEqual", ValueType::Number},
    Operator{"before", ValueType::Date},
    Operator{"after", ValueType::Date},
    Operator{"semVerEqual", ValueType::SemVer},
    Operator{"semVerLessThan", ValueType::SemVer},
    Operator{"semVerGreaterThan", ValueType::SemVer},
};

Result<void> check_clause_value(ValueType type, const json::Value& value) {
  const json::String* text = value.if_string();
  switch (type) {
    case ValueType::Scalar:
      if (text != nullptr || value.is_number() || value.is_bool()) return {};
      return invalid("values must be strings, numbers, true or false");
    case ValueType::Text:
      if (text != nullptr) return {};
      return invalid("values must be strings");
    case ValueType::Regex:
      if (text == nullptr) return invalid("values must be regular expressions");
      return check_regex(std::string(*text));
    case ValueType::Number:
      if (value.is_number()) return {};
      return invalid("values must be numbers");
    case ValueType::Date:
      if (value.is_int64() && value.get_int64() >= -kDateMax && value.get_int64() <= kDateMax)
        return {};
      if (text != nullptr && is_date(*text)) return {};
      return invalid("values must be whole milliseconds or dates like 2026-01-31T23:59:59Z");
    case ValueType::SemVer:
      if (text != nullptr && is_semver(*text)) return {};
      return invalid("values must be semantic versions like 1.2.3");
  }
  return {};
}

// ---- references and kinds

bool is_context_kind(std::string_view kind) {
  return !kind.empty() && kind != "kind" && kind != "multi" &&
         std::all_of(kind.begin(), kind.end(), [](char c) {
           return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
                  c == '_' || c == '-';
         });
}

// A literal name, or a path of non-empty components with ~0 and ~1 as its only escapes.  Some SDKs
// look for // and ~ in names too, leave a component alone that begins with an escape, take /kind
// for all kinds of a context, and refuse _meta.
bool is_attribute_reference(std::string_view text) {
  if (text.empty() || text.back() == '~' || text.find("//") != std::string_view::npos) return false;
  if (text.front() != '/') return text != "_meta";
  if (text.back() == '/' || text.find("/~") != std::string_view::npos) return false;
  if (text == "/kind" || text == "/_meta" || text.starts_with("/_meta/")) return false;
  for (std::size_t at = text.find('~'); at != std::string_view::npos; at = text.find('~', at + 1)) {
    if (text[at + 1] != '0' && text[at + 1] != '1') return false;
  }
  return true;
}

}  // namespace

Result<json::Value> exact_value(const std::string& text, const std::string& what) {
  auto value = json::parse(text);
  if (!value) return fail(std::move(value).error().in(what));
  if (!is_exact(*value)) {
    return invalid(what + " holds an integer beyond 2^53, which SDKs read differently");
  }
  return value;
}

Result<void> check_kind(std::string_view kind) {
  if (is_context_kind(kind)) return {};
  return invalid("\"" + std::string(kind) + "\" is no context kind");
}

Result<void> check_reference(std::string_view reference) {
  if (is_attribute_reference(reference)) return {};
  return invalid("\"" + std::string(reference) + "\" is no attribute");
}

Result<void> check_clause(const Clause& clause) {
  const auto found = std::find_if(kOperators.begin(), kOperators.end(),
                                  [&](const Operator& each) { return each.name == clause.op; });
  if (found == kOperators.end()) return invalid("there is no operator \"" + clause.op + "\"");
  if (clause.op != "segmentMatch") FS_TRY(check_reference(clause.attribute));
  FS_TRY(check_kind(clause.context_kind));
  for (const std::string& each : clause.values_json) {
    FS_TRY(const json::Value value, exact_value(each, "a value"));
    FS_TRY(check_clause_value(found->takes, value));
  }
  return {};
}

}  // namespace flagstream::catalog
