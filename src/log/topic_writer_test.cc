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

TEST(TopicWriter, AFailedSyncEndsTheWriterAndLosesNothingThatWasAcknowledged) {
  io::MemoryFileSystem disk;
  FakeClock clock(1'700'000'000'000'000);
  const TopicSettings settings{
      .folder = kFolder, .segment_bytes = kSegmentBytes, .options = {.partitions = 1}};
  const auto write = [](TopicWriter& writer) {
    std::vector<TopicWriter::Pending> one(1);
    one[0].batch.add({"record"});
    writer.write(one);
    return one[0].outcome ? "stored" : std::string(to_string(one[0].outcome.error().kind));
  };
  auto writer = *TopicWriter::open(settings, disk, clock);
  EXPECT_EQ(write(*writer), "stored");
  disk.fail_next_sync = true;
  EXPECT_EQ(write(*writer), "Indeterminate");
  EXPECT_TRUE(writer->is_poisoned());
  EXPECT_EQ(write(*writer), "Unavailable") << "a sync is never tried again";
  writer.reset();
  std::mt19937_64 random(1);
  const auto after = disk.crash(random);
  writer = *TopicWriter::open(settings, *after, clock);
  EXPECT_EQ(writer->page().partitions[0].end, 1u);
  EXPECT_EQ(write(*writer), "stored");
}

// Whole pages, or each group in a file that was written long ago would wait for a read.
TEST(TopicWriter, WhatFollowsAGroupInItsPageBecomesZeros) {
  io::MemoryFileSystem disk;
  FakeClock clock(1'700'000'000'000'000);
  auto writer = *TopicWriter::open({.folder = kFolder, .options = {.partitions = 1}}, disk, clock);
  const std::string path = segment_path(kFolder, 1);
  const std::string_view former[] = {"the former life of the file"};
  for (const std::uint64_t at : {8190, 8193, 16'384})
    ASSERT_TRUE((*disk.open(path, io::OpenMode::ReadWrite))->write_at(at, former));
  for (const std::size_t bytes : {3000u, 2000u}) {
    std::vector<TopicWriter::Pending> one(1);
    one[0].batch.add({std::string(bytes, 'x')});
    writer->write(one);
    ASSERT_TRUE(one[0].outcome);
    const std::uint64_t end = writer->page().durable_end;
    const std::string file = *disk.read_file(path);
    const std::uint64_t page_end = (end + kPageBytes - 1) / kPageBytes * kPageBytes;
    EXPECT_EQ(file.substr(end, page_end - end), std::string(page_end - end, '\0'));
    EXPECT_EQ(file.substr(16'384, former[0].size()), former[0]);
  }
}

TEST(TopicWriter, AfterAFailedSyncItGoesOnInANewFileBehindWhatIsDurable) {
  io::MemoryFileSystem disk;
  FakeClock clock(1'700'000'000'000'000);
  const TopicSettings settings{
      .folder = kFolder, .segment_bytes = kSegmentBytes, .options = {.partitions = 1}};
  auto writer = *TopicWriter::open(settings, disk, clock);
  const auto write = [&](std::string_view record) {
    std::vector<TopicWriter::Pending> one(1);
    one[0].batch.add({record});
    writer->write(one);
    return one[0].outcome ? "stored" : std::string(to_string(one[0].outcome.error().kind));
  };
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
  writer.reset();
  std::mt19937_64 random(1);
  const auto after = disk.crash(random);
  writer = *TopicWriter::open(settings, *after, clock);
  EXPECT_EQ(writer->page().partitions[0].end, 2u);
  EXPECT_EQ(writer->quarantine().bytes(), 0u);
}

// The disk may have lost what was acknowledged before the error, too: that is read from it again.
TEST(TopicWriter, AfterAFailedSyncWhatWasAcknowledgedIsVerified) {
  io::MemoryFileSystem disk;
  FakeClock clock(1'700'000'000'000'000);
  const TopicSettings settings{
      .folder = kFolder, .segment_bytes = kSegmentBytes, .options = {.partitions = 1}};
  auto writer = *TopicWriter::open(settings, disk, clock);
  const auto write = [&](std::string_view record) {
    std::vector<TopicWriter::Pending> one(1);
    one[0].batch.add({record});
    writer->write(one);
    return one[0].outcome ? "stored" : std::string(to_string(one[0].outcome.error().kind));
  };
  EXPECT_EQ(write("first"), "stored");
  EXPECT_EQ(write("second"), "stored");
  disk.flip_bit(segment_path(kFolder, 1), 8 * (segment_header_bytes(1) + kFrameHeaderBytes + 5));
  disk.fail_next_sync = true;
  EXPECT_EQ(write("lost"), "Indeterminate");
  EXPECT_EQ(writer->quarantine().bytes(), 0u);
  clock.advance(2 * kMicrosPerSecond);
  EXPECT_EQ(write("third"), "stored");
  EXPECT_EQ(writer->quarantine().bytes(), kFrameHeaderBytes + 16);
  std::mt19937_64 random(1);
  const auto after = disk.crash(random);
  writer.reset();
  writer = *TopicWriter::open(settings, *after, clock);
  EXPECT_EQ(writer->quarantine().bytes(), kFrameHeaderBytes + 16) << "recorded at once";
}

// Attempts to begin a new file leave nothing behind.
TEST(TopicWriter, WhileItCannotBeginANewFileTheDiskDoesNotFillUp) {
  io::MemoryFileSystem disk;
  FakeClock clock(1'700'000'000'000'000);
  const TopicSettings settings{.folder = kFolder,
                               .segment_bytes = kSegmentBytes,
                               .pool_segments = 0,
                               .options = {.partitions = 1}};
  auto writer = *TopicWriter::open(settings, disk, clock);
  const auto used = [&] { return disk.list(kFolder)->size(); };
  std::vector<TopicWriter::Pending> one(1);
  one[0].batch.add({"x"});
  disk.fail_next_sync = true;
  writer->write(one);
  const std::size_t before = used();
  for (int i = 0; i < 5; ++i) {
    clock.advance(2 * kMicrosPerSecond);
    disk.fail_next_sync = true;
    writer->write(one);
    EXPECT_FALSE(one[0].outcome);
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

TEST(TopicWriter, AtTheCriticalMarkEventsAreRefusedAndConfigurationIsNot) {
  io::MemoryFileSystem disk;
  FakeClock clock(1'700'000'000'000'000);
  TopicSettings settings{.folder = kFolder,
                         .segment_bytes = kSegmentBytes,
                         .pool_segments = 4,
                         .reserve_bytes = 2'000'000,
                         .critical_bytes = 1'000'000,
                         .options = {.partitions = 1, .refuse_at = DiskMark::Critical}};
  auto events = *TopicWriter::open(settings, disk, clock);
  settings.folder = "log/config";
  settings.options.refuse_at.reset();
  auto config = *TopicWriter::open(settings, disk, clock);
  const auto write = [](TopicWriter& to) {
    std::vector<TopicWriter::Pending> one(1);
    one[0].batch.add({"x"});
    to.write(one);
    return one[0].outcome ? "stored" : std::string(to_string(one[0].outcome.error().kind));
  };
  EXPECT_EQ(write(*events), "stored");
  EXPECT_TRUE(config->wanted_ready_file());
  disk.capacity = 900'000;
  clock.advance(2 * kMicrosPerSecond);
  EXPECT_EQ(write(*events), "ResourceExhausted");
  EXPECT_EQ(write(*config), "stored");
  EXPECT_FALSE(config->wanted_ready_file()) << "the pool takes nothing more";
  disk.capacity = UINT64_MAX;
  clock.advance(2 * kMicrosPerSecond);
  EXPECT_EQ(write(*events), "stored");
}

TEST(TopicWriter, OnADiskThatFillsUpFilesGivenUpMakeRoom) {
  io::MemoryFileSystem disk;
  FakeClock clock(1'700'000'000'000'000);
  const TopicSettings settings{.folder = kFolder,
                               .segment_bytes = kSegmentBytes,
                               .pool_segments = 4,
                               .reserve_bytes = 1'000'000,
                               .options = {.partitions = 1}};
  auto writer = *TopicWriter::open(settings, disk, clock);
  while (writer->page().last_sequence < 6) {
    std::vector<TopicWriter::Pending> one(1);
    one[0].batch.add({std::string(3000, 'x')});
    writer->write(one);
    ASSERT_TRUE(one[0].outcome);
  }
  disk.capacity = 900'000;
  clock.advance(2 * kMicrosPerSecond);
  writer->set_retention(std::chrono::hours(0), 1);
  ASSERT_TRUE(writer->expire());
  const auto names = *disk.list(kFolder);
  EXPECT_EQ(
      std::ranges::count_if(names, [](const auto& name) { return name.starts_with("pool-"); }), 1);
}

TEST(TopicWriter, AFileIsGivenUpOnceReadersAreTold) {
  io::MemoryFileSystem disk;
  io::FaultyFileSystem files(disk);
  FakeClock clock(1'700'000'000'000'000);
  const TopicSettings settings{.folder = kFolder,
                               .segment_bytes = kSegmentBytes,
                               .pool_segments = 0,
                               .options = {.partitions = 1}};
  auto writer = *TopicWriter::open(settings, files, clock);
  while (writer->page().last_sequence < 3) {
    std::vector<TopicWriter::Pending> one(1);
    one[0].batch.add({std::string(3000, 'x')});
    writer->write(one);
    ASSERT_TRUE(one[0].outcome);
  }
  writer->set_retention(std::chrono::hours(0), 1);
  files.fail({.call = io::Call::Write, .first = 1, .count = 3});
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(writer->expire());
  EXPECT_EQ(writer->page().first_sequence, 1u);
  ASSERT_TRUE(writer->expire());
  EXPECT_EQ(writer->page().first_sequence, 3u);
  EXPECT_FALSE(disk.exists(segment_path(kFolder, 1)));
  EXPECT_FALSE(disk.exists(segment_path(kFolder, 2)));
}

TEST(TopicWriter, AFullDiskRefusesAndLaterGoesOn) {
  io::MemoryFileSystem disk;
  FakeClock clock(1'700'000'000'000'000);
  const TopicSettings settings{.folder = kFolder,
                               .segment_bytes = kSegmentBytes,
                               .pool_segments = 0,
                               .options = {.partitions = 1}};
  auto writer = *TopicWriter::open(settings, disk, clock);
  const auto write = [&] {
    std::vector<TopicWriter::Pending> one(1);
    one[0].batch.add({std::string(3000, 'x')});
    writer->write(one);
    return one[0].outcome ? "stored" : std::string(to_string(one[0].outcome.error().kind));
  };
  EXPECT_EQ(write(), "stored");
  EXPECT_EQ(write(), "stored");
  disk.capacity = 1000;  // no new file fits
  EXPECT_EQ(write(), "ResourceExhausted");
  EXPECT_FALSE(writer->is_poisoned());
  disk.capacity = UINT64_MAX;
  EXPECT_EQ(write(), "stored");
}

TEST(TopicWriter, TheReserveIsLeftToOthers) {
  io::MemoryFileSystem disk;
  FakeClock clock(1'700'000'000'000'000);
  const TopicSettings settings{
      .folder = kFolder,
      .segment_bytes = kSegmentBytes,
      .pool_segments = 0,
      .reserve_bytes = 1'000'000,
      .options = {.partitions = 1, .ticks = true, .refuse_at = DiskMark::Reserve}};
  auto writer = *TopicWriter::open(settings, disk, clock);
  const auto write = [&] {
    std::vector<TopicWriter::Pending> one(1);
    one[0].batch.add({"x"});
    writer->write(one);
    return one[0].outcome ? "stored" : std::string(to_string(one[0].outcome.error().kind));
  };
  EXPECT_EQ(write(), "stored");
  disk.capacity = 900'000;
  clock.advance(2 * kMicrosPerSecond);
  EXPECT_EQ(write(), "ResourceExhausted");
  EXPECT_TRUE(writer->due_ticks().empty());
  disk.capacity = UINT64_MAX;
  clock.advance(2 * kMicrosPerSecond);
  EXPECT_EQ(write(), "stored");
}

TEST(TopicWriter, TheReserveIsFivePercentOfALargeDisk) {
  io::MemoryFileSystem disk;
  FakeClock clock(1'700'000'000'000'000);
  const TopicSettings settings{.folder = kFolder,
                               .segment_bytes = 1 << 20,
                               .pool_segments = 0,
                               .reserve_bytes = 1,
                               .options = {.partitions = 1, .refuse_at = DiskMark::Reserve}};
  auto writer = *TopicWriter::open(settings, disk, clock);
  const auto outcome_at = [&](std::uint64_t free) {
    const std::uint64_t used = disk.capacity - disk.disk_space(kFolder)->free;
    disk.capacity = used + free;
    clock.advance(2 * kMicrosPerSecond);
    std::vector<TopicWriter::Pending> one(1);
    one[0].batch.add({"x"});
    writer->write(one);
    return one[0].outcome ? "stored" : std::string(to_string(one[0].outcome.error().kind));
  };
  EXPECT_EQ(outcome_at(40'000), "ResourceExhausted") << "the segment takes 1 MiB, 40 kB are 3.7 %";
  EXPECT_EQ(outcome_at(60'000), "stored") << "5.4 %";
}

}  // namespace
}  // namespace flagstream::log
