#include "flags/clause.h"

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <utility>

#include <re2/re2.h>

namespace flagstream::flags {
namespace {

constexpr std::array<std::pair<std::string_view, Operator>, 15> kOperators = {{
    {"in", Operator::In},
    {"startsWith", Operator::StartsWith},
    {"endsWith", Operator::EndsWith},
    {"contains", Operator::Contains},
    {"matches", Operator::Matches},
    {"lessThan", Operator::LessThan},
    {"lessThanOrEqual", Operator::LessThanOrEqual},
    {"greaterThan", Operator::GreaterThan},
    {"greaterThanOrEqual", Operator::GreaterThanOrEqual},
    {"before", Operator::Before},
    {"after", Operator::After},
    {"semVerEqual", Operator::SemVerEqual},
    {"semVerLessThan", Operator::SemVerLessThan},
    {"semVerGreaterThan", Operator::SemVerGreaterThan},
    {"segmentMatch", Operator::SegmentMatch},
}};

constexpr std::int64_t kPatternBytesMax = std::int64_t{1} << 20;  // of one compiled pattern

Operator operator_named(std::string_view name) {
  for (const auto& [each, op] : kOperators) {
    if (each == name) return op;
  }
  return Operator::Unknown;
}

EqualValues equal_values(const Node& values) {
  EqualValues out;
  std::vector<std::string_view> strings;
  for (const Node& each : Elements(values)) {
    switch (each.type) {
      case NodeType::String:
        strings.push_back(each.text);
        break;
      case NodeType::Number:
        out.numbers.push_back(each.number);
        break;
      case NodeType::Bool:
        (each.boolean ? out.has_true : out.has_false) = true;
        break;
      case NodeType::Null:
      case NodeType::Array:
      case NodeType::Object:
        break;  // equal to nothing
    }
  }
  out.strings = KeySet(std::move(strings));
  return out;
}

Texts texts(const Node& values) {
  Texts out;
  for (const Node& each : Elements(values)) {
    if (each.type == NodeType::String) out.push_back(each.text);
  }
  return out;
}

Numbers numbers(const Node& values) {
  Numbers out;
  for (const Node& each : Elements(values)) {
    if (each.type == NodeType::Number) out.push_back(each.number);
  }
  return out;
}

Patterns patterns(const Node& values) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kPatternBytesMax);
  Patterns out;
  for (const std::string_view text : texts(values)) {
    auto pattern =
        std::make_shared<const re2::RE2>(re2::StringPiece(text.data(), text.size()), options);
    if (pattern->ok()) out.push_back(std::move(pattern));
  }
  return out;
}

std::optional<Instant> instant_of(const Node& value) {
  if (value.type == NodeType::Number) return Instant::from_unix_ms(value.number);
  if (value.type == NodeType::String) return Instant::parse(value.text);
  return std::nullopt;
}

Instants instants(const Node& values) {
  Instants out;
  for (const Node& each : Elements(values)) {
    if (const auto instant = instant_of(each)) out.push_back(*instant);
  }
  return out;
}

Versions versions(const Node& values) {
  Versions out;
  for (const std::string_view text : texts(values)) {
    if (const auto version = SemVer::parse(text)) out.push_back(*version);
  }
  return out;
}

void read_values(Clause& clause, const Node& values) {
  switch (clause.op) {
    case Operator::In:
      clause.values = equal_values(values);
      return;
    case Operator::StartsWith:
    case Operator::EndsWith:
    case Operator::Contains:
    case Operator::SegmentMatch:
      clause.values = texts(values);
      return;
    case Operator::Matches:
      clause.values = patterns(values);
      return;
    case Operator::LessThan:
    case Operator::LessThanOrEqual:
    case Operator::GreaterThan:
    case Operator::GreaterThanOrEqual:
      clause.values = numbers(values);
      return;
    case Operator::Before:
    case Operator::After:
      clause.values = instants(values);
      return;
    case Operator::SemVerEqual:
    case Operator::SemVerLessThan:
    case Operator::SemVerGreaterThan:
      clause.values = versions(values);
      return;
    case Operator::Unknown:
      return;
  }
}

bool is_among(const EqualValues& values, const Node& value) {
  switch (value.type) {
    case NodeType::String:
      return values.strings.contains(value.text);
    case NodeType::Number:
      return std::ranges::find(values.numbers, value.number) != values.numbers.end();
    case NodeType::Bool:
      return value.boolean ? values.has_true : values.has_false;
    case NodeType::Null:
    case NodeType::Array:
    case NodeType::Object:
      return false;
  }
  return false;
}

