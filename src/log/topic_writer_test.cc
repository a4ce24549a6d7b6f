#include "log/topic_writer.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "io/faulty_file_system.h"
#include "io/memory_file_system.h"
#include "log/local_reader.h"

namespace flagstream::log {
namespace {

constexpr std::uint64_t kSegmentBytes = 12 << 10;
constexpr char kFolder[] = "log/t";

class TopicWriterTest : public testing::Test {
 protected:
  void open() { open(disk); }
  void open(io::FileSystem& files) {
    auto opened = TopicWriter::open(settings, files, clock);
    ASSERT_TRUE(opened) << opened.error().what;
    writer = *std::move(opened);
  }
  std::string write(std::string_view record = "x") { return write(*writer, record); }
  static std::string write(TopicWriter& to, std::string_view record) {
    std::vector<TopicWriter::Pending> one(1);
    one[0].batch.add({record});
    to.write(one);
    return one[0].outcome ? "stored" : std::string(to_string(one[0].outcome.error().kind));
  }
  void write_until_file(std::uint64_t sequence) {
    while (writer->page().last_sequence < sequence)
      ASSERT_EQ(write(std::string(3000, 'x')), "stored");
  }
  // What the disk had not synced may be lost; the writer does not get to end before.
  void lose_power() {
    std::mt19937_64 random(1);
    after = disk.crash(random);
    writer.reset();
    open(*after);
  }

