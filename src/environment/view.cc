#include "environment/view.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "environment/config_record.h"
#include "json/json.h"

namespace flagstream::environment {
namespace {

using Items = std::map<std::string, FlagSetItem, std::less<>>;

bool is_flag_or_segment(proto::Item::Kind kind) {
  return kind == proto::Item::FLAG || kind == proto::Item::SEGMENT;
}

void append_items(std::string& out, std::string_view name, const Items& items) {
  out += '"';
  out += name;
  out += "\":{";
  bool is_first = true;
  for (const auto& [key, item] : items) {
    if (item.json == nullptr) continue;
    if (!std::exchange(is_first, false)) out += ',';
    json::append_quoted(out, key);
    out += ':';
    out += *item.json;
  }
  out += '}';
}

// The same text of the set before is used on.
FlagSetItem item_of(const proto::Item& item, const Items* before) {
  FlagSetItem made{.version = item.version(), .json = nullptr, .revision = item.revision()};
  if (item.deleted()) return made;
  if (before != nullptr) {
    const auto found = before->find(item.key());
    if (found != before->end() && found->second.json != nullptr &&
        *found->second.json == item.document()) {
      made.json = found->second.json;
      return made;
    }
  }
  made.json = std::make_shared<const std::string>(item.document());
  return made;
}

void add_environment(FlagSet& set, const proto::Environment& environment) {
  set.client_side_id = environment.client_side_id();
  set.secure_mode = environment.secure_mode();
  set.cache_time = std::chrono::minutes(environment.cache_minutes());
  for (const proto::Credential& each : environment.credentials()) {
    if (each.kind() != proto::Credential::SDK_KEY) continue;
    const bool is_whole = each.hmac_state().size() == kHmacSha256StateBytes;
    set.hash_keys.push_back(
        {.hmac_state = is_whole ? each.hmac_state() : std::string(), .expires = each.expires_us()});
  }
  set.project_key = environment.project_key();
  set.environment_key = environment.key();
  set.environment_name = environment.name();
  set.has_mobile_key = std::ranges::any_of(environment.credentials(), [](const auto& each) {
    return each.kind() == proto::Credential::MOBILE_KEY;
  });
}

std::shared_ptr<const FlagSet> flag_set_of(EnvironmentId id, std::uint64_t generation,
                                           const EnvironmentState& state, const FlagSet* before) {
  auto set = std::make_shared<FlagSet>();
  set->environment = id;
  set->generation = generation;
  set->revision = state.revision;
  set->digests.assign(state.digests.begin(), state.digests.end());
  for (const auto& [name, item] : state.items) {
    if (name.first == proto::Item::ENVIRONMENT && !item.deleted()) {
      const auto environment = decode_environment(item.document());
      if (environment) add_environment(*set, *environment);
    }
    if (!is_flag_or_segment(name.first)) continue;
    const bool is_flag = name.first == proto::Item::FLAG;
    const Items* known = before == nullptr ? nullptr : is_flag ? &before->flags : &before->segments;
    (is_flag ? set->flags : set->segments)[name.second] = item_of(item, known);
    set->newest_item = std::max(set->newest_item, item.revision());
  }
  std::string all = "{";
  append_items(all, "flags", set->flags);
  all += ',';
  append_items(all, "segments", set->segments);
  all += '}';
  set->fingerprint = xxh3_128(all).to_hex();
  set->all_json = std::make_shared<const std::string>(std::move(all));
  return set;
}

void add_lookups(Lookups& lookups, EnvironmentId id, const proto::Environment& environment) {
  if (!environment.client_side_id().empty())
    lookups.client_side_ids[environment.client_side_id()] = id;
  for (const proto::Credential& each : environment.credentials()) {
    const bool is_sdk_key = each.kind() == proto::Credential::SDK_KEY;
    if (!is_sdk_key && each.kind() != proto::Credential::MOBILE_KEY) continue;
    lookups.keys[each.sha256()] = {
        .environment = id,
        .kind = is_sdk_key ? CredentialKind::SdkKey : CredentialKind::MobileKey,
        .expires = each.expires_us()};
    if (each.expires_us() != 0) lookups.expiries.emplace(each.expires_us(), id);
  }
}

std::shared_ptr<const Lookups> lookups_of(const ConfigFold& fold) {
  auto lookups = std::make_shared<Lookups>();
  for (const auto& [number, state] : fold.environments()) {
    if (state.is_deleted) continue;
    for (const auto& [name, item] : state.items) {
      if (name.first != proto::Item::ENVIRONMENT || item.deleted()) continue;
      const auto environment = decode_environment(item.document());
      if (environment) add_lookups(*lookups, EnvironmentId{number}, *environment);
    }
  }
  return lookups;
}

std::shared_ptr<const FlagChange> change_of(const proto::Item& item, const FlagSet& set) {
  const bool is_flag = item.kind() == proto::Item::FLAG;
  auto change = std::make_shared<FlagChange>();
  change->revision = item.revision();
  change->kind = is_flag ? FlagChange::Kind::Flag : FlagChange::Kind::Segment;
  change->key = item.key();
  change->item = item_of(item, is_flag ? &set.flags : &set.segments);
  return change;
}

}  // namespace

void add_pending(Pending& pending, Folded folded, const ConfigFold& fold) {
  for (const std::uint64_t id : folded.replaced) {
    pending[id] = {.is_replaced = true,
                   .complete_from = fold.environments().at(id).revision,
                   .has_new_environment = true,
                   .changes = {}};
  }
  for (proto::Item& item : folded.changes) {
    PendingChanges& to = pending[item.environment_id()];
    if (item.kind() == proto::Item::ENVIRONMENT && item.deleted()) {
      // Everything in it went with it: what comes later begins anew.
      to = {.is_replaced = true,
            .complete_from = item.revision(),
            .has_new_environment = true,
            .changes = {}};
      continue;
    }
    if (to.is_replaced && item.revision() <= to.complete_from) continue;
    to.has_new_environment = to.has_new_environment || item.kind() == proto::Item::ENVIRONMENT;
    to.changes.push_back(std::move(item));
  }
}

std::set<EnvironmentId> expired_between(const Lookups& lookups, MicrosUtc after, MicrosUtc until) {
  std::set<EnvironmentId> expired;
  for (auto at = lookups.expiries.upper_bound(after);
       at != lookups.expiries.end() && at->first <= until; ++at)
    expired.insert(at->second);
  return expired;
}

std::shared_ptr<const View> next_view(const View& before, const ConfigFold& fold,
                                      const Pending& pending) {
  auto next = std::make_shared<View>(before);
  bool has_new_lookups = false;
  for (const auto& [number, changed] : pending) {
    const EnvironmentId id{number};
    has_new_lookups = has_new_lookups || changed.has_new_environment;
    const auto state = fold.environments().find(number);
    // One of which everything waits behind a gap is not known yet.
    if (state == fold.environments().end() || state->second.is_deleted ||
        state->second.revision == 0) {
      next->flag_sets.erase(id);
      continue;
    }
    auto& set = next->flag_sets[id];
    set = flag_set_of(id, next->generation, state->second, set.get());
  }
  if (has_new_lookups) next->lookups = lookups_of(fold);
  return next;
}

void ChangeRing::restart(std::uint64_t revision) {
  changes_.clear();
  bytes_ = 0;
  complete_from_ = revision;
}

void ChangeRing::add(std::shared_ptr<const FlagChange> change) {
  const auto size_of = [](const FlagChange& each) {
    return sizeof each + each.key.size() + (each.item.json == nullptr ? 0 : each.item.json->size());
  };
  bytes_ += size_of(*change);
  changes_.push_back(std::move(change));
  while (changes_.size() > kChangesMax || bytes_ > kBytesMax) {
    bytes_ -= size_of(*changes_.front());
    complete_from_ = changes_.front()->revision;
    changes_.pop_front();
  }
}

std::optional<std::vector<std::shared_ptr<const FlagChange>>> ChangeRing::since(
    std::uint64_t revision) const {
  if (revision < complete_from_) return std::nullopt;
  const auto first = std::ranges::upper_bound(changes_, revision, {},
                                              [](const auto& each) { return each->revision; });
  return std::vector<std::shared_ptr<const FlagChange>>(first, changes_.end());
}

std::vector<RingUpdate> ring_updates(const View& view, const Pending& pending) {
  std::vector<RingUpdate> updates;
  for (const auto& [number, changed] : pending) {
    RingUpdate update{.environment = EnvironmentId{number},
                      .is_gone = false,
                      .is_restart = changed.is_replaced,
                      .from = changed.complete_from,
                      .changes = {}};
    const auto set = view.flag_sets.find(update.environment);
    update.is_gone = set == view.flag_sets.end();
    if (!changed.is_replaced && !changed.changes.empty())
      update.from = changed.changes.front().revision() - 1;
    for (const proto::Item& item : changed.changes) {
      if (!update.is_gone && is_flag_or_segment(item.kind()))
        update.changes.push_back(change_of(item, *set->second));
    }
    updates.push_back(std::move(update));
  }
  return updates;
}

void apply(Rings& rings, std::vector<RingUpdate> updates) {
  for (RingUpdate& update : updates) {
    if (update.is_gone) {
      rings.erase(update.environment);
      continue;
    }
    const auto [ring, is_new] = rings.try_emplace(update.environment);
    if (is_new || update.is_restart) ring->second.restart(update.from);
    for (auto& change : update.changes) ring->second.add(std::move(change));
  }
}

}  // namespace flagstream::environment
