#include "transform/decode.h"

#include <algorithm>
#include <string>
#include <vector>

#include "events/envelope.h"
#include "events/noise.h"
#include "transform/decode_event.h"
#include "transform/decode_header.h"
#include "transform/decode_time.h"

namespace flagstream::transform {
namespace {

namespace proto = events::proto;

constexpr std::string_view kStage = "transform";

// Parser and buffer grow to a few times the largest body; above this they are given back after it.
constexpr std::size_t kBodyBytesKept = 1 << 20;

// Messages keep the memory of the largest text that they ever held.  Dropping them each time that
// so much was read bounds what a sender can make them keep.
constexpr std::size_t kBytesBetweenDrops = 16 << 20;

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
  ondemand::parser parser;
  events::EnvelopeScanner scanner;
  EventReader reader;
  std::string padded_body;
  std::vector<std::string_view> texts;
  EventList events;
  google::protobuf::RepeatedPtrField<proto::Reject> rejects;
  std::uint32_t accepted = 0;
  std::size_t bytes_since_drop = 0;

  void begin();
  void give_back(std::size_t body_bytes);
  Fault take(ondemand::object& object, std::uint32_t index);
  bool read_whole(std::string_view body);
  Fault read_one(std::string_view text, std::uint32_t index);
  void read_each(const proto::PayloadHeader& header, const PayloadPlace& place);
  void complete(const proto::PayloadHeader& header, const PayloadPlace& place);
};

void Decoder::State::begin() {
  events.Clear();
  rejects.Clear();
  accepted = 0;
  reader.begin_payload();
}

void Decoder::State::give_back(std::size_t body_bytes) {
  if (body_bytes > kBodyBytesKept) {
    parser = ondemand::parser();
    padded_body = std::string();
  }
  if (bytes_since_drop <= kBytesBetweenDrops) return;
  bytes_since_drop = 0;
  events = EventList();
  rejects = google::protobuf::RepeatedPtrField<proto::Reject>();
}

Fault Decoder::State::take(ondemand::object& object, std::uint32_t index) {
  const int first = events.size();
  if (const Fault fault = reader.read(object, events)) {
    while (events.size() > first) events.RemoveLast();
    return fault;
  }
  for (int i = first; i < events.size(); ++i) events[i].mutable_source()->set_index(index);
  ++accepted;
  return {};
}

// The usual case, in one walk over the body.  False: something in it is wrong, so that event by
// event has to be looked at; what was read is to be forgotten.
bool Decoder::State::read_whole(std::string_view body) {
  ondemand::document document;
  if (parser.iterate(body.data(), body.size(), body.size() + simdjson::SIMDJSON_PADDING)
          .get(document))
    return false;
  ondemand::object object;
  if (body.front() == '{') {
    if (document.get_object().get(object) || take(object, 0)) return false;
    return is_at_end(document);
  }
  ondemand::array array;
  if (document.get_array().get(array)) return false;
  for (auto result : array) {
    if (accepted == events::kEventsPerPayloadMax) return false;
    if (std::move(result).get_object().get(object) || take(object, accepted)) return false;
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
  if (const Fault fault = take(object, index)) return fault;
  if (is_at_end(document)) return {};
  while (!events.empty() && events[events.size() - 1].source().index() == index)
    events.RemoveLast();
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

// Fills in what all events of the payload share, and puts their dates onto the gateway's time line.
void Decoder::State::complete(const proto::PayloadHeader& header, const PayloadPlace& place) {
  const MicrosUtc received = received_time(header, place);
  const Sender sender = sender_of(header.user_agent(), header.tags());
  const std::string log_id = place.log_id.to_bytes();
  const auto date_of = [](const proto::Event& event) {
    const bool has_date = (event.noise() & events::kNoiseInvalidDate) == 0;
    return plausible_date(has_date ? std::optional<MicrosUtc>(event.time_us()) : std::nullopt);
  };
  PayloadTimes times(received, flush_interval(header));
  for (const proto::Event& event : events) {
    if (const auto date = date_of(event)) times.see(*date);
  }
  for (proto::Event& event : events) {
    const auto date = date_of(event);
    const auto placed = times.place(date);
    if (event.kind() == proto::SUMMARY) {
      const auto start = plausible_date(event.start_us());
      event.set_start_us(date && start && *start <= *date ? placed.time - (*date - *start)
                                                          : placed.time);
    }
    event.set_time_us(placed.time);
    event.set_noise(event.noise() | placed.noise);
    event.mutable_source()->set_log_id(log_id);
    event.mutable_source()->set_offset(place.offset);
    event.set_environment_id(header.environment_id());
    event.set_received_us(received);
    event.set_sdk_name(sender.sdk_name.data(), sender.sdk_name.size());
    event.set_sdk_version(sender.sdk_version.data(), sender.sdk_version.size());
    event.set_application_id(sender.application_id.data(), sender.application_id.size());
    event.set_application_version(sender.application_version.data(),
                                  sender.application_version.size());
  }
}

Decoder::Decoder() : state_(std::make_unique<State>()) {}
Decoder::~Decoder() = default;

Result<DecodedPayload> Decoder::decode(const proto::PayloadHeader& header, std::string_view body,
                                       const PayloadPlace& place) {
  State& state = *state_;
  state.give_back(state.padded_body.size());
  state.begin();
  state.padded_body.reserve(body.size() + simdjson::SIMDJSON_PADDING);
  state.padded_body.assign(body).append(simdjson::SIMDJSON_PADDING, '\0');
  const std::string_view padded =
      without_blanks(std::string_view(state.padded_body).substr(0, body.size()));

  if (padded.empty() || !state.read_whole(padded)) {
    FS_TRY(state.scanner.split(padded, state.texts));
    state.read_each(header, place);
  }
  state.complete(header, place);
  state.bytes_since_drop += body.size() + state.reader.repeated_bytes();
  return DecodedPayload{.events = state.events,
                        .rejects = state.rejects,
                        .accepted = state.accepted,
                        .rejected = static_cast<std::uint32_t>(state.rejects.size())};
}

proto::Event payload_event(const proto::PayloadHeader& header, const PayloadPlace& place,
                           const PayloadOutcome& outcome) {
  proto::Event event;
  set_source(*event.mutable_source(), place, outcome.accepted + outcome.rejected);
  event.set_kind(proto::PAYLOAD);
  event.set_environment_id(header.environment_id());
  event.set_received_us(received_time(header, place));
  event.set_time_us(event.received_us());
  const Sender sender = sender_of(header.user_agent(), header.tags());
  event.set_sdk_name(std::string(sender.sdk_name));
  event.set_sdk_version(std::string(sender.sdk_version));
  event.set_application_id(std::string(sender.application_id));
  event.set_application_version(std::string(sender.application_version));
  event.set_outcome(outcome.outcome);
  event.set_events_accepted(outcome.accepted);
  event.set_events_rejected(outcome.rejected);
  event.set_body_bytes(outcome.body_bytes);
  return event;
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
