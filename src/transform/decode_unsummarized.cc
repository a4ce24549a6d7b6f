#include "transform/decode_unsummarized.h"

#include <algorithm>

#include "events/noise.h"

namespace flagstream::transform {
namespace {

namespace proto = events::proto;

constexpr events::NoiseMask kOfAnyEvent = events::kNoiseAnonymous | events::kNoiseInvalidDate;

// What belongs to an event of any kind.
events::EventView bare(const events::EventView& event, proto::EventKind kind, std::uint32_t part) {
  events::EventView out;
  out.source.index = event.source.index;
  out.source.part = part;
  out.kind = kind;
  out.time_us = event.time_us;
  out.contexts = event.contexts;
  out.noise = event.noise & kOfAnyEvent;
  return out;
}

std::span<const std::string_view> kinds_of(std::span<const events::ContextKeyView> contexts,
                                           Arena& arena) {
  const std::size_t bytes = contexts.size() * sizeof(std::string_view);
  if (bytes == 0) return {};
  auto* const kinds =
      static_cast<std::string_view*>(arena.allocate(bytes, alignof(std::string_view)));
  std::ranges::transform(contexts, kinds, &events::ContextKeyView::kind);
  return {kinds, contexts.size()};
}

events::EventView counter_of(const events::EventView& event, Arena& arena) {
  events::EventView counter = bare(event, proto::SUMMARY, kPartCounter);
  counter.start_us = event.time_us;
  counter.key = event.key;
  counter.variation = event.variation;
  counter.version = event.version;
  counter.value_json = event.value_json;
  counter.default_json = event.default_json;
  counter.count = 1;
  counter.unknown_flag = event.unknown_flag;
  counter.noise |= event.noise & events::kNoiseUnknownFlag;
  counter.context_kinds = kinds_of(event.contexts, arena);
  return counter;
}

events::EventView index_of(const events::EventView& event) {
  events::EventView index = bare(event, proto::INDEX, kPartIndex);
  index.context_json = event.context_json;
  return index;
}

events::EventView debug_copy_of(const events::EventView& event) {
  events::EventView copy = event;
  copy.kind = proto::DEBUG;
  copy.source.part = kPartDebug;
  copy.noise &= ~events::kNoiseNoExposure;
  copy.noise |= events::kNoiseDebugCopy;
  return copy;
}

void append_evaluation(events::EventView event, const FeatureUse& use, MicrosUtc received,
                       Arena& arena, EventList& out) {
  // 0 asks for no events beside the counters.
  const bool wants_events = event.sampling_ratio != 0;
  event.sampling_ratio.reset();
  if (wants_events && use.track_events.value_or(false)) out.push_back(event);
  if (!use.exclude_from_summaries.value_or(false)) out.push_back(counter_of(event, arena));
  if (!event.context_json.empty()) out.push_back(index_of(event));
  if (wants_events && use.debug_until_us.value_or(0) > received)
    out.push_back(debug_copy_of(event));
}

}  // namespace

// Schema 0 is of records that do not say theirs.
bool is_unsummarized(const proto::PayloadHeader& header) {
  return header.unsummarized() || header.schema() == 1 || header.schema() == 2;
}

bool needs_rules(const proto::PayloadHeader& header, const events::EventView& event,
                 const FeatureUse& use) {
  if (header.unsummarized() || header.schema() > 2 || !event.version) return false;
  return !use.track_events && !use.debug_until_us;
}

void fill_in(const proto::PayloadHeader& header, const FlagRules& rules, events::EventView& event,
             FeatureUse& use) {
  use.track_events = rules.track_events();
  use.debug_until_us = rules.debug_until_us();
  // Without a variation, schema 2 says that the evaluation gave none.
  if (header.schema() == 1 && !event.variation)
    event.variation = rules.variation_of(event.value_json);
}

void append_derived(const events::EventView& event, const FeatureUse& use, MicrosUtc received,
                    Arena& arena, EventList& out) {
  if (event.kind == proto::FEATURE) return append_evaluation(event, use, received, arena, out);
  out.push_back(event);
  out.back().sampling_ratio.reset();
  if (event.kind == proto::CUSTOM && !event.context_json.empty()) out.push_back(index_of(event));
}

}  // namespace flagstream::transform
