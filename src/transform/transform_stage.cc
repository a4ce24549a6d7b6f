#include "transform/transform_stage.h"

#include <optional>
#include <utility>

#include "base/assert.h"
#include "base/hash.h"
#include "events/event.h"
#include "events/payload.h"
#include "events/record.h"
#include "pipeline/crash_notes.h"
#include "transform/before_decode.h"
#include "transform/decode.h"
#include "transform/decode_unsummarized.h"
#include "transform/dedupe.h"
#include "transform/seen_contexts.h"

namespace flagstream::transform {
namespace {

namespace proto = events::proto;

constexpr std::size_t kEvents = 0;
constexpr std::size_t kRejects = 1;

// Buffers that one large payload has made larger are given back after it.
constexpr std::size_t kBufferBytesKept = 1u << 20;

class TransformFold final : public pipeline::Fold {
 public:
  TransformFold(const TransformSettings& settings, Probe& probe, Dedupe dedupe, SeenContexts seen)
      : settings_(settings),
        probe_(probe),
        dedupe_(std::move(dedupe)),
        seen_(std::move(seen)),
        decoder_(settings.find_rules) {}

  Result<void> fold(const pipeline::RecordPlace& place, std::string_view record,
                    pipeline::Outputs& outputs) override;
  Result<void> pass_over(const pipeline::RecordPlace& place, std::string_view record,
                         pipeline::Outputs& outputs) override;
  void checkpoint(pipeline::Changes& changes) override {
    dedupe_.checkpoint(changes);
    seen_.checkpoint(changes);
  }
  void checkpointed() override { dedupe_.checkpointed(); }
  std::size_t dirty_bytes() const override { return dedupe_.dirty_bytes() + seen_.dirty_bytes(); }

 private:
  // A payload record taken apart, unless it is damaged or a repeat; then that is said.
  Result<std::optional<events::PayloadRecord>> take(const PayloadPlace& place,
                                                    std::string_view record,
                                                    pipeline::Outputs& outputs);
  Result<void> fold_payload(const PayloadPlace& place, std::string_view record,
                            pipeline::Outputs& outputs);
  Result<std::string_view> inflate(const events::PayloadRecord& payload);
  bool is_wanted(const events::EventView& event);
  void put_decoded(const events::PayloadRecord& payload, const PayloadPlace& place,
                   const DecodedPayload& decoded, pipeline::Outputs& outputs);
  void put_rejected(const events::PayloadRecord& payload, const PayloadPlace& place,
                    const proto::Reject& reject, pipeline::Outputs& outputs);
  void put_outcome(const events::PayloadRecord& payload, const PayloadPlace& place,
                   PayloadOutcome outcome, pipeline::Outputs& outputs);
  void put(const proto::Reject& reject, pipeline::Outputs& outputs);

