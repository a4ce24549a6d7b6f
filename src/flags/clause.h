// One condition of a rule: an attribute, an operator, and the values to compare with.
#pragma once

#include <memory>
#include <string_view>
#include <variant>
#include <vector>

#include "flags/attribute_reference.h"
#include "flags/context.h"
#include "flags/document.h"
#include "flags/instant.h"
#include "flags/key_set.h"
#include "flags/semver.h"

namespace re2 {
class RE2;
}

namespace flagstream::flags {

enum class Operator {
  In,
  StartsWith,
  EndsWith,
  Contains,
  Matches,
  LessThan,
  LessThanOrEqual,
  GreaterThan,
  GreaterThanOrEqual,
  Before,
  After,
  SemVerEqual,
  SemVerLessThan,
  SemVerGreaterThan,
  SegmentMatch,
  Unknown,  // no value matches
};

// What a clause compares with.  Values that the operator can never match are not among them.
struct EqualValues {
  KeySet strings;
  std::vector<double> numbers;
  bool has_true = false;
  bool has_false = false;
};
using Texts = std::vector<std::string_view>;  // also the keys of segments
using Numbers = std::vector<double>;
using Patterns = std::vector<std::shared_ptr<const re2::RE2>>;
using Instants = std::vector<Instant>;
using Versions = std::vector<SemVer>;

// Error: the flag is malformed.
enum class Match { No, Yes, Error };

// Does not own the characters of its values.  Immutable; thread-safe.
struct Clause {
  Operator op = Operator::Unknown;
  bool is_negated = false;
  bool tests_kind = false;  // compares the names of the context's kinds instead of an attribute
  Name context_kind;        // user where none was written
  AttributeReference attribute;
  std::variant<std::monostate, EqualValues, Texts, Numbers, Patterns, Instants, Versions> values;
  std::vector<std::size_t> segments;  // of SegmentMatch: indexes, filled in by the evaluator

  // Anything but SegmentMatch.  Does not allocate, except what RE2 needs.
  Match match(const Context& context) const {
    // What nearly every rule asks, without a call: whether a text is one of some values.
    const auto* equal = std::get_if<EqualValues>(&values);
    if (equal == nullptr || tests_kind || !attribute.is_valid()) return match_any(context);
    const IndividualContext* individual = context.find(context_kind);
    const Node* value = individual == nullptr ? nullptr : individual->lookup(attribute);
    if (value == nullptr || value->type != NodeType::String) return match_any(context);
    return negated(equal->strings.contains(value->text));
  }

 private:
  Match match_any(const Context& context) const;
  bool matches_value(const Node& value) const;
  Match negated(bool is_match) const { return is_match != is_negated ? Match::Yes : Match::No; }
};

// `node` is an object whose members have the types they should have.
Clause read_clause(const Node& node);

}  // namespace flagstream::flags