template <class Test>
bool any_text(const Texts& values, const Node& value, Test test) {
  return value.type == NodeType::String &&
         std::ranges::any_of(values, [&](std::string_view each) { return test(value.text, each); });
}

template <class Test>
bool any_number(const Numbers& values, const Node& value, Test test) {
  return value.type == NodeType::Number &&
         std::ranges::any_of(values, [&](double each) { return test(value.number, each); });
}

template <class Test>
bool any_instant(const Instants& values, const Node& value, Test test) {
  const auto instant = instant_of(value);
  return instant &&
         std::ranges::any_of(values, [&](const Instant& each) { return test(*instant, each); });
}

template <class Test>
bool any_version(const Versions& values, const Node& value, Test test) {
  if (value.type != NodeType::String) return false;
  const auto version = SemVer::parse(value.text);
  return version &&
         std::ranges::any_of(values, [&](const SemVer& each) { return test(*version, each); });
}

bool any_pattern(const Patterns& values, const Node& value) {
  return value.type == NodeType::String && std::ranges::any_of(values, [&](const auto& pattern) {
           return re2::RE2::PartialMatch(re2::StringPiece(value.text.data(), value.text.size()),
                                         *pattern);
         });
}

}  // namespace

bool Clause::matches_value(const Node& value) const {
  switch (op) {
    case Operator::In:
      return is_among(std::get<EqualValues>(values), value);
    case Operator::StartsWith:
      return any_text(std::get<Texts>(values), value,
                      [](auto a, auto b) { return a.starts_with(b); });
    case Operator::EndsWith:
      return any_text(std::get<Texts>(values), value,
                      [](auto a, auto b) { return a.ends_with(b); });
    case Operator::Contains:
      return any_text(std::get<Texts>(values), value,
                      [](auto a, auto b) { return a.find(b) != std::string_view::npos; });
    case Operator::Matches:
      return any_pattern(std::get<Patterns>(values), value);
    case Operator::LessThan:
      return any_number(std::get<Numbers>(values), value, std::less());
    case Operator::LessThanOrEqual:
      return any_number(std::get<Numbers>(values), value, std::less_equal());
    case Operator::GreaterThan:
      return any_number(std::get<Numbers>(values), value, std::greater());
    case Operator::GreaterThanOrEqual:
      return any_number(std::get<Numbers>(values), value, std::greater_equal());
    case Operator::Before:
      return any_instant(std::get<Instants>(values), value, std::less());
    case Operator::After:
      return any_instant(std::get<Instants>(values), value, std::greater());
    case Operator::SemVerEqual:
      return any_version(std::get<Versions>(values), value, std::equal_to());
    case Operator::SemVerLessThan:
      return any_version(std::get<Versions>(values), value, std::less());
    case Operator::SemVerGreaterThan:
      return any_version(std::get<Versions>(values), value, std::greater());
    case Operator::SegmentMatch:
    case Operator::Unknown:
      return false;
  }
  return false;
}

Match Clause::match_any(const Context& context) const {
  if (!attribute.is_valid()) return Match::Error;
  if (tests_kind) {
    return negated(std::ranges::any_of(context.individuals(), [this](const auto& each) {
      Node kind;
      kind.type = NodeType::String;
      kind.text = each.kind.text;
      return matches_value(kind);
    }));
  }
  // A negated clause does not match either where there is nothing to compare.
  const IndividualContext* individual = context.find(context_kind);
  if (individual == nullptr) return Match::No;
  const Node* value = individual->lookup(attribute);
  if (value == nullptr) return Match::No;
  if (value->type != NodeType::Array) return negated(matches_value(*value));
  for (const Node& each : Elements(*value)) {
    if (matches_value(each)) return negated(true);
  }
  return negated(false);
}

Clause read_clause(const Node& node) {
  Clause clause;
  clause.op = operator_named(member(node, "op").text);
  clause.is_negated = member(node, "negate").boolean;
  const std::string_view kind = member(node, "contextKind").text;
  clause.context_kind = Name(kind.empty() ? kUserKind : kind);
  const std::string_view attribute = member(node, "attribute").text;
  clause.attribute =
      AttributeReference(attribute, kind.empty() ? ReferenceMode::Literal : ReferenceMode::Path);
  clause.tests_kind = attribute == "kind";
  read_values(clause, member(node, "values"));
  return clause;
}

}  // namespace flagstream::flags
