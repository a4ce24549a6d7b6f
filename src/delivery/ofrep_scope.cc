#include "delivery/ofrep_scope.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "delivery/visibility.h"

namespace flagstream::delivery {
namespace {

using environment::CredentialKind;
using environment::FlagSet;
using flags::Evaluator;
using flags::Flag;

bool asks_for_segments(const Flag& flag) {
  return std::ranges::any_of(flag.rules, [](const flags::Rule& rule) {
    return std::ranges::any_of(rule.clauses, [](const flags::Clause& clause) {
      return clause.op == flags::Operator::SegmentMatch;
    });
  });
}

// The visible flags with everything that they require.
std::set<const Flag*> deciding_flags(const Evaluator& evaluator, CredentialKind kind) {
  std::set<const Flag*> all;
  std::vector<const Flag*> open;
  for (const Flag& flag : evaluator.flags()) {
    if (is_visible(flag, kind)) open.push_back(&flag);
  }
  while (!open.empty()) {
    const Flag* flag = open.back();
    open.pop_back();
    if (!all.insert(flag).second) continue;
    for (const flags::Prerequisite& each : flag->prerequisites) {
      if (each.flag != nullptr) open.push_back(each.flag);
    }
  }
  return all;
}

void add_digest(std::string& digests, const environment::FlagSetItem& item) {
  if (item.json != nullptr) digests += xxh3_128(*item.json).to_hex();
}

std::string tag_of(const FlagSet& set, const Evaluator& evaluator, CredentialKind kind) {
  const std::set<const Flag*> deciding = deciding_flags(evaluator, kind);
  std::set<std::string_view> keys;  // in an order that is the same in every process
  for (const Flag* flag : deciding) keys.insert(flag->key);
  std::string digests;
  for (const std::string_view key : keys) {
    const auto found = set.flags.find(key);
    if (found != set.flags.end()) add_digest(digests, found->second);
  }
  if (std::ranges::any_of(deciding, [](const Flag* flag) { return asks_for_segments(*flag); })) {
    for (const auto& [key, item] : set.segments) add_digest(digests, item);
  }
  return xxh3_128(digests).to_hex();
}

}  // namespace

std::string ScopeTags::get(CredentialKind kind, const Flags& flags) {
  if (kind == CredentialKind::SdkKey) return flags->fingerprint;
  const auto tags = made_.get(flags, [&](const FlagSet& set) {
    auto made = std::make_shared<Tags>();
    if (const auto evaluator = evaluators_.get(flags)) {
      made->mobile = tag_of(set, *evaluator, CredentialKind::MobileKey);
      made->client_side = tag_of(set, *evaluator, CredentialKind::ClientSideId);
    }
    return std::shared_ptr<const Tags>(std::move(made));
  });
  return kind == CredentialKind::MobileKey ? tags->mobile : tags->client_side;
}

}  // namespace flagstream::delivery
