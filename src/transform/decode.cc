#include "transform/decode.h"

#include <algorithm>
#include <cstddef>
#include <memory_resource>
#include <string>
#include <utility>
#include <vector>

#include "events/envelope.h"
#include "events/noise.h"
#include "transform/decode_event.h"
#include "transform/decode_header.h"
#include "transform/decode_time.h"
#include "transform/decode_unsummarized.h"

namespace flagstream::transform {
namespace {

namespace proto = events::proto;

constexpr std::string_view kStage = "transform";

// Parser and buffer grow to a few times the largest body; above this they are given back after it.
constexpr std::size_t kBodyBytesKept = 1 << 20;

// Messages of rejects keep the memory of the largest text that they ever held.  Dropping them each
// time that so much was read bounds what a sender can make them keep.
constexpr std::size_t kBytesBetweenDrops = 16 << 20;

constexpr std::size_t kEventsKept = 2'048;
constexpr std::size_t kArenaBytesKept = 64 << 10;

// SDKs on servers send every 5 s, those of browsers and phones at most every 30 s.
std::int64_t flush_interval(const proto::PayloadHeader& header) {
  const bool client = header.credential() == proto::PayloadHeader::MOBILE_KEY ||
                      header.credential() == proto::PayloadHeader::CLIENT_SIDE_ID;
  return (client ? 30 : 5) * kMicrosPerSecond;
}

// Nothing follows the value that was read.
bool is_at_end(ondemand::document& document) {
  return document.current_location().error() == simdjson::OUT_OF_BOUNDS;
}

void set_source(proto::Source& source, const PayloadPlace& place, std::uint32_t index) {
  source.set_log_id(place.log_id.to_bytes());
  source.set_offset(place.offset);
  source.set_index(index);
}

}  // namespace

MicrosUtc received_time(const proto::PayloadHeader& header, const PayloadPlace& place) {
  return std::max<MicrosUtc>(0, std::min(header.received_us(), place.append_time));
}

struct Decoder::State {
  FindRules find_rules;
  ondemand::parser parser;
  EventReader reader;
  std::string padded_body;
  std::vector<std::string_view> texts;
  EventList events;
  // Of payloads without summaries: what each feature event in `events` asks for, and what becomes
  // of them all.
  struct Use {
    std::size_t event = 0;  // index in `events`
    FeatureUse use;
  };
  std::vector<Use> uses;
  EventList derived;
  bool is_unsummarized = false;
  std::uint32_t rules_found = 0;
  std::uint32_t rules_missing = 0;
  std::unique_ptr<std::byte[]> arena_memory = std::make_unique<std::byte[]>(kArenaBytesKept);
  std::pmr::monotonic_buffer_resource arena{arena_memory.get(), kArenaBytesKept};
  std::string log_id;
  google::protobuf::RepeatedPtrField<proto::Reject> rejects;
  std::uint32_t accepted = 0;
  std::size_t bytes_since_drop = 0;

