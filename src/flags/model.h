// Flags and segments as they are evaluated: everything that can be known before a context comes is
// worked out.  Immutable once read; none owns the characters of its document.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "flags/clause.h"
#include "flags/document.h"
#include "flags/key_set.h"
#include "flags/rollout.h"

namespace flagstream::flags {

struct Flag;

// Which variation a context gets; neither: the flag is malformed.
using Outcome = std::variant<std::monostate, std::int64_t, Rollout>;

struct Prerequisite {
  std::string_view key;
  std::int64_t variation = 0;
  const Flag* flag = nullptr;  // filled in by the evaluator; null: there is no such flag
};

struct Target {
  Name context_kind;
  KeySet keys;
  std::int64_t variation = 0;
};

struct Rule {
  std::string_view id;
  std::vector<Clause> clauses;
  Outcome outcome;
  bool tracks_events = false;
};

struct Flag {
  std::string_view key;
  std::int64_t version = 0;
  bool is_on = false;
  std::string problem;  // not empty: it cannot be evaluated, and why

  std::vector<Prerequisite> prerequisites;
  std::vector<Target> targets;  // in the order in which they are tried
  std::vector<Rule> rules;
  Outcome fallthrough;
  std::optional<std::int64_t> off_variation;
  std::vector<std::string> variations;  // JSON, as it was written

  // What SDKs and events want to know of it.
  bool is_for_mobile = false;
  bool is_for_client_side_id = false;
  bool tracks_events = false;
  bool tracks_fallthrough_events = false;
  std::optional<std::int64_t> debug_events_until;  // Unix milliseconds
};

// The contexts of one kind that a segment names.
struct SegmentTarget {
  Name context_kind;
  KeySet keys;
};

struct SegmentRule {
  std::vector<Clause> clauses;
  std::optional<std::uint64_t> limit;  // only buckets below it; none: every context
  Bucketing bucketing;                 // used only with a limit
};

struct Segment {
  std::string_view key;
  std::string problem;  // not empty: what consults it cannot be evaluated, and why
  KeySet included;      // users
  KeySet excluded;
  std::vector<SegmentTarget> included_contexts;
  std::vector<SegmentTarget> excluded_contexts;
  std::vector<SegmentRule> rules;
  bool is_unbounded = false;  // its members are in a store of their own, not here
  Name unbounded_context_kind;
  std::string big_segment_reference;  // key.gGENERATION; empty: no generation is known
};

// `key` is used where the item does not hold its own.
Flag read_flag(std::string_view key, const Node& node);
Segment read_segment(std::string_view key, const Node& node);

}  // namespace flagstream::flags
