#include "log/segment_format.h"

#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

namespace flagstream::log {
namespace {

constexpr MicrosUtc kTime = 1795407508900000;
constexpr Id128 kLogId = {0x0001020304050607, 0x08090a0b0c0d0e0f};
constexpr std::uint64_t kSegmentId = 0x1122334455667788;

// The worked examples of docs/formats/log.md; made by a script that shares no code with this.
std::string golden(const std::string& name) {
  std::ifstream in(FLAGSTREAM_SOURCE_DIR "/tests/golden/v1/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

SegmentHeader example_header() {
  return {.log_id = kLogId,
          .segment_id = kSegmentId,
          .sequence = 3,
          .previous_end = 8192,
          .created = kTime,
          .first_group = 42,
          .partitions = {{100, 90, kTime - 900'000}, {7, 7, kTime - 1'900'000}}};
}

TEST(SegmentFormat, ASegmentFileMatchesTheGoldenBytes) {
  const std::string bytes = golden("segment.bin");
  ASSERT_EQ(bytes.size(), 4192u);
  EXPECT_EQ(encode_segment_header(example_header()), bytes.substr(0, kPageBytes));
  const std::string payload("\x0c\0\0\0first record\x06\0\0\0second", 26);
  std::string frame;
  encode_frame_header({.payload_bytes = 26,
                       .payload_crc = payload_checksum(payload, kSegmentId),
                       .base_offset = 7,
                       .append_time = kTime,
                       .group = 42,
                       .partition = 1,
                       .records = 2,
                       .is_last_in_group = true,
                       .is_tick = false},
                      kSegmentId, frame);
  frame += payload;
  frame.resize(96);
  EXPECT_EQ(frame, bytes.substr(kPageBytes));
}

TEST(SegmentFormat, TheGoldenBytesAreRead) {
  const std::string bytes = golden("segment.bin");
  const auto header = decode_segment_header(bytes);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->log_id, kLogId);
  EXPECT_EQ(header->segment_id, kSegmentId);
  EXPECT_EQ(header->sequence, 3u);
  EXPECT_EQ(header->previous_end, 8192u);
  EXPECT_EQ(header->created, kTime);
  EXPECT_EQ(header->first_group, 42u);
  ASSERT_EQ(header->partitions.size(), 2u);
  EXPECT_EQ(header->partitions[0].data_end, 90u);
  EXPECT_EQ(header->partitions[1].last_append, kTime - 1'900'000);
  const std::string_view frame_bytes = std::string_view(bytes).substr(kPageBytes);
  const auto frame = decode_frame(frame_bytes, kSegmentId);
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->base_offset, 7u);
  EXPECT_EQ(frame->append_time, kTime);
  EXPECT_EQ(frame->group, 42u);
  EXPECT_EQ(frame->partition, 1u);
  EXPECT_TRUE(frame->is_last_in_group);
  EXPECT_FALSE(frame->is_tick);
  EXPECT_EQ(frame->stored_bytes(), 96u);
  std::vector<std::string_view> records;
  ASSERT_TRUE(split_records(frame_bytes.substr(kFrameHeaderBytes, 26), frame->records, records));
  EXPECT_EQ(records, (std::vector<std::string_view>{"first record", "second"}));
  EXPECT_FALSE(decode_frame(frame_bytes, kSegmentId + 1)) << "of another life of the file";
}

TEST(SegmentFormat, NoFlippedBitOfAFrameIsAccepted) {
  const std::string frame = golden("segment.bin").substr(kPageBytes, kFrameHeaderBytes + 26);
  for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
    std::string bad = frame;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(decode_frame(bad, kSegmentId)) << bit;
  }
}

TEST(SegmentFormat, TheTopicFileMatchesTheGoldenBytes) {
  const std::string bytes = golden("topic.bin");
  EXPECT_EQ(encode_topic_identity({.log_id = kLogId, .partitions = 2}), bytes);
  const auto identity = decode_topic_identity(bytes);
  ASSERT_TRUE(identity);
  EXPECT_EQ(identity->log_id, kLogId);
  EXPECT_EQ(identity->partitions, 2u);
}

TEST(SegmentFormat, TheControlPageMatchesTheGoldenBytes) {
  const std::string bytes = golden("control.bin");
  const auto page = decode_control_page(bytes);
  ASSERT_TRUE(page);
  EXPECT_EQ(page->log_id, kLogId);
  EXPECT_EQ(page->first_sequence, 1u);
  EXPECT_EQ(page->last_sequence, 3u);
  EXPECT_EQ(page->durable_end, 4192u);
  EXPECT_EQ(page->durable_group, 42u);
  EXPECT_FALSE(page->is_poisoned);
  ASSERT_EQ(page->partitions.size(), 2u);
  EXPECT_EQ(page->partitions[1].end, 9u);
  EXPECT_EQ(page->partitions[1].last_append, kTime);
  EXPECT_EQ(encode_control_page(*page), bytes);
}

TEST(SegmentFormat, ANewerVersionIsRefusedWithASentence) {
  std::string header = golden("segment.bin");
  header[4] = 3;
  EXPECT_EQ(decode_segment_header(header).error().kind, ErrorKind::InvalidArgument);
  EXPECT_EQ(decode_segment_header(header).error().what,
            "segment header has version 3, this release reads up to 2");
  std::string topic = golden("topic.bin");
  topic[4] = 2;
  EXPECT_EQ(decode_topic_identity(topic).error().kind, ErrorKind::InvalidArgument);
}

TEST(SegmentFormat, DamagedHeadersAreDataLoss) {
  const std::string header = golden("segment.bin").substr(0, 136);
  for (std::size_t n = 0; n < header.size(); ++n)
    EXPECT_EQ(decode_segment_header(header.substr(0, n)).error().kind, ErrorKind::DataLoss) << n;
  for (std::size_t at = 8; at < header.size(); ++at) {
    std::string bad = header;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    EXPECT_EQ(decode_segment_header(bad).error().kind, ErrorKind::DataLoss) << at;
  }
}

}  // namespace
}  // namespace flagstream::log
