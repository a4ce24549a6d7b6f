#include "flags/model.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "flags/shape.h"

namespace flagstream::flags {
namespace {

constexpr double kWeightOfAll = 100'000;
constexpr double kExactBelow = 9'007'199'254'740'992;  // 2^53

std::string_view own_key(const Node& node, std::string_view key) {
  const std::string_view own = member(node, "key").text;
  return own.empty() ? key : own;
}

Name kind_or_user(std::string_view kind) { return Name(kind.empty() ? kUserKind : kind); }

// A missing index is the first, as in SDKs that read into structures.
std::int64_t index_or_first(const Node& object) {
  const Node* index = find(object, "variation");
  return index == nullptr || index->type == NodeType::Null ? 0 : index_of(*index);
}

std::optional<std::int64_t> whole_number(const Node& node) {
  if (node.type != NodeType::Number || !(std::abs(node.number) < kExactBelow)) return std::nullopt;
  return static_cast<std::int64_t>(node.number);
}

KeySet key_set(const Node& array) {
  std::vector<std::string_view> keys;
  for (const Node& each : Elements(array)) keys.push_back(each.text);
  return KeySet(std::move(keys));
}

Target read_target(const Node& node) {
  return {.context_kind = kind_or_user(member(node, "contextKind").text),
          .keys = key_set(member(node, "values")),
          .variation = index_or_first(node)};
}

// The order of contextTargets counts.  An entry there for users without keys stands for the entry
// of `targets` with its variation.
std::vector<Target> read_targets(const Node& flag) {
  std::vector<Target> of_users;
  for (const Node& each : Elements(member(flag, "targets"))) of_users.push_back(read_target(each));
  std::vector<Target> all;
  for (const Node& each : Elements(member(flag, "contextTargets"))) {
    Target target = read_target(each);
    if (target.context_kind.text == kUserKind && target.keys.is_empty()) {
      const auto meant = std::ranges::find(of_users, target.variation, &Target::variation);
      if (meant == of_users.end()) continue;
      target = *meant;
    }
    all.push_back(std::move(target));
  }
  return member(flag, "contextTargets").span > 1 ? all : of_users;
}

std::vector<Clause> read_clauses(const Node& rule) {
  std::vector<Clause> clauses;
  for (const Node& each : Elements(member(rule, "clauses"))) clauses.push_back(read_clause(each));
  return clauses;
}

Outcome read_outcome(const Node& node, std::string_view key, std::string_view salt) {
  const Node& variation = member(node, "variation");
  if (variation.type == NodeType::Number) return index_of(variation);
  const Node& rollout = member(node, "rollout");
  if (rollout.type == NodeType::Object) return read_rollout(rollout, key, salt);
  return {};
}

void read_properties(Flag& flag, const Node& node) {
  flag.version = whole_number(member(node, "version")).value_or(0);
  flag.tracks_events = member(node, "trackEvents").boolean;
  flag.tracks_fallthrough_events = member(node, "trackEventsFallthrough").boolean;
  flag.debug_events_until = whole_number(member(node, "debugEventsUntilDate"));
  const Node& availability = member(node, "clientSideAvailability");
  if (availability.type == NodeType::Object) {
    flag.is_for_mobile = member(availability, "usingMobileKey").boolean;
    flag.is_for_client_side_id = member(availability, "usingEnvironmentId").boolean;
  } else {
    // The schema before clientSideAvailability, where mobile applications got every flag.
    flag.is_for_mobile = true;
    flag.is_for_client_side_id = member(node, "clientSide").boolean;
  }
}

std::vector<SegmentTarget> read_segment_targets(const Node& array) {
  std::vector<SegmentTarget> targets;
  for (const Node& each : Elements(array)) {
    targets.push_back({.context_kind = kind_or_user(member(each, "contextKind").text),
                       .keys = key_set(member(each, "values"))});
  }
  return targets;
}

SegmentRule read_segment_rule(const Node& node, std::string_view key, std::string_view salt) {
  SegmentRule rule{.clauses = read_clauses(node),
                   .limit = {},
                   .bucketing = Bucketing({.context_kind = member(node, "rolloutContextKind").text,
                                           .by = member(node, "bucketBy").text,
                                           .key = key,
                                           .salt = salt,
                                           .seed = {}})};
  const Node& weight = member(node, "weight");
  if (weight.type == NodeType::Number) rule.limit = bucket_limit(weight.number / kWeightOfAll);
  return rule;
}

}  // namespace

Flag read_flag(std::string_view key, const Node& node) {
  Flag flag;
  flag.key = own_key(node, key);
  flag.problem = flag_problem(node);
  read_properties(flag, node);
  if (!flag.problem.empty()) return flag;
  flag.is_on = member(node, "on").boolean;
  for (const Node& each : Elements(member(node, "prerequisites"))) {
    flag.prerequisites.push_back(
        {.key = member(each, "key").text, .variation = index_or_first(each), .flag = nullptr});
  }
  flag.targets = read_targets(node);
  const std::string_view salt = member(node, "salt").text;
  for (const Node& each : Elements(member(node, "rules"))) {
    flag.rules.push_back({.id = member(each, "id").text,
                          .clauses = read_clauses(each),
                          .outcome = read_outcome(each, flag.key, salt),
                          .tracks_events = member(each, "trackEvents").boolean});
  }
  flag.fallthrough = read_outcome(member(node, "fallthrough"), flag.key, salt);
  const Node& off_variation = member(node, "offVariation");
  if (off_variation.type == NodeType::Number) flag.off_variation = index_of(off_variation);
  for (const Node& each : Elements(member(node, "variations")))
    flag.variations.push_back(one_line(each));
  return flag;
}

Segment read_segment(std::string_view key, const Node& node) {
  Segment segment;
  segment.key = own_key(node, key);
  segment.problem = segment_problem(node);
  if (!segment.problem.empty()) return segment;
  segment.included = key_set(member(node, "included"));
  segment.excluded = key_set(member(node, "excluded"));
  segment.included_contexts = read_segment_targets(member(node, "includedContexts"));
  segment.excluded_contexts = read_segment_targets(member(node, "excludedContexts"));
  const std::string_view salt = member(node, "salt").text;
  for (const Node& each : Elements(member(node, "rules")))
    segment.rules.push_back(read_segment_rule(each, segment.key, salt));
  segment.is_unbounded = member(node, "unbounded").boolean;
  segment.unbounded_context_kind = kind_or_user(member(node, "unboundedContextKind").text);
  if (const auto generation = whole_number(member(node, "generation")))
    segment.big_segment_reference = fmt::format("{}.g{}", segment.key, *generation);
  return segment;
}

}  // namespace flagstream::flags
