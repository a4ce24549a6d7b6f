#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include "events/event.h"
#include "events/payload.h"
#include "events/record.h"

namespace flagstream::events {
namespace {

std::string golden(const std::string& name) {
  std::ifstream in(FLAGSTREAM_SOURCE_DIR "/tests/golden/v1/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::string counting_bytes(char first) {
  std::string bytes;
  for (char i = 0; i < 16; ++i) bytes += static_cast<char>(first + i);
  return bytes;
}

// The messages of the worked examples in docs/formats/records.md; the golden files were encoded by
// protoc from their text form.
proto::PayloadHeader example_header() {
  proto::PayloadHeader header;
  header.set_receipt_id(counting_bytes(0));
  header.set_payload_id("270025a2-c710-4e80-9c14-bf8d18248706");
  header.set_received_us(1795407508900000);
  header.set_environment_id(7);
  header.set_credential(proto::PayloadHeader::SDK_KEY);
  header.set_route(proto::PayloadHeader::ANALYTICS);
  header.set_schema(4);
  header.set_user_agent("NodeJSClient/9.13.7");
  header.set_tags("application-id/shop application-version/1.2.3");
  header.set_client_network("192.0.2.0/24");
  header.set_config_revision(42);
  header.set_gateway_id("g1");
  return header;
}

constexpr std::string_view kExampleBody =
    R"([{"kind":"identify","creationDate":1795407508889,"context":{"kind":"user","key":"u1"}}])";

proto::Event example_event() {
  proto::Event event;
  event.mutable_source()->set_log_id(counting_bytes(0x10));
  event.mutable_source()->set_offset(1000);
  event.mutable_source()->set_index(3);
  event.mutable_source()->set_part(1);
  event.set_kind(proto::SUMMARY);
  event.set_environment_id(7);
  event.set_received_us(1795407508900000);
  event.set_time_us(1795407508889000);
  event.set_key("flag-0");
  event.set_variation(0);
  event.set_version(7);
  event.set_value_json("true");
  event.set_default_json("false");
  event.add_context_kinds("user");
  event.add_context_kinds("org");
  event.set_count(12);
  event.set_start_us(1795407505000000);
  event.set_sdk_name("NodeJSClient");
  event.set_sdk_version("9.13.7");
  return event;
}

proto::Reject example_reject() {
  proto::Reject reject;
  *reject.mutable_source() = example_event().source();
  reject.mutable_source()->clear_part();
  reject.set_stage("transform");
  reject.set_reason("unknown_kind");
  reject.set_detail(R"(kind is "hover")");
  reject.set_tries(1);
  reject.set_environment_id(7);
  reject.set_received_us(1795407508900000);
  reject.set_record(R"({"kind":"hover"})");
  return reject;
}

TEST(Payload, EncodesToTheGoldenBytes) {
  EXPECT_EQ(encode_payload_head(example_header()) + std::string(kExampleBody),
            golden("payload.bin"));
}

TEST(Payload, GoldenBytesReadBack) {
  const std::string record = golden("payload.bin");
  const auto payload = decode_payload(record);
  ASSERT_TRUE(payload);
  EXPECT_EQ(payload->body, kExampleBody);
  EXPECT_EQ(payload->header.SerializeAsString(), example_header().SerializeAsString());
}

TEST(Payload, ARecordThatEndsInItsHeaderIsDamage) {
  const std::string record = golden("payload.bin");
  const std::size_t head_bytes = record.size() - kExampleBody.size();
  for (std::size_t size = 0; size < head_bytes; ++size) {
    const auto payload = decode_payload(std::string_view(record).substr(0, size));
    ASSERT_FALSE(payload) << size;
    EXPECT_EQ(payload.error().kind, ErrorKind::DataLoss) << size;
  }
}

TEST(Payload, AHeaderSizeOverTheLimitIsDamage) {
  std::string record = golden("payload.bin");
  record[5] = 0x7f;
  const auto payload = decode_payload(record);
  ASSERT_FALSE(payload);
  EXPECT_EQ(payload.error().kind, ErrorKind::DataLoss);
}

TEST(Payload, HeaderFieldsOfALaterReleaseAreKept) {
  proto::PayloadHeader later = example_header();
  later.GetReflection()->MutableUnknownFields(&later)->AddVarint(900, 5);
  const auto payload = decode_payload(encode_payload_head(later));
  ASSERT_TRUE(payload);
  EXPECT_EQ(payload->header.SerializeAsString(), later.SerializeAsString());
}

TEST(Payload, IdentityIsEnvironmentAndPayloadId) {
  EXPECT_EQ(payload_identity(example_header()),
            std::string("\0\0\0\0\0\0\0\7", 8) + "270025a2-c710-4e80-9c14-bf8d18248706");
}

TEST(Payload, IdentityWithoutPayloadIdIsEnvironmentAndReceiptId) {
  proto::PayloadHeader header = example_header();
  header.clear_payload_id();
  EXPECT_EQ(payload_identity(header), std::string("\0\0\0\0\0\0\0\7", 8) + counting_bytes(0));
}

TEST(Payload, SlotIsTheLowerHalfOfXxh3OfTheIdentity) {
  // From Python's xxhash: xxh3_128_intdigest(identity) & (2**64 - 1), modulo 1024.
  proto::PayloadHeader header = example_header();
  EXPECT_EQ(slot_of_identity(payload_identity(header)), 1003u);
  EXPECT_EQ(partition_of_slot(1003, 16), 11u);
  header.clear_payload_id();
  EXPECT_EQ(slot_of_identity(payload_identity(header)), 609u);
}

TEST(Event, EncodesToTheGoldenBytes) {
  std::string record;
  encode_event(example_event(), record);
  EXPECT_EQ(record, golden("event.bin"));
}

TEST(Event, GoldenBytesReplaceWhatTheMessageHeld) {
  proto::Event event;
  event.set_url("left over");
  ASSERT_TRUE(decode_event(golden("event.bin"), event));
  EXPECT_EQ(event.SerializeAsString(), example_event().SerializeAsString());
}

TEST(Event, ARejectIsNotAnEvent) {
  proto::Event event;
  const auto result = decode_event(golden("reject.bin"), event);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::DataLoss);
}

TEST(Reject, EncodesToTheGoldenBytes) {
  std::string record;
  encode_reject(example_reject(), record);
  EXPECT_EQ(record, golden("reject.bin"));
}

TEST(Reject, GoldenBytesReadBack) {
  proto::Reject reject;
  ASSERT_TRUE(decode_reject(golden("reject.bin"), reject));
  EXPECT_EQ(reject.SerializeAsString(), example_reject().SerializeAsString());
}

TEST(Record, ANewerVersionIsRefusedWithASentence) {
  std::string record = golden("event.bin");
  record[1] = 2;
  proto::Event event;
  const auto result = decode_event(record, event);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::InvalidArgument);
  EXPECT_EQ(result.error().what,
            "record version 2 was written by a newer release; this one reads up to 1");
}

TEST(Record, ATickIsItsKindAndVersion) { EXPECT_EQ(tick_record(), "\2\1"); }

TEST(Record, KindsOfOtherTopicsAndEmptyRecordsHaveNoKindHere) {
  EXPECT_EQ(record_kind(tick_record()), RecordKind::Tick);
  EXPECT_EQ(record_kind(golden("payload.bin")), RecordKind::Payload);
  EXPECT_EQ(record_kind("\5\1"), std::nullopt);
  EXPECT_EQ(record_kind(""), std::nullopt);
}

TEST(Tick, TimeIsTheTicksOwnOrElseThatOfItsFrame) {
  EXPECT_EQ(tick_record(), std::string("\x02\x01", 2));
  EXPECT_EQ(tick_time(tick_record(), 77), 77);
  const std::string passed_on = tick_record(1'795'407'508'900'000);
  EXPECT_EQ(passed_on.size(), 10u);
  EXPECT_EQ(record_kind(passed_on), RecordKind::Tick);
  EXPECT_EQ(tick_time(passed_on, 77), 1'795'407'508'900'000);
}

}  // namespace
}  // namespace flagstream::events
