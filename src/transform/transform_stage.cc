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
#include "transform/dedupe.h"

namespace flagstream::transform {
namespace {

namespace proto = events::proto;

constexpr std::size_t kEvents = 0;
constexpr std::size_t kRejects = 1;

// Buffers that one large payload has made larger are given back after it.
constexpr std::size_t kBufferBytesKept = 1u << 20;

class TransformFold final : public pipeline::Fold {
 public:
  TransformFold(const TransformSettings& settings, Probe& probe, Dedupe dedupe)
      : settings_(settings), probe_(probe), dedupe_(std::move(dedupe)) {}

  Result<void> fold(const pipeline::RecordPlace& place, std::string_view record,
                    pipeline::Outputs& outputs) override;
  Result<void> pass_over(const pipeline::RecordPlace& place, std::string_view record,
                         pipeline::Outputs& outputs) override;
  void checkpoint(pipeline::Changes& changes) override { dedupe_.checkpoint(changes); }
  void checkpointed() override { dedupe_.checkpointed(); }
  std::size_t dirty_bytes() const override { return dedupe_.dirty_bytes(); }

 private:
  // A payload record taken apart, unless it is damaged or a repeat; then that is said.
  Result<std::optional<events::PayloadRecord>> take(const PayloadPlace& place,
                                                    std::string_view record,
                                                    pipeline::Outputs& outputs);
  Result<void> fold_payload(const PayloadPlace& place, std::string_view record,
                            pipeline::Outputs& outputs);
  Result<std::string_view> inflate(const events::PayloadRecord& payload);
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
  if (!decoded) return refuse(decoded.error());
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

void TransformFold::put_decoded(const events::PayloadRecord& payload, const PayloadPlace& place,
                                const DecodedPayload& decoded, pipeline::Outputs& outputs) {
  for (const events::EventView& event : decoded.events) {
    encoded_.clear();
    events::encode_event(event, encoded_);
    outputs.add(kEvents, encoded_);
  }
  for (const proto::Reject& reject : decoded.rejects) put(reject, outputs);
  probe_.accepted.add();
  probe_.events.add(decoded.accepted);
  probe_.events_rejected.add(decoded.rejected);
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
}

void TransformFold::put(const proto::Reject& reject, pipeline::Outputs& outputs) {
  if (encoded_.capacity() > kBufferBytesKept) encoded_ = std::string();
  encoded_.clear();
  events::encode_reject(reject, encoded_);
  outputs.add(kRejects, encoded_);
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
                                 "Records of kinds that this release does not know.", ""}) {}

TransformStage::TransformStage(TransformSettings settings, telemetry::Registry& registry)
    : settings_(std::move(settings)), probe_(registry) {
  FS_ASSERT(settings_.inflate != nullptr, "bodies may be compressed");
}

Result<std::unique_ptr<pipeline::Fold>> TransformStage::open_fold(
    const pipeline::FoldPlace& place) {
  FS_TRY(Dedupe dedupe, Dedupe::open(place.store));
  return std::make_unique<TransformFold>(settings_, probe_, std::move(dedupe));
}

}  // namespace flagstream::transform
