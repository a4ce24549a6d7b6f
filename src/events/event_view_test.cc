#include "events/event_view.h"

#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "events/test_event_view.h"

namespace flagstream::events {
namespace {

using Random = std::mt19937_64;

std::string golden() {
  std::ifstream in(FLAGSTREAM_SOURCE_DIR "/tests/golden/v1/event.bin", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::string text(Random& random) {
  constexpr std::string_view kPieces[] = {"a", "flag-", "\"", "\xc3\xa9", "\xf0\x9f\x98\x80", "{}"};
  std::string out;
  for (auto pieces = random() % 3 == 0 ? random() % 90 : random() % 4; pieces > 0; --pieces)
    out += kPieces[random() % std::size(kPieces)];
  return out;
}

// Few bits or many, either sign.
std::int64_t number(Random& random) {
  const auto magnitude = static_cast<std::int64_t>(random() >> (random() % 64));
  return random() % 4 == 0 ? -magnitude : magnitude;
}

// Sets each field with an even chance, by its type alone: a field added to the message is in it
// too.
void fill(google::protobuf::Message& message, Random& random) {
  using Field = google::protobuf::FieldDescriptor;
  const auto& fields = *message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const Field* field = message.GetDescriptor()->field(i);
    if (random() % 2 == 0) continue;
    if (field->is_repeated()) {
      for (auto count = random() % 4; count > 0; --count) {
        if (field->cpp_type() == Field::CPPTYPE_MESSAGE) {
          fill(*fields.AddMessage(&message, field), random);
        } else {
          fields.AddString(&message, field, text(random));
        }
      }
      continue;
    }
    switch (field->cpp_type()) {
      case Field::CPPTYPE_INT32:
        fields.SetInt32(&message, field, static_cast<std::int32_t>(number(random)));
        break;
      case Field::CPPTYPE_INT64:
        fields.SetInt64(&message, field, number(random));
        break;
      case Field::CPPTYPE_UINT32:
        fields.SetUInt32(&message, field, static_cast<std::uint32_t>(number(random)));
        break;
      case Field::CPPTYPE_UINT64:
        fields.SetUInt64(&message, field, static_cast<std::uint64_t>(number(random)));
        break;
      case Field::CPPTYPE_BOOL:
        fields.SetBool(&message, field, random() % 2 == 0);
        break;
      case Field::CPPTYPE_ENUM:
        fields.SetEnumValue(&message, field, static_cast<int>(random() % 15));
        break;
      case Field::CPPTYPE_STRING:
        fields.SetString(&message, field, text(random));
        break;
      case Field::CPPTYPE_MESSAGE:
        fill(*fields.MutableMessage(&message, field), random);
        break;
      default:
        FAIL() << "no event has fields of type " << field->cpp_type_name();
    }
  }
}

std::string random_record(Random& random) {
  proto::Event event;
  fill(event, random);
  event.mutable_source();  // every record has one
  std::string record;
  encode_event(event, record);
  return record;
}

TEST(EventView, GoldenBytesReadBackAndAreWrittenAgain) {
  const std::string record = golden();
  EventViewReader reader;
  const auto event = reader.read(record);
  ASSERT_TRUE(event);
  EXPECT_EQ((*event)->source.offset, 1000u);
  EXPECT_EQ((*event)->key, "flag-0");
  EXPECT_EQ((*event)->variation, 0);
  EXPECT_EQ((*event)->context_kinds.size(), 2u);
  EXPECT_EQ((*event)->sdk_version, "9.13.7");
  std::string again = "before";
  encode_event(**event, again);
  EXPECT_EQ(again, "before" + record);
}

TEST(EventView, EveryMemberIsWhatProtobufSays) {
  Random random(1);
  for (int i = 0; i < 3'000; ++i) ASSERT_TRUE(readers_agree(random_record(random))) << i;
}

TEST(EventView, EveryTruncationIsReadAsProtobufReadsIt) {
  Random random(2);
  for (int i = 0; i < 40; ++i) {
    const std::string record = random_record(random);
    for (std::size_t size = 0; size < record.size(); ++size)
      ASSERT_TRUE(readers_agree(std::string(record, 0, size))) << i << " " << size;
  }
}

TEST(EventView, DamagedBytesAreReadAsProtobufReadsThem) {
  Random random(3);
  for (int i = 0; i < 20'000; ++i) {
    std::string record = random_record(random);
    for (auto changes = 1 + random() % 3; changes > 0; --changes) {
      const std::size_t at = random() % record.size();
      switch (random() % 3) {
        case 0:
          record[at] = static_cast<char>(random());
          break;
        case 1:
          record.insert(at, 1, static_cast<char>(random() % 2 == 0 ? random() : random() | 128));
          break;
        default:
          record[at] = static_cast<char>(record[at] ^ (1 << (random() % 8)));
          break;
      }
    }
    ASSERT_TRUE(readers_agree(record)) << i;
  }
}

TEST(EventView, BytesOfAnyKindAfterAnEventAreReadAsProtobufReadsThem) {
  Random random(4);
  for (int i = 0; i < 50'000; ++i) {
    std::string record = golden();
    for (auto more = random() % 30; more > 0; --more)
      record += static_cast<char>(random() % 2 == 0 ? random() % 16 : random());
    ASSERT_TRUE(readers_agree(record)) << i;
  }
}

TEST(EventView, GroupsOfLaterReleasesArePassedOverAsDeepAsProtobufDoes) {
  for (int depth = 95; depth < 105; ++depth) {
    const std::string field_of_50 = "\x93\x03";
    const std::string end_of_50 = "\x94\x03";
    std::string record = golden();
    for (int i = 0; i < depth; ++i) record += field_of_50;
    for (int i = 0; i < depth; ++i) record += end_of_50;
    EXPECT_TRUE(readers_agree(record)) << depth;
  }
}

TEST(EventView, LongVarintsAreReadAsProtobufReadsThem) {
  for (const std::string_view tag : {"\x10", "\x18", "\x38", "\xb0\x01", "\xe0\x01", "\x98\x06"}) {
    for (std::size_t size = 1; size < 13; ++size) {
      for (const char last : {'\0', '\1', '\x7f'}) {
        const std::string value = std::string(size - 1, '\xff') + last;
        EXPECT_TRUE(readers_agree(golden() + std::string(tag) + value)) << size;
        EXPECT_TRUE(readers_agree(golden() + value + "\1")) << size;
        EXPECT_TRUE(readers_agree(golden() + "\x32" + std::string(size - 1, '\x80') + last + "abc"))
            << size;
      }
    }
  }
}

TEST(EventView, AnErrorSaysWhatTheOtherReaderSays) {
  EventViewReader reader;
  std::string record = golden();
  record[1] = 2;
  const auto newer = reader.read(record);
  ASSERT_FALSE(newer);
  EXPECT_EQ(newer.error().kind, ErrorKind::InvalidArgument);
  const auto damaged = reader.read(std::string("\3\1\x32\x05xx", 6));
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().kind, ErrorKind::DataLoss);
  EXPECT_EQ(damaged.error().what, "record cannot be read as Protobuf");
}

}  // namespace
}  // namespace flagstream::events
