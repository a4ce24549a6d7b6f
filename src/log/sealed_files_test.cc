// What becomes of files that nothing is appended to any more.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/memory_file_system.h"
#include "log/caretaker.h"
#include "log/local_reader.h"
#include "log/segment_index.h"
#include "log/segment_search.h"
#include "log/test_local_log.h"
#include "log/topic_writer.h"

namespace flagstream::log {
namespace {

// A topic with three files, the last of which is active, and what takes care of it.
class SealedFilesTest : public LocalLogTest {
 protected:
  void SetUp() override {
    LocalLogTest::SetUp();
    settings_ = {.folder = folder_ + "/t",
                 .segment_bytes = kSegmentBytes,
                 .pool_segments = 0,
                 .options = {.partitions = 2, .retention = std::chrono::hours(1)}};
    start();
    for (int i = 0; i < 100 || writer_->page().last_sequence < 3; ++i) {
      write(i % 2, std::to_string(i));
      clock_.advance(kMicrosPerSecond);
    }
  }
  void start() {
    caretaker_.reset();
    writer_.reset();
    auto opened = TopicWriter::open(settings_, files_, clock_);
    ASSERT_TRUE(opened) << opened.error().what;
    writer_ = *std::move(opened);
    caretaker_.emplace(settings_.folder, 2, writer_->quarantine(), files_, clock_);
  }
  void write(Partition partition, std::string record) {
    record.resize(800, ' ');
    std::vector<TopicWriter::Pending> one(1);
    one[0].partition = partition;
    one[0].batch.add({record});
    writer_->write(one);
    ASSERT_TRUE(one[0].outcome);
  }
  void flip(const std::string& path, std::uint64_t at) {
    const std::string was = contents(path).substr(at, 1);
    overwrite(path, at, std::string(1, static_cast<char>(was[0] ^ 1)));
  }
  void scrub_all() { caretaker_->scrub(4 * kSegmentBytes); }

