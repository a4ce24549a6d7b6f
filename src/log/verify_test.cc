#include "log/verify.h"

#include <gtest/gtest.h>

#include "io/faulty_file_system.h"
#include "io/memory_file_system.h"
#include "log/segment_format.h"
#include "log/topic_writer.h"

namespace flagstream::log {
namespace {

constexpr char kFolder[] = "log/t";
constexpr std::uint64_t kSegmentBytes = 16 << 10;
constexpr std::uint64_t kFrameBytes = 1072;  // of one record of 1000 bytes

class VerifyTest : public testing::Test {
 protected:
  VerifyTest() {
    writer_ = *TopicWriter::open({.folder = kFolder,
                                  .segment_bytes = kSegmentBytes,
                                  .pool_segments = 0,
                                  .reserve_bytes = 0,
                                  .options = {.partitions = 2}},
                                 disk_, clock_);
    for (int i = 0; i < 30; ++i) {
      TopicWriter::Pending pending{.partition = static_cast<Partition>(i % 2), .batch = {}};
      pending.batch.add({std::string(1000, 'x')});
      writer_->write(std::span(&pending, 1));
    }
  }
  void flip(std::uint64_t sequence, std::uint64_t at) {
    const auto file = disk_.open(segment_path(kFolder, sequence), io::OpenMode::ReadWrite);
    std::string byte(1, '\0');
    ASSERT_EQ(*(*file)->read_at(at, byte), 1u);
    byte[0] = static_cast<char>(byte[0] ^ 1);
    const std::string_view parts[] = {byte};
    ASSERT_TRUE((*file)->write_at(at, parts));
  }
  Verified verify() {
    auto done = verify_topic(disk_, kFolder);
    if (!done) ADD_FAILURE() << done.error().what;
    return done ? *std::move(done) : Verified{};
  }

  io::MemoryFileSystem disk_;
  FakeClock clock_{1'700'000'000'000'000};
  std::unique_ptr<TopicWriter> writer_;
};

TEST_F(VerifyTest, AWholeTopicIsWhole) {
  const Verified found = verify();
  EXPECT_TRUE(found.is_whole());
  EXPECT_EQ(found.files, 3u);
  EXPECT_EQ(found.records, 30u);
  EXPECT_EQ(found.bytes, 30 * kFrameBytes);
}

TEST_F(VerifyTest, AnyFlippedBitIsFoundWithItsPlaceAndItsOffsets) {
  const std::uint64_t second = kPageBytes + kFrameBytes;  // frame, of partition 1
  for (const std::uint64_t within : {0ul, 20ul, kFrameHeaderBytes, kFrameHeaderBytes + 700}) {
    flip(1, second + within);
    const Verified found = verify();
    ASSERT_EQ(found.damages.size(), 1u) << within;
    EXPECT_EQ(found.damages[0].file, "0000000000000001.seg");
    EXPECT_EQ(found.damages[0].at, second);
    EXPECT_EQ(found.damages[0].bytes, kFrameBytes);
    ASSERT_EQ(found.missing.size(), 1u);
    EXPECT_EQ(found.missing[0].partition, 1u);
    EXPECT_EQ(found.missing[0].begin, 0u);
    EXPECT_EQ(found.missing[0].end, 1u);
    EXPECT_EQ(found.records, 29u);
    flip(1, second + within);
  }
  EXPECT_TRUE(verify().is_whole());
}

TEST_F(VerifyTest, TheLastFrameOfTheTopicIsCheckedToo) {
  flip(3, writer_->page().durable_end - 100);
  const Verified found = verify();
  ASSERT_EQ(found.damages.size(), 1u);
  EXPECT_EQ(found.damages[0].at + found.damages[0].bytes, writer_->page().durable_end);
  ASSERT_EQ(found.missing.size(), 1u);
  EXPECT_EQ(found.missing[0].end, 15u);
}

TEST_F(VerifyTest, ADamagedHeaderCostsItsFile) {
  flip(2, 20);
  const Verified found = verify();
  ASSERT_EQ(found.damages.size(), 1u);
  EXPECT_EQ(found.damages[0].file, "0000000000000002.seg");
  EXPECT_EQ(found.damages[0].bytes, kSegmentBytes);
  EXPECT_EQ(found.missing.size(), 2u);  // of both partitions
}

TEST_F(VerifyTest, AFileThatIsMissingOrCutShortIsDamageLikeAnyOther) {
  ASSERT_TRUE(disk_.remove(segment_path(kFolder, 1)));
  const std::uint64_t rest = kPageBytes + 2 * kFrameBytes + 100;
  ASSERT_TRUE((*disk_.open(segment_path(kFolder, 2), io::OpenMode::ReadWrite))->truncate(rest));
  const Verified found = verify();
  ASSERT_EQ(found.damages.size(), 2u);
  EXPECT_EQ(found.damages[0].file, "0000000000000001.seg");
  EXPECT_EQ(found.damages[0].bytes, 0u);
  EXPECT_EQ(found.damages[1].file, "0000000000000002.seg");
  EXPECT_EQ(found.damages[1].at, kPageBytes + 2 * kFrameBytes);
  EXPECT_EQ(found.missing.size(), 4u) << "in each file, of both partitions";
  EXPECT_EQ(found.records, 30u - 11 - 9);
}

TEST_F(VerifyTest, WhatTheDiskCannotReadIsDamage) {
  io::FaultyFileSystem files(disk_);
  // The identity, the control page, a header, and then the frames: as a whole, then page by page.
  files.fail({.call = io::Call::Read, .first = 4, .count = 2});
  const auto found = verify_topic(files, kFolder);
  ASSERT_TRUE(found) << found.error().what;
  EXPECT_TRUE(files.has_failed());
}

TEST_F(VerifyTest, WhatFollowsTheDurableEndIsNobodysBusiness) {
  flip(3, writer_->page().durable_end + 100);
  EXPECT_TRUE(verify().is_whole());
}

TEST_F(VerifyTest, ATopicThatIsNotThereIsNotFound) {
  EXPECT_EQ(verify_topic(disk_, "log/nothing").error().kind, ErrorKind::NotFound);
}

}  // namespace
}  // namespace flagstream::log