  const TransformSettings& settings_;
  Probe& probe_;
  Dedupe dedupe_;
  SeenContexts seen_;
  Decoder decoder_;
  std::string inflated_;
  std::string encoded_;
};

PayloadPlace payload_place(const pipeline::RecordPlace& place) {
  return {.log_id = place.log_id, .offset = place.offset, .append_time = place.append_time};
}

Result<void> TransformFold::fold(const pipeline::RecordPlace& place, std::string_view record,
                                 pipeline::Outputs& outputs) {
  const auto kind = events::record_kind(record);
  if (kind == events::RecordKind::Tick) {
    outputs.add(kEvents, events::tick_record(events::tick_time(record, place.append_time)));
    return {};
  }
  if (kind == events::RecordKind::Payload)
    return fold_payload(payload_place(place), record, outputs);
  probe_.unknown_records.add();
  return {};
}

Result<std::optional<events::PayloadRecord>> TransformFold::take(const PayloadPlace& place,
                                                                 std::string_view record,
                                                                 pipeline::Outputs& outputs) {
  auto payload = events::decode_payload(record);
  if (!payload) {
    if (payload.error().kind == ErrorKind::InvalidArgument) return fail(std::move(payload).error());
    proto::Reject reject = payload_reject({}, place, payload.error(), record);
    reject.set_reason("damaged_record");
    put(reject, outputs);
    probe_.rejected.add();
    return std::optional<events::PayloadRecord>();
  }
  dedupe_.advance(received_time(payload->header, place));
  seen_.advance(dedupe_.clock());
  if (settings_.dedupe) {
    FS_TRY(const bool is_new, dedupe_.take(xxh3_128(events::payload_identity(payload->header))));
    if (!is_new) {
      probe_.duplicates.add();
      put_outcome(*payload, place, {.outcome = proto::Event::DUPLICATE}, outputs);
      return std::optional<events::PayloadRecord>();
    }
  }
  return std::optional(*std::move(payload));
}

Result<void> TransformFold::fold_payload(const PayloadPlace& place, std::string_view record,
                                         pipeline::Outputs& outputs) {
  FS_TRY(const auto payload, take(place, record, outputs));
  if (!payload) return {};
  const auto refuse = [&](const Error& error) {
    put_rejected(*payload, place, payload_reject(payload->header, place, error, record), outputs);
    return Result<void>();
  };
  const auto body = inflate(*payload);
  if (!body) return refuse(body.error());
  before_decode(*body);
  const auto decoded = decoder_.decode(payload->header, *body, place);
  if (!decoded) {
    const ErrorKind kind = decoded.error().kind;
    if (kind != ErrorKind::InvalidArgument && kind != ErrorKind::TooLarge)
      return fail(decoded.error());  // not the payload's fault
    return refuse(decoded.error());
  }
  put_decoded(*payload, place, *decoded, outputs);
  return {};
}

Result<void> TransformFold::pass_over(const pipeline::RecordPlace& where, std::string_view record,
                                      pipeline::Outputs& outputs) {
  if (events::record_kind(record) != events::RecordKind::Payload) {
    probe_.unknown_records.add();
    return {};
  }
  const PayloadPlace place = payload_place(where);
  FS_TRY(const auto payload, take(place, record, outputs));
  if (!payload) return {};
  proto::Reject reject = payload_reject(
      payload->header, place,
      Error(ErrorKind::InvalidArgument, "the stage crashed each time that it read this payload"),
      record);
  reject.set_reason("crash");
  reject.set_tries(pipeline::kCrashesUntilPassedOver);
  put_rejected(*payload, place, reject, outputs);
  return {};
}

Result<std::string_view> TransformFold::inflate(const events::PayloadRecord& payload) {
  if (!payload.header.gzip()) return payload.body;
  if (inflated_.capacity() > kBufferBytesKept) inflated_ = std::string();
  inflated_.clear();
  FS_TRY(settings_.inflate(payload.body, inflated_));
  return std::string_view(inflated_);
}

// Whether a record of a payload without summaries is to be written: of our index events those of
// contexts that have had none in a while, be it ours or an identify event.
bool TransformFold::is_wanted(const events::EventView& event) {
  if (event.kind == proto::IDENTIFY) seen_.take(event.environment_id, event.contexts);
  const bool is_our_index = event.kind == proto::INDEX && event.source.part == kPartIndex;
  if (!is_our_index) return true;
  const bool is_full = seen_.is_full();
  const bool is_new = seen_.take(event.environment_id, event.contexts);
  if (is_full && is_new) probe_.contexts_unseen.add();
  return is_new;
}

void TransformFold::put_decoded(const events::PayloadRecord& payload, const PayloadPlace& place,
                                const DecodedPayload& decoded, pipeline::Outputs& outputs) {
  const bool is_derived = is_unsummarized(payload.header);
  std::array<std::uint32_t, proto::EventKind_ARRAYSIZE> records{};
  for (const events::EventView& event : decoded.events) {
    if (is_derived && !is_wanted(event)) continue;
    ++records[static_cast<std::size_t>(event.kind)];
    encoded_.clear();
    events::encode_event(event, encoded_);
    outputs.add(kEvents, encoded_);
  }
  for (const proto::Reject& reject : decoded.rejects) put(reject, outputs);
  probe_.accepted.add();
  probe_.events.add(decoded.accepted);
  probe_.events_rejected.add(decoded.rejected);
  for (std::size_t kind = 0; kind < records.size(); ++kind)
    probe_.add_records(static_cast<proto::EventKind>(kind), records[kind]);
  probe_.payloads_of(payload.header).add();
  probe_.rules_found.add(decoded.rules_found);
  probe_.rules_missing.add(decoded.rules_missing);
  put_outcome(payload, place,
              {.outcome = proto::Event::ACCEPTED,
               .accepted = decoded.accepted,
               .rejected = decoded.rejected},
              outputs);
}

void TransformFold::put_rejected(const events::PayloadRecord& payload, const PayloadPlace& place,
                                 const proto::Reject& reject, pipeline::Outputs& outputs) {
  probe_.rejected.add();
  put(reject, outputs);
  put_outcome(payload, place, {.outcome = proto::Event::REJECTED}, outputs);
}

void TransformFold::put_outcome(const events::PayloadRecord& payload, const PayloadPlace& place,
                                PayloadOutcome outcome, pipeline::Outputs& outputs) {
  outcome.body_bytes = payload.body.size();
  encoded_.clear();
  encode_payload_event(payload.header, place, outcome, encoded_);
  outputs.add(kEvents, encoded_);
  probe_.add_records(proto::PAYLOAD, 1);
}

void TransformFold::put(const proto::Reject& reject, pipeline::Outputs& outputs) {
  if (encoded_.capacity() > kBufferBytesKept) encoded_ = std::string();
  encoded_.clear();
  events::encode_reject(reject, encoded_);
  outputs.add(kRejects, encoded_);
}

constexpr std::array<std::string_view, 6> kSchemas = {"1", "2", "3", "4", "unsummarized", "other"};
constexpr std::size_t kUnsummarized = 4;
constexpr std::size_t kOtherSchema = 5;

template <std::size_t... Index>
std::array<telemetry::Counter, sizeof...(Index)> schema_counters(telemetry::Registry& registry,
                                                                 std::index_sequence<Index...>) {
  return {telemetry::Counter(registry, {"flagstream_transform_accepted_payloads_total",
                                        "Accepted payloads by the form of their events.",
                                        "schema=\"" + std::string(kSchemas[Index]) + "\""})...};
}

// In the order of proto::EventKind, from INDEX on.  Records of kind PAYLOAD are one for each
// payload and counted as such.
constexpr std::array<std::string_view, 12> kKinds = {
    "index",    "identify", "feature",      "debug",      "custom",  "click",
    "pageview", "summary",  "migration_op", "diagnostic", "payload", "alias"};

template <std::size_t... Index>
std::array<telemetry::Counter, sizeof...(Index)> kind_counters(telemetry::Registry& registry,
                                                               std::index_sequence<Index...>) {
  return {telemetry::Counter(
      registry, {"flagstream_transform_records_total", "Records written to events, by kind.",
                 "kind=\"" + std::string(kKinds[Index]) + "\""})...};
}

telemetry::MetricName rules(const std::string& outcome) {
  return {"flagstream_transform_flag_lookups_total",
          "Flags asked for what events of schema 1 and 2 do not say.",
          "outcome=\"" + outcome + "\""};
}

telemetry::MetricName payloads(const std::string& outcome) {
  return {"flagstream_transform_payloads_total", "Payloads by what became of them.",
          "outcome=\"" + outcome + "\""};
}

}  // namespace

Probe::Probe(telemetry::Registry& registry)
    : accepted(registry, payloads("accepted")),
      duplicates(registry, payloads("duplicate")),
      rejected(registry, payloads("rejected")),
      events(registry, {"flagstream_transform_events_total", "SDK events by what became of them.",
                        "outcome=\"accepted\""}),
      events_rejected(registry, {"flagstream_transform_events_total",
                                 "SDK events by what became of them.", "outcome=\"rejected\""}),
      unknown_records(registry, {"flagstream_transform_unknown_records_total",
                                 "Records of kinds that this release does not know.", ""}),
      rules_found(registry, rules("found")),
      rules_missing(registry, rules("missing")),
      contexts_unseen(
          registry, {"flagstream_transform_contexts_not_remembered_total",
                     "Contexts beyond those that are given one index event in five minutes.", ""}),
      by_schema_(schema_counters(registry, std::make_index_sequence<kSchemas.size()>())),
      by_kind_(kind_counters(registry, std::make_index_sequence<kKinds.size()>())) {}

telemetry::Counter& Probe::payloads_of(const proto::PayloadHeader& header) {
  if (header.unsummarized()) return by_schema_[kUnsummarized];
  const bool is_known = header.schema() >= 1 && header.schema() <= kUnsummarized;
  return by_schema_[is_known ? header.schema() - 1 : kOtherSchema];
}

void Probe::add_records(proto::EventKind kind, std::uint64_t count) {
  static_assert(proto::EventKind_ARRAYSIZE == kKinds.size() + 1);
  if (count > 0) by_kind_[static_cast<std::size_t>(kind) - 1].add(count);
}

TransformStage::TransformStage(TransformSettings settings, telemetry::Registry& registry)
    : settings_(std::move(settings)), probe_(registry) {
  FS_ASSERT(settings_.inflate != nullptr, "bodies may be compressed");
}

Result<std::unique_ptr<pipeline::Fold>> TransformStage::open_fold(
    const pipeline::FoldPlace& place) {
  FS_TRY(Dedupe dedupe, Dedupe::open(place.store));
  FS_TRY(SeenContexts seen, SeenContexts::open(place.store, dedupe.clock()));
  return std::make_unique<TransformFold>(settings_, probe_, std::move(dedupe), std::move(seen));
}

}  // namespace flagstream::transform