  void begin();
  void give_back(std::size_t body_bytes);
  Fault take(ondemand::object& object, const Source& source, std::uint32_t index);
  bool read_whole(std::string_view body, bool is_careful);
  Fault read_one(std::string_view text, std::uint32_t index);
  void read_each(const proto::PayloadHeader& header, const PayloadPlace& place);
  void forget_from(std::size_t first);
  Result<void> ask_flag(const proto::PayloadHeader& header, events::EventView& event,
                        FeatureUse& use);
  Result<void> derive(const proto::PayloadHeader& header, MicrosUtc received);
  void complete(const proto::PayloadHeader& header, const PayloadPlace& place);
};

void Decoder::State::begin() {
  events.clear();
  arena.release();
  rejects.Clear();
  accepted = 0;
  uses.clear();
  reader.begin_payload(is_unsummarized);
}

void Decoder::State::give_back(std::size_t body_bytes) {
  if (body_bytes > kBodyBytesKept) {
    parser = ondemand::parser();
    padded_body = std::string();
  }
  if (events.capacity() > kEventsKept) events = EventList();
  if (derived.capacity() > kEventsKept) derived = EventList();
  if (bytes_since_drop <= kBytesBetweenDrops) return;
  bytes_since_drop = 0;
  rejects = google::protobuf::RepeatedPtrField<proto::Reject>();
}

Fault Decoder::State::take(ondemand::object& object, const Source& source, std::uint32_t index) {
  const std::size_t first = events.size();
  if (const Fault fault = reader.read(object, source, events)) {
    forget_from(first);
    return fault;
  }
  for (std::size_t i = first; i < events.size(); ++i) events[i].source.index = index;
  if (is_unsummarized && events[first].kind == proto::FEATURE)
    uses.push_back({.event = first, .use = reader.use()});
  ++accepted;
  return {};
}

void Decoder::State::forget_from(std::size_t first) {
  events.resize(first);
  while (!uses.empty() && uses.back().event >= first) uses.pop_back();
}

// The usual case, in one walk over the body.  False: something in it is wrong, so that event by
// event has to be looked at; what was read is to be forgotten.
bool Decoder::State::read_whole(std::string_view body, bool is_careful) {
  begin();
  ondemand::document document;
  if (parser.iterate(body.data(), body.size(), body.size() + simdjson::SIMDJSON_PADDING)
          .get(document))
    return false;
  const Source source{.document = document,
                      .arena = arena,
                      .is_careful = is_careful,
                      .end = body.data() + body.size()};
  ondemand::object object;
  if (body.front() == '{') {
    if (document.get_object().get(object) || take(object, source, 0)) return false;
    return is_at_end(document);
  }
  ondemand::array array;
  if (document.get_array().get(array)) return false;
  for (auto result : array) {
    if (accepted == events::kEventsPerPayloadMax) return false;
    if (std::move(result).get_object().get(object) || take(object, source, accepted)) return false;
  }
  return is_at_end(document);
}

Fault Decoder::State::read_one(std::string_view text, std::uint32_t index) {
  if (text.empty()) return kMalformed;
  if (text.front() != '{') return RejectReason::NotAnObject;
  ondemand::document document;
  if (parser.iterate(text.data(), text.size(), text.size() + simdjson::SIMDJSON_PADDING)
          .get(document))
    return kMalformed;
  ondemand::object object;
  if (document.get_object().get(object)) return kMalformed;
  const std::size_t first = events.size();
  const Source source{
      .document = document, .arena = arena, .is_careful = true, .end = text.data() + text.size()};
  if (const Fault fault = take(object, source, index)) return fault;
  if (is_at_end(document)) return {};
  forget_from(first);
  --accepted;
  return kMalformed;
}

void Decoder::State::read_each(const proto::PayloadHeader& header, const PayloadPlace& place) {
  begin();
  for (std::uint32_t index = 0; index < texts.size(); ++index) {
    const Fault fault = read_one(texts[index], index);
    if (!fault) continue;
    proto::Reject& reject = *rejects.Add();
    set_source(*reject.mutable_source(), place, index);
    reject.set_stage(kStage.data(), kStage.size());
    const std::string_view word = to_word(*fault);
    reject.set_reason(word.data(), word.size());
    reject.set_tries(1);
    reject.set_environment_id(header.environment_id());
    reject.set_received_us(received_time(header, place));
    reject.set_record(texts[index].data(), texts[index].size());
  }
}

Result<void> Decoder::State::ask_flag(const proto::PayloadHeader& header, events::EventView& event,
                                      FeatureUse& use) {
  if (!needs_rules(header, event, use)) return {};
  std::shared_ptr<const FlagRules> rules;
  if (find_rules) {
    FS_TRY(rules, find_rules({.environment_id = header.environment_id(),
                              .revision = header.config_revision(),
                              .key = event.key}));
  }
  ++(rules ? rules_found : rules_missing);
  if (rules) fill_in(header, *rules, event, use);
  return {};
}

// The records of a payload without summaries in place of its events.
Result<void> Decoder::State::derive(const proto::PayloadHeader& header, MicrosUtc received) {
  derived.clear();
  auto use = uses.begin();
  constexpr FeatureUse kNone;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const bool has_use = use != uses.end() && use->event == i;
    if (has_use) FS_TRY(ask_flag(header, events[i], use->use));
    append_derived(events[i], has_use ? use->use : kNone, received, arena, derived);
    if (has_use) ++use;
  }
  events.swap(derived);
  return {};
}