  io::FileSystem& files_ = io::posix_file_system();
  TopicSettings settings_;
  std::unique_ptr<TopicWriter> writer_;
  std::optional<Caretaker> caretaker_;
  const std::uint64_t first_frame_ = segment_header_bytes(2);
};

TEST_F(SealedFilesTest, TheScrubFindsDamageWhichIsKnownUntilRetentionTakesTheFile) {
  scrub_all();
  EXPECT_EQ(writer_->quarantine().bytes(), 0u);
  flip(file(1), first_frame_ + 100);
  scrub_all();
  const std::uint64_t frame_bytes = kFrameHeaderBytes + 4 + 800 + 4;
  EXPECT_EQ(writer_->quarantine().bytes(), frame_bytes);
  start();
  EXPECT_EQ(writer_->quarantine().bytes(), frame_bytes);
  clock_.advance(2 * kMicrosPerHour);
  ASSERT_TRUE(writer_->expire());
  clock_.advance(2 * kMicrosPerHour);
  ASSERT_TRUE(writer_->expire()) << "such a jump is doubted at first";
  EXPECT_EQ(writer_->quarantine().bytes(), 0u);
  EXPECT_FALSE(files_.exists(index_path(settings_.folder, 1)));
}

TEST_F(SealedFilesTest, AFileThatWasDamagedIsNotUsedAgain) {
  settings_.pool_segments = 8;
  start();
  flip(file(1), first_frame_ + 100);
  scrub_all();
  clock_.advance(2 * kMicrosPerHour);
  ASSERT_TRUE(writer_->expire());
  clock_.advance(2 * kMicrosPerHour);
  ASSERT_TRUE(writer_->expire()) << "such a jump is doubted at first";
  ASSERT_EQ(writer_->page().first_sequence, writer_->page().last_sequence);
  const auto names = *files_.list(settings_.folder);
  const auto is_ready = [](const std::string& name) { return name.starts_with("pool-"); };
  EXPECT_EQ(std::ranges::count_if(names, is_ready), writer_->page().last_sequence - 2)
      << "all but the last and the damaged one";
}

TEST_F(SealedFilesTest, AFileThatWasCutShortIsDamaged) {
  std::filesystem::resize_file(file(1), kSegmentBytes / 2);
  scrub_all();
  EXPECT_GT(writer_->quarantine().bytes(), kSegmentBytes / 3);
}

TEST_F(SealedFilesTest, TheScrubMakesAnIndexAgainThatIsMissingOrDamaged) {
  const std::string path = index_path(settings_.folder, 1);
  const std::string before = contents(path);
  ASSERT_TRUE(SegmentIndex::decode(before));
  ASSERT_TRUE(files_.remove(path));
  scrub_all();
  EXPECT_EQ(contents(path), before);
  flip(path, before.size() - 1);
  scrub_all();
  EXPECT_EQ(contents(path), before);
}

TEST_F(SealedFilesTest, ADamagedHeaderCostsNothingWhileTheIndexHasACopy) {
  const auto before = all(*reader({{0, 0}, {1, 0}}));
  flip(file(2), 40);
  EXPECT_EQ(all(*reader({{0, 0}, {1, 0}})), before);
  start();
  EXPECT_EQ(all(*reader({{0, 0}, {1, 0}})), before);
  scrub_all();
  EXPECT_EQ(writer_->quarantine().bytes(), first_frame_) << "it is damage all the same";
}

TEST_F(SealedFilesTest, AFileWithoutHeaderAndIndexIsQuarantinedAndTheRestIsServed) {
  flip(file(2), 40);
  ASSERT_TRUE(files_.remove(index_path(settings_.folder, 2)));
  start();
  EXPECT_EQ(writer_->quarantine().bytes(), kSegmentBytes);
  const auto lines = all(*reader({{0, 0}}));
  const auto third = read_segment_header(files_, settings_.folder, 3, 2)->partitions[0].end;
  EXPECT_EQ(std::ranges::count(lines, "0!damage>" + std::to_string(third)), 1);
  EXPECT_EQ(lines.back().substr(0, 5),
            "0:" + std::to_string(writer_->page().partitions[0].end - 1) + "=");
  write(0, "goes on");
  EXPECT_EQ(all(*reader({{0, third}})).back().substr(5), "goes on ");
}

TEST_F(SealedFilesTest, AMissingFileIsQuarantinedAndTheRestIsServed) {
  ASSERT_TRUE(files_.remove(file(2)));
  start();
  EXPECT_GT(writer_->quarantine().bytes(), 0u);
  const auto third = read_segment_header(files_, settings_.folder, 3, 2)->partitions[0].end;
  EXPECT_EQ(std::ranges::count(all(*reader({{0, 0}})), "0!damage>" + std::to_string(third)), 1);
}

TEST_F(SealedFilesTest, WhatAReaderFindsIsCheckedNextAndRecorded) {
  flip(file(1), first_frame_ + 100);
  all(*reader({{0, 0}}));
  const std::string note = folder_ + "/t/0000000000000001.suspect";
  EXPECT_TRUE(files_.exists(note));
  EXPECT_GT(caretaker_->scrub(kSegmentBytes, true), 0u);
  EXPECT_GT(writer_->quarantine().bytes(), 0u);
  EXPECT_FALSE(files_.exists(note));
  all(*reader({{0, 0}}));
  EXPECT_EQ(caretaker_->scrub(kSegmentBytes, true), 0u) << "it is known";
  EXPECT_FALSE(files_.exists(note));
}

TEST_F(SealedFilesTest, PlacesAreFoundWithAndWithoutIndexes) {
  for (const bool with_indexes : {true, false}) {
    if (!with_indexes) {
      ASSERT_TRUE(files_.remove(index_path(settings_.folder, 1)));
      ASSERT_TRUE(files_.remove(index_path(settings_.folder, 2)));
    }
    const Offset end = writer_->page().partitions[1].end;
    for (Offset offset = 0; offset < end; offset += 7) {
      const auto lines = all(*reader({{1, offset}}));
      ASSERT_EQ(lines.size(), end - offset);
      EXPECT_EQ(lines[0].substr(0, lines[0].find(' ')),
                "1:" + std::to_string(offset) + "=" + std::to_string(2 * offset + 1));
      EXPECT_EQ(
          *log_->position_at(
              "t", 1,
              1'700'000'000'000'000 + static_cast<std::int64_t>(2 * offset + 1) * kMicrosPerSecond),
          offset);
    }
  }
}

// Files of many index entries; partition 1 is rare.
TEST(SegmentSearch, FindsEveryPlaceInFilesOfManyIndexEntries) {
  io::MemoryFileSystem disk;
  FakeClock clock(1'700'000'000'000'000);
  const MicrosUtc start = clock.now();
  const TopicSettings settings{
      .folder = "t", .segment_bytes = 512 << 10, .pool_segments = 0, .options = {.partitions = 2}};
  const auto writer = *TopicWriter::open(settings, disk, clock);
  std::vector<MicrosUtc> times[2];
  for (int i = 0; i < 1500; ++i) {
    std::vector<TopicWriter::Pending> one(1);
    one[0].partition = i % 200 == 150 ? 1 : 0;
    one[0].batch.add({std::to_string(times[one[0].partition].size()) + std::string(900, ' ')});
    writer->write(one);
    times[one[0].partition].push_back(clock.now());
    clock.advance(kMicrosPerSecond);
  }
  ASSERT_EQ(writer->page().last_sequence, 3u);
  const auto index = read_index(disk, "t", 1);
  ASSERT_TRUE(index);
  const Start late[] = {{0, index->footer().ends[0] - 1}};
  EXPECT_GT(index->position_before(late), index->footer().end - (66 << 10));
  for (Partition p = 0; p < 2; ++p) {
    for (Offset offset = 0; offset < times[p].size(); offset += p == 0 ? 37 : 1) {
      const Start wanted[] = {{p, offset}};
      const auto reader = *LocalReader::open(disk, "t", Id128{}, wanted);
      const auto fetched = reader->next(1, std::chrono::milliseconds(0));
      ASSERT_EQ(fetched->status, Fetched::Status::Frames);
      EXPECT_EQ(fetched->frames[0].base_offset, offset);
      EXPECT_EQ(fetched->frames[0].records[0].substr(0, std::to_string(offset).size() + 1),
                std::to_string(offset) + " ");
      EXPECT_EQ(*find_time(disk, "t", writer->page(), p, times[p][offset]), offset);
      EXPECT_EQ(*find_time(disk, "t", writer->page(), p, times[p][offset] + 1), offset + 1);
    }
    EXPECT_EQ(*find_time(disk, "t", writer->page(), p, start - 1), 0u);
  }
}

}  // namespace
}  // namespace flagstream::log
