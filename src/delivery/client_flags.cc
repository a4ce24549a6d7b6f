#include "delivery/client_flags.h"

#include <charconv>
#include <utility>

#include "base/hash.h"
#include "delivery/visibility.h"
#include "json/json.h"

namespace flagstream::delivery {
namespace {

using environment::CredentialKind;
using flags::Evaluation;
using flags::PrerequisiteEvaluation;

// How much longer than the last answer the next one may be without growing its buffer.
constexpr std::size_t kSpareBytes = 64;

// Unlike std::to_string without a string of its own.
template <class Number>
void append_number(std::string& out, Number number) {
  char digits[20];
  const auto done = std::to_chars(std::begin(digits), std::end(digits), number);
  out.append(digits, done.ptr);
}

void append_prerequisites(std::string& out, const flags::Flag& flag,
                          const std::vector<PrerequisiteEvaluation>& evaluated) {
  bool is_first = true;
  for (const PrerequisiteEvaluation& each : evaluated) {
    if (each.parent != &flag) continue;  // a prerequisite's own
    out += is_first ? R"(,"prerequisites":[)" : ",";
    is_first = false;
    json::append_quoted(out, each.flag->key);
  }
  if (!is_first) out += ']';
}

std::uint64_t digest_of(std::string_view members) { return xxh3_128(members).low; }

}  // namespace

ClientFlags::ClientFlags(const environment::FlagSet& set,
                         std::shared_ptr<const flags::Evaluator> evaluator,
                         const flags::BigSegments* big_segments, CredentialKind kind)
    : evaluator_(std::move(evaluator)),
      big_segments_(big_segments),
      generation_(set.generation),
      revision_(set.revision),
      version_(R"("version":)" + std::to_string(set.revision) + ",") {
  auto keys = std::make_shared<Keys>();
  for (const auto& [key, item] : set.flags) {
    const flags::Flag* flag = item.json == nullptr ? nullptr : evaluator_->find(key);
    if (flag == nullptr || !is_visible(*flag, kind)) continue;
    keys->push_back(key);
    Entry entry{.flag = flag, .head = json::quoted(key), .key_size = 0, .members_from = 0};
    entry.key_size = entry.head.size();
    entry.head.append(":{").append(version_);
    entry.members_from = entry.head.size();
    entry.head.append(R"("flagVersion":)").append(std::to_string(flag->version));
    entry.head.append(R"(,"value":)");
    entries_.push_back(std::move(entry));
  }
  keys_ = std::move(keys);
}

void ClientFlags::append_members(std::string& out, const Entry& entry, std::string_view head,
                                 const flags::Context& context, Reasons reasons) const {
  // One for each shard: it keeps its memory.
  thread_local std::vector<PrerequisiteEvaluation> prerequisites;
  prerequisites.clear();
  const flags::Flag& flag = *entry.flag;
  const bool has_prerequisites = !flag.prerequisites.empty();
  flags::EvaluationOptions options{.big_segments = big_segments_};
  if (has_prerequisites) options.prerequisites = &prerequisites;
  const Evaluation evaluation = evaluator_->evaluate(flag, context, options);
  out += head;
  out += evaluation.value;
  if (evaluation.variation) {
    out += R"(,"variation":)";
    append_number(out, *evaluation.variation);
  }
  if (flag.tracks_events || evaluation.is_experiment) out += R"(,"trackEvents":true)";
  if (evaluation.is_experiment) out += R"(,"trackReason":true)";
  if (reasons == Reasons::All || evaluation.is_experiment) {
    out += R"(,"reason":)";
    flags::append_reason(out, evaluation.reason);
  }
  if (flag.debug_events_until.value_or(0) > 0) {
    out += R"(,"debugEventsUntilDate":)";
    append_number(out, *flag.debug_events_until);
  }
  if (has_prerequisites) append_prerequisites(out, flag, prerequisites);
  out += '}';
}

void ClientFlags::append_all(std::string& out, const flags::Context& context, Reasons reasons,
                             Digests* digests) const {
  out.reserve(out.size() + bytes_hint_.load(std::memory_order_relaxed));
  const std::size_t before = out.size();
  out += '{';
  for (const Entry& entry : entries_) {
    if (&entry != entries_.data()) out += ',';
    const std::size_t begin = out.size() + entry.members_from;
    append_members(out, entry, entry.head, context, reasons);
    if (digests != nullptr) digests->push_back(digest_of(std::string_view(out).substr(begin)));
  }
  out += '}';
  bytes_hint_.store(out.size() - before + kSpareBytes, std::memory_order_relaxed);
}

std::string ClientFlags::put_message(const flags::Context& context, Reasons reasons,
                                     Sent& sent) const {
  sent = {.generation = generation_, .revision = revision_, .keys = keys_, .digests = {}};
  sent.digests.reserve(entries_.size());
  std::string out = "event: put\ndata: ";
  append_all(out, context, reasons, &sent.digests);
  return out += "\n\n";
}

void ClientFlags::append_patch(std::string& out, const Entry& entry,
                               std::string_view members) const {
  out += "event: patch\ndata: {\"key\":";
  out += entry.quoted_key();
  out += ',';
  out += version_;
  out += members;
  out += "\n\n";
}

ClientFlags::Changes ClientFlags::changes_since(Sent& sent, const flags::Context& context,
                                                Reasons reasons) const {
  Changes changes;
  Digests digests;
  digests.reserve(entries_.size());
  std::string members;
  const Keys none;
  const Keys& old = sent.keys == nullptr ? none : *sent.keys;
  std::size_t at = 0;
  const auto delete_old = [&] {
    changes.messages += "event: delete\ndata: {\"key\":";
    json::append_quoted(changes.messages, old[at++]);
    changes.messages += ',';
    changes.messages.append(version_, 0, version_.size() - 1).append("}\n\n");
    ++changes.deletes;
  };
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const std::string& key = (*keys_)[i];
    while (at < old.size() && old[at] < key) delete_old();
    members.clear();
    const Entry& entry = entries_[i];
    append_members(members, entry, std::string_view(entry.head).substr(entry.members_from), context,
                   reasons);
    digests.push_back(digest_of(members));
    const bool was_there = at < old.size() && old[at] == key;
    const bool is_same = was_there && sent.digests[at] == digests.back();
    if (was_there) ++at;
    if (is_same) continue;
    append_patch(changes.messages, entry, members);
    ++changes.patches;
  }
  while (at < old.size()) delete_old();
  sent = {.generation = generation_,
          .revision = revision_,
          .keys = keys_,
          .digests = std::move(digests)};
  return changes;
}

std::shared_ptr<const ClientFlags> ClientFlagsCache::get(const Flags& flags, CredentialKind kind) {
  const auto pick = [&]() -> Made& {
    switch (kind) {
      case CredentialKind::SdkKey:
        return for_servers_;
      case CredentialKind::MobileKey:
        return for_mobile_;
      case CredentialKind::ClientSideId:
        return for_browsers_;
    }
    std::unreachable();
  };
  auto made = pick().get(flags, [&](const environment::FlagSet& set) {
    auto evaluator = evaluators_.get(flags);
    return evaluator == nullptr ? nullptr
                                : std::make_shared<const ClientFlags>(
                                      set, std::move(evaluator), evaluators_.big_segments(), kind);
  });
  return made == nullptr || evaluators_.is_ready(made->evaluator()) ? made : nullptr;
}

}  // namespace flagstream::delivery
