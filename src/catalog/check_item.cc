// check_for_publication() of a flag.
#include <cstdint>
#include <set>

#include "catalog/check_clause.h"
#include "catalog/items.h"
#include "environment/config_record.h"
#include "json/json.h"

namespace flagstream::catalog {
namespace {

std::unexpected<Error> invalid(std::string what) {
  return fail(ErrorKind::InvalidArgument, std::move(what));
}

Result<void> check_variation(const Flag& flag, int variation) {
  if (variation >= 0 && static_cast<std::size_t>(variation) < flag.variations.size()) return {};
  return invalid("the flag has no variation " + std::to_string(variation));
}

Result<void> check_serve(const Flag& flag, const Serve& serve) {
  if (const int* variation = std::get_if<int>(&serve)) return check_variation(flag, *variation);
  const Rollout& rollout = std::get<Rollout>(serve);
  std::int64_t total = 0;
  for (const WeightedVariation& each : rollout.variations) {
    FS_TRY(check_variation(flag, each.variation));
    if (each.weight < 0) return invalid("a weight must not be negative");
    total += each.weight;
  }
  // What is missing, the last entry gets; what is empty, no SDK can serve.
  if (total != kWeightsTotal) return invalid("weights must add up to 100000");
  FS_TRY(check_kind(rollout.context_kind));
  if (!rollout.bucket_by.empty()) FS_TRY(check_reference(rollout.bucket_by));
  if (rollout.bucket_by == "kind")
    return invalid("contexts cannot be put in buckets by their kind");
  if (rollout.seed && (*rollout.seed < 1 || *rollout.seed > kWholeMax)) {
    return invalid("a seed must be at least 1");
  }
  return {};
}

Result<void> check_targets(const Flag& flag, const FlagConfig& config) {
  for (const Target& each : config.targets) {
    FS_TRY(check_variation(flag, each.variation));
    if (each.context_kind != "user") return invalid("targets are for users only");
  }
  for (const Target& each : config.context_targets) {
    FS_TRY(check_variation(flag, each.variation));
    FS_TRY(check_kind(each.context_kind));
    if (each.context_kind == "user" && !each.values.empty()) {
      return invalid("keys of users belong into targets");
    }
  }
  return {};
}

Result<void> check_rules(const Flag& flag, const FlagConfig& config) {
  std::set<std::string_view> ids;
  for (const Rule& rule : config.rules) {
    if (!ids.insert(rule.id).second) return invalid("two rules have the id \"" + rule.id + "\"");
    for (const Clause& clause : rule.clauses) {
      auto checked = check_clause(clause);
      if (!checked) return fail(std::move(checked).error().in("clause of " + clause.attribute));
    }
    FS_TRY(check_serve(flag, rule.serve));
  }
  return {};
}

}  // namespace

Result<void> check_for_publication(const Flag& flag, const FlagConfig& config, const Item& item) {
  for (const Variation& each : flag.variations) FS_TRY(exact_value(each.value_json, "a variation"));
  FS_TRY(check_targets(flag, config));
  FS_TRY(check_rules(flag, config));
  FS_TRY(check_serve(flag, config.fallthrough));
  if (config.off_variation) FS_TRY(check_variation(flag, *config.off_variation));
  for (const Prerequisite& each : config.prerequisites) {
    if (each.key == flag.key) return invalid("a flag cannot be its own prerequisite");
  }
  if (item.document.size() > environment::kConfigDocumentBytesMax) {
    return invalid("with this change the flag would be larger than " +
                   std::to_string(environment::kConfigDocumentBytesMax >> 20) + " MiB");
  }
  return {};
}

}  // namespace flagstream::catalog
