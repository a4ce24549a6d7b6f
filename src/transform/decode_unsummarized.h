// What SDKs leave to us: those of schema 1 and 2 and of unsummarized payloads send one feature
// event for each evaluation, and neither summaries nor index events.  They are made here, in the
// form in which other SDKs send them.
#pragma once

#include "base/clock.h"
#include "transform/decode_event.h"
#include "transform/flag_rules.h"

namespace flagstream::transform {

// What `part` of a record's source says in such a payload.  A record that is not made leaves its
// number out.
inline constexpr std::uint32_t kPartOwn = 0;      // the event as it was sent
inline constexpr std::uint32_t kPartCounter = 1;  // the evaluation, counted: kind SUMMARY, count 1
inline constexpr std::uint32_t kPartIndex = 2;    // its context: kind INDEX
inline constexpr std::uint32_t kPartDebug = 3;    // the copy for the live debugger: kind DEBUG

bool is_unsummarized(const events::proto::PayloadHeader& header);

// Whether the flag has to be asked what a feature event of such a payload does not say: schema 1
// has no variations, and before its last releases schema 2 did not say what is tracked.
bool needs_rules(const events::proto::PayloadHeader& header, const events::EventView& event,
                 const FeatureUse& use);

// Fills in from the flag what the event does not say.
void fill_in(const events::proto::PayloadHeader& header, const FlagRules& rules,
             events::EventView& event, FeatureUse& use);

// Appends to `out` what becomes of one event: of a feature event its counter unless it is excluded,
// itself if it is tracked, and a debug copy if that is wanted after `received`; of a feature or
// custom event with its context an index event; any other as it is.  Ratios are dropped: these SDKs
// pass them on from the flag but send every event, so that each stands for itself alone.
void append_derived(const events::EventView& event, const FeatureUse& use, MicrosUtc received,
                    Arena& arena, EventList& out);

}  // namespace flagstream::transform
