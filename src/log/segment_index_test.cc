#include "log/segment_index.h"

#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "io/memory_file_system.h"
#include "log/quarantine.h"
#include "log/segment_scan.h"
#include "log/topic_writer.h"
#include "log/watermark.h"

namespace flagstream::log {
namespace {

constexpr MicrosUtc kTime = 1795407508900000;
constexpr std::uint64_t kSegmentId = 0x1122334455667788;

// The worked examples of docs/formats/log.md; made by a script that shares no code with this.
std::string golden(const std::string& name) {
  std::ifstream in(FLAGSTREAM_SOURCE_DIR "/tests/golden/v1/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

SegmentIndex example() {
  SegmentIndex index(*decode_segment_header(golden("segment.bin")));
  FrameHeader first{.payload_bytes = 26,
                    .payload_crc = 0xaaf4b1c2,
                    .base_offset = 7,
                    .append_time = kTime,
                    .group = 42,
                    .partition = 1,
                    .records = 2,
                    .is_last_in_group = true};
  FrameHeader second{.payload_bytes = 40,
                     .payload_crc = 0x01020304,
                     .base_offset = 100,
                     .append_time = kTime + 1'000'000,
                     .group = 43,
                     .partition = 0,
                     .records = 3,
                     .is_last_in_group = true};
  std::string bytes;
  encode_frame_header(first, kSegmentId, bytes);
  index.add(first, bytes, kPageBytes);
  bytes.clear();
  encode_frame_header(second, kSegmentId, bytes);
  index.add(second, bytes, 69'640);
  return index;
}

TEST(SegmentIndex, MatchesTheGoldenBytes) {
  EXPECT_EQ(example().encode(), golden("index.bin"));
  const auto index = SegmentIndex::decode(golden("index.bin"));
  ASSERT_TRUE(index);
  EXPECT_EQ(index->header().sequence, 3u);
  EXPECT_EQ(index->footer().end, 69'744u);
  EXPECT_EQ(index->footer().frames, 2u);
  EXPECT_EQ(index->footer().records, 5u);
  EXPECT_EQ(index->footer().last_group, 43u);
  EXPECT_EQ(index->footer().first_append, kTime);
  EXPECT_EQ(index->footer().last_append, kTime + 1'000'000);
  EXPECT_EQ(index->footer().ends, (std::vector<Offset>{103, 9}));
  EXPECT_EQ(index->encode(), golden("index.bin"));
}

TEST(SegmentIndex, NeitherATruncatedNorAFlippedOneIsTaken) {
  const std::string whole = golden("index.bin");
  for (std::size_t n = kPageBytes; n < whole.size(); ++n)
    EXPECT_FALSE(SegmentIndex::decode(whole.substr(0, n))) << n;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    if (at >= 136 && at < kPageBytes) continue;  // the zeros behind the header say nothing
    std::string bad = whole;
    bad[at] = static_cast<char>(bad[at] ^ 4);
    EXPECT_FALSE(SegmentIndex::decode(bad)) << at;
  }
}

TEST(SegmentIndex, SaysWhereToBegin) {
  const SegmentIndex index = example();
  const auto before = [&](Offset of_0, Offset of_1) {
    const Start wanted[] = {{0, of_0}, {1, of_1}};
    return index.position_before(wanted);
  };
  EXPECT_EQ(before(0, 0), kPageBytes);
  EXPECT_EQ(before(200, 8), kPageBytes) << "offset 8 of partition 1 is in the first frame";
  EXPECT_EQ(before(0, 9), 69'640u);
  EXPECT_EQ(before(200, 200), 69'640u);
}

TEST(SegmentIndex, SaysWhatToLookThroughForATime) {
  const SegmentIndex index = example();
  const auto early = index.around(1, kTime);
  EXPECT_EQ(early.begin, kPageBytes);
  EXPECT_EQ(early.end, 69'640u);
  EXPECT_EQ(early.next, 9u);
  const auto late = index.around(1, kTime + 2'000'000);
  EXPECT_EQ(late.begin, 69'640u);
  EXPECT_EQ(late.end, 69'744u);
  EXPECT_EQ(late.next, 9u);
  EXPECT_EQ(index.around(0, kTime).next, 100u) << "its first frame is behind the entry";
}

TEST(SegmentScan, NothingIsWrittenBehindAFrameWhosePaddingIsCut) {
  const std::string whole = golden("segment.bin");
  for (const std::size_t cut : {0u, 6u}) {
    io::MemoryFileSystem disk;
    const auto file = *disk.open("t", io::OpenMode::Create);
    const std::string_view parts[] = {std::string_view(whole).substr(0, whole.size() - cut)};
    ASSERT_TRUE(file->write_at(0, parts));
    ASSERT_TRUE(file->sync());
    SegmentScan scan(*decode_segment_header(whole), SegmentScan::Kind::Active, parts[0].size());
    scan.run(*file);
    EXPECT_EQ(scan.partitions()[1].end, 9u);
    EXPECT_EQ(scan.end(), whole.size());
    EXPECT_EQ(scan.is_clean(), cut == 0);
  }
}

// Of one partition, in files that are soon full.
TopicSettings small_topic() {
  return {.folder = "t", .segment_bytes = 16 << 10, .options = {.partitions = 1}};
}

// Else the offsets of its other frames, which readers have seen, would be given out again.
TEST(SegmentScan, OfADamagedGroupTheWholeFramesStillCount) {
  io::MemoryFileSystem disk;
  FakeClock clock(kTime);
  const TopicSettings settings = small_topic();
  auto writer = *TopicWriter::open(settings, disk, clock);
  for (int group = 0; group < 2; ++group) {
    std::vector<TopicWriter::Pending> two(2);
    for (TopicWriter::Pending& each : two) each.batch.add({std::string(400, 'x')});
    writer->write(two);
    ASSERT_TRUE(two[1].outcome);
  }
  writer.reset();
  disk.flip_bit(segment_path("t", 1), (kPageBytes + kFrameHeaderBytes + 100) * 8);
  writer = *TopicWriter::open(settings, disk, clock);
  EXPECT_EQ(writer->page().partitions[0].end, 4u);
  EXPECT_EQ(writer->quarantine().bytes(), 472u) << "one frame";
}

TEST(SegmentScan, WithoutTheLastHeaderTheFileBeforeSaysUpToWhereThereAreOffsets) {
  io::MemoryFileSystem disk;
  FakeClock clock(kTime);
  const TopicSettings settings = small_topic();
  auto writer = *TopicWriter::open(settings, disk, clock);
  Offset in_first = 0;
  while (writer->page().last_sequence == 1) {
    in_first = writer->page().partitions[0].end;
    std::vector<TopicWriter::Pending> one(1);
    one[0].batch.add({std::string(3'000, 'x')});
    writer->write(one);
    ASSERT_TRUE(one[0].outcome);
  }
  writer.reset();
  disk.flip_bit(segment_path("t", 2), 100 * 8);
  ASSERT_TRUE(disk.remove(control_path("t")));
  writer = *TopicWriter::open(settings, disk, clock);
  EXPECT_EQ(writer->page().partitions[0].end, in_first);
  EXPECT_GT(writer->quarantine().bytes(), 0u);
}

TEST(Quarantine, MatchesTheGoldenBytes) {
  const auto ranges = decode_quarantine(golden("quarantine.bin"));
  ASSERT_TRUE(ranges);
  ASSERT_EQ(ranges->size(), 2u);
  EXPECT_EQ((*ranges)[0].sequence, 3u);
  EXPECT_EQ((*ranges)[0].range, (DamagedRange{4096, 4192}));
  EXPECT_EQ((*ranges)[1].sequence, 5u);
  EXPECT_EQ((*ranges)[1].found, kTime + 1'000'000);
  EXPECT_EQ(encode_quarantine(*ranges), golden("quarantine.bin"));
  for (std::size_t n = 0; n < golden("quarantine.bin").size(); ++n)
    EXPECT_FALSE(decode_quarantine(golden("quarantine.bin").substr(0, n))) << n;
}

TEST(Quarantine, JoinsRangesSurvivesARestartAndForgetsWithRetention) {
  io::MemoryFileSystem disk;
  const auto add = [](Quarantine& to, std::uint64_t sequence, DamagedRange range) {
    return to.add(sequence, std::span(&range, 1), kTime);
  };
  {
    Quarantine quarantine(disk, "t");
    EXPECT_EQ(add(quarantine, 2, {100, 200}), 100u);
    EXPECT_EQ(add(quarantine, 2, {150, 300}), 100u) << "half of it was known";
    EXPECT_EQ(add(quarantine, 2, {100, 300}), 0u);
    EXPECT_EQ(add(quarantine, 4, {0, 8}), 8u);
    ASSERT_TRUE(quarantine.save());
  }
  std::mt19937_64 random(1);
  const auto after = disk.crash(random);
  Quarantine quarantine(*after, "t");
  EXPECT_EQ(quarantine.bytes(), 208u);
  EXPECT_TRUE(quarantine.holds(4));
  quarantine.forget_before(3);
  EXPECT_EQ(quarantine.bytes(), 8u);
  EXPECT_FALSE(quarantine.holds(2));
}

TEST(Watermark, ATornSlotLeavesTheOneBefore) {
  io::MemoryFileSystem disk;
  ControlPage page;
  page.partitions.resize(16);  // two sectors
  for (std::uint64_t group = 1; group <= 5; ++group) {
    page.durable_group = group;
    auto watermark = Watermark::open(disk, "t", page.partitions.size());
    ASSERT_TRUE(watermark->write(page));
  }
  EXPECT_EQ(Watermark::open(disk, "t", 16)->page()->durable_group, 5u);
  disk.flip_bit("t/watermark", 8 * (4096 + 100));
  disk.flip_bit("t/watermark", 8 * 100);
  EXPECT_FALSE(Watermark::open(disk, "t", 16)->page());
  disk.flip_bit("t/watermark", 8 * (4096 + 100));
  EXPECT_EQ(Watermark::open(disk, "t", 16)->page()->durable_group, 4u);
}

}  // namespace
}  // namespace flagstream::log
