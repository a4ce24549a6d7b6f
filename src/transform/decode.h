// From one payload record to the events in it: a pure function of the record and its place in the
// log.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <google/protobuf/repeated_ptr_field.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "events/event.pb.h"
#include "events/event_view.h"
#include "transform/flag_rules.h"

namespace flagstream::transform {

// Where a payload record stands.
struct PayloadPlace {
  Id128 log_id;
  std::uint64_t offset = 0;
  MicrosUtc append_time = 0;  // of its frame
};

// Views into the Decoder, until its next call, and into the header.
struct DecodedPayload {
  // In the order of index and part.
  std::span<const events::EventView> events;
  // In the order of index.  `record` is the JSON of the event.
  google::protobuf::RepeatedPtrField<events::proto::Reject>& rejects;
  // SDK events; accepted + rejected is what the payload holds.
  std::uint32_t accepted = 0;
  std::uint32_t rejected = 0;
  // Events of which the flag was asked, by whether it was found.
  std::uint32_t rules_found = 0;
  std::uint32_t rules_missing = 0;
};

// Reuses its memory from payload to payload.  Not thread-safe.
class Decoder {
 public:
  // `find_rules` is asked for events of schema 1 and 2 only; null: what they do not say stays
  // unsaid.
  explicit Decoder(FindRules find_rules = nullptr);
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // `body` is the request's, inflated.  Takes one JSON array of events or one bare event.  Unknown
  // members and nulls are ignored; of two members with one name the last counts (both, where they
  // hold contexts of different form).  An event that is wrong becomes a Reject, and the others
  // count.  Of payloads without summaries the counters, index events and debug copies are made, too
  // (decode_unsummarized.h).  InvalidArgument, TooLarge: the payload as a whole is none
  // (events/envelope.h).  Any other error: the flags cannot be read now.
  Result<DecodedPayload> decode(const events::proto::PayloadHeader& header, std::string_view body,
                                const PayloadPlace& place);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What became of a payload, as its last record in `events`.
struct PayloadOutcome {
  events::proto::Event::Outcome outcome = events::proto::Event::ACCEPTED;
  std::uint32_t accepted = 0;
  std::uint32_t rejected = 0;
  std::uint64_t body_bytes = 0;  // as received
};
// Appends the record.
void encode_payload_event(const events::proto::PayloadHeader& header, const PayloadPlace& place,
                          const PayloadOutcome& outcome, std::string& out);

// For a payload that decode() refuses whole; `record` is the payload record.
events::proto::Reject payload_reject(const events::proto::PayloadHeader& header,
                                     const PayloadPlace& place, const Error& error,
                                     std::string_view record);

// When the gateway received it, never ahead of its frame's append time: one gateway's wrong clock
// must not close the panes of all.
MicrosUtc received_time(const events::proto::PayloadHeader& header, const PayloadPlace& place);

}  // namespace flagstream::transform