  io::MemoryFileSystem disk;
  FakeClock clock{1'700'000'000'000'000};
  TopicSettings settings{.folder = kFolder,
                         .segment_bytes = kSegmentBytes,
                         .pool_segments = 0,
                         .options = {.partitions = 1}};
  std::unique_ptr<io::MemoryFileSystem> after;
  std::unique_ptr<TopicWriter> writer;
};

// What is not synced is never more than a MiB: syncs of others would wait for it.
TEST(MakeReadyFile, SyncsEachMebibyte) {
  io::MemoryFileSystem disk;
  int changes = 0;
  disk.before_change = [&] { ++changes; };
  ASSERT_TRUE(make_ready_file(disk, "ready", (2 << 20) + 5));
  EXPECT_EQ(changes, 1 + 3 * 2) << "it is created, then three pieces are written and synced";
  disk.before_change = nullptr;
  EXPECT_EQ(*disk.read_file("ready"), std::string((2 << 20) + 5, '\0'));
}

TEST_F(TopicWriterTest, AFailedSyncEndsTheWriterAndLosesNothingThatWasAcknowledged) {
  open();
  EXPECT_EQ(write(), "stored");
  disk.fail_next_sync = true;
  EXPECT_EQ(write(), "Indeterminate");
  EXPECT_TRUE(writer->is_poisoned());
  EXPECT_EQ(write(), "Unavailable") << "a sync is never tried again";
  lose_power();
  EXPECT_EQ(writer->page().partitions[0].end, 1u);
  EXPECT_EQ(write(), "stored");
}

// Whole pages, or each group in a file that was written long ago would wait for a read.
TEST_F(TopicWriterTest, WhatFollowsAGroupInItsPageBecomesZeros) {
  settings.segment_bytes = 64 << 10;
  open();
  const std::string path = segment_path(kFolder, 1);
  const std::string_view former[] = {"the former life of the file"};
  for (const std::uint64_t at : {8190, 8193, 16'384})
    ASSERT_TRUE((*disk.open(path, io::OpenMode::ReadWrite))->write_at(at, former));
  for (const std::size_t bytes : {3000u, 2000u}) {
    ASSERT_EQ(write(std::string(bytes, 'x')), "stored");
    const std::uint64_t end = writer->page().durable_end;
    const std::string file = *disk.read_file(path);
    const std::uint64_t page_end = (end + kPageBytes - 1) / kPageBytes * kPageBytes;
    EXPECT_EQ(file.substr(end, page_end - end), std::string(page_end - end, '\0'));
    EXPECT_EQ(file.substr(16'384, former[0].size()), former[0]);
  }
}

TEST_F(TopicWriterTest, AfterAFailedSyncItGoesOnInANewFileBehindWhatIsDurable) {
  open();
  EXPECT_EQ(write("first"), "stored");
  disk.fail_next_sync = true;
  EXPECT_EQ(write("lost"), "Indeterminate");
  clock.advance(kMicrosPerSecond / 2);
  EXPECT_EQ(write("early"), "Unavailable");
  clock.advance(kMicrosPerSecond);
  disk.fail_next_sync = true;  // the new file fails, too
  EXPECT_EQ(write("still"), "Unavailable");
  clock.advance(2 * kMicrosPerSecond);
  EXPECT_EQ(write("second"), "stored");
  EXPECT_FALSE(writer->is_poisoned());
  const Start starts[] = {{.partition = 0, .offset = 0}};
  const auto reader = *LocalReader::open(disk, kFolder, Id128{}, starts);
  std::vector<std::string> found;
  for (;;) {
    const auto fetched = reader->next(1 << 20, std::chrono::milliseconds(0));
    ASSERT_TRUE(fetched);
    if (fetched->status == Fetched::Status::End) break;
    ASSERT_EQ(fetched->status, Fetched::Status::Frames);
    for (const Frame& frame : fetched->frames)
      for (const std::string_view record : frame.records) found.emplace_back(record);
  }
  EXPECT_EQ(found, (std::vector<std::string>{"first", "second"}));
  // And so it is found after a power loss.
  lose_power();
  EXPECT_EQ(writer->page().partitions[0].end, 2u);
  EXPECT_EQ(writer->quarantine().bytes(), 0u);
}

// The disk may have lost what was acknowledged before the error, too: that is read from it again.
TEST_F(TopicWriterTest, AfterAFailedSyncWhatWasAcknowledgedIsVerified) {
  open();
  EXPECT_EQ(write("first"), "stored");
  EXPECT_EQ(write("second"), "stored");
  disk.flip_bit(segment_path(kFolder, 1), 8 * (segment_header_bytes(1) + kFrameHeaderBytes + 5));
  disk.fail_next_sync = true;
  EXPECT_EQ(write("lost"), "Indeterminate");
  EXPECT_EQ(writer->quarantine().bytes(), 0u);
  clock.advance(2 * kMicrosPerSecond);
  EXPECT_EQ(write("third"), "stored");
  EXPECT_EQ(writer->quarantine().bytes(), kFrameHeaderBytes + 16);
  lose_power();
  EXPECT_EQ(writer->quarantine().bytes(), kFrameHeaderBytes + 16) << "recorded at once";
}

// Attempts to begin a new file leave nothing behind.
TEST_F(TopicWriterTest, WhileItCannotBeginANewFileTheDiskDoesNotFillUp) {
  open();
  const auto used = [&] { return disk.list(kFolder)->size(); };
  disk.fail_next_sync = true;
  EXPECT_EQ(write(), "Indeterminate");
  const std::size_t before = used();
  for (int i = 0; i < 5; ++i) {
    clock.advance(2 * kMicrosPerSecond);
    disk.fail_next_sync = true;
    EXPECT_EQ(write(), "Unavailable");
  }
  EXPECT_EQ(used(), before);
}

TEST(DiskMarks, AreTheReserveTwiceThatAndTheLastBytes) {
  const DiskMarks marks{.reserve_bytes = 1000, .critical_bytes = 100};
  const auto mark = [&](std::uint64_t free, std::uint64_t total) {
    return marks.mark_of({.free = free, .total = total});
  };
  EXPECT_EQ(mark(2000, 10'000), DiskMark::None);
  EXPECT_EQ(mark(1998, 10'000), DiskMark::Low);
  EXPECT_EQ(mark(999, 10'000), DiskMark::Reserve);
  EXPECT_EQ(mark(99, 10'000), DiskMark::Critical);
  EXPECT_EQ(mark(9'998, 100'000), DiskMark::Low) << "10 % of a large disk";
  EXPECT_EQ(mark(4'999, 100'000), DiskMark::Reserve) << "5 %";
  const DiskMarks small{.reserve_bytes = 1000, .critical_bytes = 5000};
  EXPECT_EQ(small.mark_of({.free = 4'999, .total = 10'000}), DiskMark::None);
  EXPECT_EQ(small.mark_of({.free = 500, .total = 10'000}), DiskMark::Reserve) << "half for stages";
  EXPECT_EQ(small.mark_of({.free = 499, .total = 10'000}), DiskMark::Critical);
  EXPECT_EQ(
      (DiskMarks{.reserve_bytes = 0, .critical_bytes = 100}.mark_of({.free = 50, .total = 10'000})),
      DiskMark::None);
  EXPECT_EQ(critical_bytes(64 << 20), 384u << 20);
}

TEST_F(TopicWriterTest, AtTheCriticalMarkEventsAreRefusedAndConfigurationIsNot) {
  settings.pool_segments = 4;
  settings.reserve_bytes = 2'000'000;
  settings.critical_bytes = 1'000'000;
  settings.options.refuse_at = DiskMark::Critical;
  open();
  settings.folder = "log/config";
  settings.options.refuse_at.reset();
  const auto config = *TopicWriter::open(settings, disk, clock);
  EXPECT_EQ(write(), "stored");
  EXPECT_TRUE(config->wanted_ready_file());
  disk.capacity = 900'000;
  clock.advance(2 * kMicrosPerSecond);
  EXPECT_EQ(write(), "ResourceExhausted");
  EXPECT_EQ(write(*config, "x"), "stored");
  EXPECT_FALSE(config->wanted_ready_file()) << "the pool takes nothing more";
  disk.capacity = UINT64_MAX;
  clock.advance(2 * kMicrosPerSecond);
  EXPECT_EQ(write(), "stored");
}

TEST_F(TopicWriterTest, OnADiskThatFillsUpFilesGivenUpMakeRoom) {
  settings.pool_segments = 4;
  settings.reserve_bytes = 1'000'000;
  open();
  write_until_file(6);
  disk.capacity = 900'000;
  clock.advance(2 * kMicrosPerSecond);
  writer->set_retention(std::chrono::hours(0), 1);
  ASSERT_TRUE(writer->expire());
  const auto names = *disk.list(kFolder);
  EXPECT_EQ(
      std::ranges::count_if(names, [](const auto& name) { return name.starts_with("pool-"); }), 1);
}

TEST_F(TopicWriterTest, AFileIsGivenUpOnceReadersAreTold) {
  io::FaultyFileSystem files(disk);
  open(files);
  write_until_file(3);
  writer->set_retention(std::chrono::hours(0), 1);
  files.fail({.call = io::Call::Write, .first = 1, .count = 3});
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(writer->expire());
  EXPECT_EQ(writer->page().first_sequence, 1u);
  ASSERT_TRUE(writer->expire());
  EXPECT_EQ(writer->page().first_sequence, 3u);
  EXPECT_FALSE(disk.exists(segment_path(kFolder, 1)));
  EXPECT_FALSE(disk.exists(segment_path(kFolder, 2)));
  writer.reset();  // before `files`
}

TEST_F(TopicWriterTest, AFullDiskRefusesAndLaterGoesOn) {
  open();
  const std::string record(3000, 'x');
  EXPECT_EQ(write(record), "stored");
  EXPECT_EQ(write(record), "stored");
  disk.capacity = 1000;  // no new file fits
  EXPECT_EQ(write(record), "ResourceExhausted");
  EXPECT_FALSE(writer->is_poisoned());
  disk.capacity = UINT64_MAX;
  EXPECT_EQ(write(record), "stored");
}

TEST_F(TopicWriterTest, TheReserveIsLeftToOthers) {
  settings.reserve_bytes = 1'000'000;
  settings.options.ticks = true;
  settings.options.refuse_at = DiskMark::Reserve;
  open();
  EXPECT_EQ(write(), "stored");
  disk.capacity = 900'000;
  clock.advance(2 * kMicrosPerSecond);
  EXPECT_EQ(write(), "ResourceExhausted");
  EXPECT_TRUE(writer->due_ticks().empty());
  disk.capacity = UINT64_MAX;
  clock.advance(2 * kMicrosPerSecond);
  EXPECT_EQ(write(), "stored");
}

TEST_F(TopicWriterTest, TheReserveIsFivePercentOfALargeDisk) {
  settings.segment_bytes = 1 << 20;
  settings.reserve_bytes = 1;
  settings.options.refuse_at = DiskMark::Reserve;
  open();
  const auto outcome_at = [&](std::uint64_t free) {
    const std::uint64_t used = disk.capacity - disk.disk_space(kFolder)->free;
    disk.capacity = used + free;
    clock.advance(2 * kMicrosPerSecond);
    return write();
  };
  EXPECT_EQ(outcome_at(40'000), "ResourceExhausted") << "the segment takes 1 MiB, 40 kB are 3.7 %";
  EXPECT_EQ(outcome_at(60'000), "stored") << "5.4 %";
}

}  // namespace
}  // namespace flagstream::log
