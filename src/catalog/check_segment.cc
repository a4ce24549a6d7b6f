// check_for_publication() of a segment.
#include <algorithm>
#include <map>
#include <set>

#include "catalog/check_clause.h"
#include "catalog/segment.h"
#include "environment/config_record.h"

namespace flagstream::catalog {
namespace {

std::unexpected<Error> invalid(std::string what) {
  return fail(ErrorKind::InvalidArgument, std::move(what));
}

// Whether who matches this clause has a context of that kind for certain.
bool requires_kind(const Clause& clause, const std::string& kind) {
  if (clause.op == "segmentMatch") return false;
  if (clause.attribute != "kind") return clause.context_kind == kind;
  return clause.op == "in" && !clause.negate &&
         clause.values_json == std::vector<std::string>{json::quoted(kind)};
}

Result<void> check_rule(const SegmentRule& rule) {
  for (const Clause& each : rule.clauses) {
    auto checked = check_clause(each);
    if (!checked) return fail(std::move(checked).error().in("clause of " + each.attribute));
  }
  if (!rule.weight) return {};
  FS_TRY(check_kind(rule.rollout_context_kind));
  if (!rule.bucket_by.empty()) FS_TRY(check_reference(rule.bucket_by));
  if (rule.bucket_by == "kind") return invalid("contexts cannot be put in buckets by their kind");
  // Without such a context some SDKs count it into the rollout and others out of it.
  const bool has_kind = std::any_of(
      rule.clauses.begin(), rule.clauses.end(),
      [&](const Clause& each) { return requires_kind(each, rule.rollout_context_kind); });
  if (has_kind) return {};
  return invalid("a rule with a weight needs a clause about the kind " + rule.rollout_context_kind +
                 ", by which it is divided");
}

using Graph = std::map<std::string, std::vector<std::string>>;

bool reaches(const Graph& graph, const std::string& from, const std::string& wanted,
             std::set<std::string>& seen) {
  if (!seen.insert(from).second) return false;
  const auto found = graph.find(from);
  if (found == graph.end()) return false;
  return std::any_of(found->second.begin(), found->second.end(), [&](const std::string& next) {
    return next == wanted || reaches(graph, next, wanted, seen);
  });
}

std::vector<std::string> named_by(const Segment& segment) {
  std::vector<std::string> all;
  for (const SegmentRule& rule : segment.rules) {
    for (std::string& each : segments_in(rule.clauses)) all.push_back(std::move(each));
  }
  return all;
}

}  // namespace

std::vector<std::string> segments_in(const std::vector<Clause>& clauses) {
  std::vector<std::string> keys;
  for (const Clause& clause : clauses) {
    if (clause.op != "segmentMatch") continue;
    for (const std::string& text : clause.values_json) {
      const auto value = json::parse(text);
      if (value && value->is_string()) keys.emplace_back(value->get_string());
    }
  }
  return keys;
}

Result<void> check_for_publication(const Segment& segment, std::span<const Segment> others) {
  for (const SegmentRule& each : segment.rules) FS_TRY(check_rule(each));
  for (const auto* lists : {&segment.included_contexts, &segment.excluded_contexts}) {
    for (const ContextList& each : *lists) FS_TRY(check_kind(each.context_kind));
  }
  FS_TRY(check_kind(segment.unbounded_context_kind));
  Graph graph;
  for (const Segment& each : others) graph[each.key] = named_by(each);
  graph[segment.key] = named_by(segment);
  std::set<std::string> seen;
  if (reaches(graph, segment.key, segment.key, seen))
    return invalid("a segment cannot contain itself, not even through others");
  if (sdk_segment(segment).size() > environment::kConfigDocumentBytesMax) {
    return invalid("with this change the segment would be larger than " +
                   std::to_string(environment::kConfigDocumentBytesMax >> 20) +
                   " MiB; a big segment (unbounded) has no such limit");
  }
  return {};
}

}  // namespace flagstream::catalog