// Fills in what all events of the payload share, and puts their dates onto the gateway's time line.
void Decoder::State::complete(const proto::PayloadHeader& header, const PayloadPlace& place) {
  const MicrosUtc received = received_time(header, place);
  const Sender sender = sender_of(header.user_agent(), header.tags());
  log_id = place.log_id.to_bytes();
  const auto date_of = [](const events::EventView& event) {
    const bool has_date = (event.noise & events::kNoiseInvalidDate) == 0;
    return plausible_date(has_date ? std::optional<MicrosUtc>(event.time_us) : std::nullopt);
  };
  PayloadTimes times(received, flush_interval(header));
  for (const events::EventView& event : events) {
    if (const auto date = date_of(event)) times.see(*date);
  }
  for (events::EventView& event : events) {
    const auto date = date_of(event);
    const auto placed = times.place(date);
    if (event.kind == proto::SUMMARY) {
      const auto start = plausible_date(event.start_us);
      event.start_us =
          date && start && *start <= *date ? placed.time - (*date - *start) : placed.time;
    }
    event.time_us = placed.time;
    event.noise |= placed.noise;
    event.source.log_id = log_id;
    event.source.offset = place.offset;
    event.environment_id = header.environment_id();
    event.received_us = received;
    event.sdk_name = sender.sdk_name;
    event.sdk_version = sender.sdk_version;
    event.application_id = sender.application_id;
    event.application_version = sender.application_version;
  }
}

Decoder::Decoder(FindRules find_rules) : state_(std::make_unique<State>()) {
  state_->find_rules = std::move(find_rules);
}
Decoder::~Decoder() = default;

Result<DecodedPayload> Decoder::decode(const proto::PayloadHeader& header, std::string_view body,
                                       const PayloadPlace& place) {
  State& state = *state_;
  state.give_back(state.padded_body.size());
  state.is_unsummarized = is_unsummarized(header);
  state.rules_found = state.rules_missing = 0;
  state.padded_body.reserve(body.size() + simdjson::SIMDJSON_PADDING);
  state.padded_body.assign(body).append(simdjson::SIMDJSON_PADDING, '\0');
  const std::string_view padded =
      without_blanks(std::string_view(state.padded_body).substr(0, body.size()));

  const bool is_read =
      !padded.empty() && (state.read_whole(padded, false) ||
                          (state.reader.is_in_doubt() && state.read_whole(padded, true)));
  if (!is_read) {
    FS_TRY(events::split_envelope(padded, state.texts));
    state.read_each(header, place);
  }
  if (state.is_unsummarized) FS_TRY(state.derive(header, received_time(header, place)));
  state.complete(header, place);
  state.bytes_since_drop += body.size() + state.reader.repeated_bytes();
  return DecodedPayload{.events = state.events,
                        .rejects = state.rejects,
                        .accepted = state.accepted,
                        .rejected = static_cast<std::uint32_t>(state.rejects.size()),
                        .rules_found = state.rules_found,
                        .rules_missing = state.rules_missing};
}

void encode_payload_event(const proto::PayloadHeader& header, const PayloadPlace& place,
                          const PayloadOutcome& outcome, std::string& out) {
  const std::string log_id = place.log_id.to_bytes();
  const MicrosUtc received = received_time(header, place);
  const Sender sender = sender_of(header.user_agent(), header.tags());
  const events::EventView event{
      .source = {.log_id = log_id,
                 .offset = place.offset,
                 .index = outcome.accepted + outcome.rejected},
      .kind = proto::PAYLOAD,
      .outcome = outcome.outcome,
      .environment_id = header.environment_id(),
      .received_us = received,
      .time_us = received,
      .sdk_name = sender.sdk_name,
      .sdk_version = sender.sdk_version,
      .application_id = sender.application_id,
      .application_version = sender.application_version,
      .events_accepted = outcome.accepted,
      .events_rejected = outcome.rejected,
      .body_bytes = outcome.body_bytes,
  };
  events::encode_event(event, out);
}

proto::Reject payload_reject(const proto::PayloadHeader& header, const PayloadPlace& place,
                             const Error& error, std::string_view record) {
  proto::Reject reject;
  set_source(*reject.mutable_source(), place, 0);
  reject.set_stage(std::string(kStage));
  reject.set_reason(error.kind == ErrorKind::TooLarge ? "payload_too_large" : "not_json");
  reject.set_detail(error.what);
  reject.set_tries(1);
  reject.set_environment_id(header.environment_id());
  reject.set_received_us(received_time(header, place));
  reject.set_record(record.data(), record.size());
  return reject;
}

}  // namespace flagstream::transform
