#include "log/local_log.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <future>
#include <thread>

#include <gtest/gtest.h>

#include "log/test_local_log.h"
#include "log/topic_writer.h"

namespace flagstream::log {
namespace {

TEST_F(LocalLogTest, OffsetsAreDenseInEachPartitionAndReadersSeeWhatWasAcknowledged) {
  const auto to = appender();
  EXPECT_EQ(append(*to, 0, {"a", "b"}).first_offset, 0u);
  EXPECT_EQ(append(*to, 1, {"c"}).first_offset, 0u);
  EXPECT_EQ(append(*to, 0, {"d"}).first_offset, 2u);
  EXPECT_EQ(all(*reader({{0, 0}, {1, 0}})), (Lines{"0:0=a", "0:1=b", "1:0=c", "0:2=d"}));
  EXPECT_EQ(all(*reader({{0, 1}})), (Lines{"0:1=b", "0:2=d"}));
  EXPECT_EQ(all(*reader({{0, 3}})), Lines{});
}

TEST_F(LocalLogTest, AReaderFollowsWhatIsAppendedLater) {
  const auto to = appender();
  const auto from = reader({{0, 0}});
  EXPECT_EQ(all(*from), Lines{});
  append(*to, 0, {"a"});
  EXPECT_EQ(all(*from), Lines{"0:0=a"});
  append(*to, 0, {"b"});
  EXPECT_EQ(all(*from), Lines{"0:1=b"});
}

TEST_F(LocalLogTest, AnAppendEndsTheWaitOfAReaderBeforeItWouldLookAgain) {
  const auto to = appender();
  const auto from = reader({{0, 0}});
  const SystemClock clock;
  std::vector<std::int64_t> delays;
  for (int i = 0; i < 9; ++i) {
    std::atomic<bool> is_about_to_wait{false};
    std::int64_t read = 0;
    std::thread reading([&] {
      is_about_to_wait.store(true);
      const auto fetched = from->next(1 << 20, std::chrono::seconds(60));
      EXPECT_TRUE(fetched && fetched->status == Fetched::Status::Frames);
      read = clock.monotonic();
    });
    while (!is_about_to_wait.load()) std::this_thread::yield();
    append(*to, 0, {"a"});
    const std::int64_t appended = clock.monotonic();
    reading.join();
    delays.push_back(read - appended);
  }
  std::ranges::sort(delays);
  EXPECT_LT(delays[4], 50 * kMicrosPerMilli);
}

TEST_F(LocalLogTest, WakeEndsTheWaitOfAReaderAtOnceAndOnlyOnce) {
  const auto to = appender();
  const auto from = reader({{0, 0}});
  std::thread waking([&] { from->wake(); });
  const SystemClock clock;
  const std::int64_t begin = clock.monotonic();
  const auto fetched = from->next(1 << 20, std::chrono::seconds(60));
  waking.join();
  ASSERT_TRUE(fetched);
  EXPECT_EQ(fetched->status, Fetched::Status::End);
  EXPECT_LT(clock.monotonic() - begin, 30 * kMicrosPerSecond);
  append(*to, 0, {"a"});
  EXPECT_EQ(all(*from), Lines{"0:0=a"});
}

TEST_F(LocalLogTest, ARestartContinuesWhereItStoppedAndTheLogIdStays) {
  append(*appender(), 0, {"a"});
  const Id128 before = log_->info("t")->log_id;
  append(*appender(), 0, {"b"});
  EXPECT_EQ(log_->info("t")->log_id, before);
  EXPECT_EQ(log_->info("t")->partitions[0].end, 2u);
  EXPECT_EQ(all(*reader({{0, 0}})), (Lines{"0:0=a", "0:1=b"}));
}

TEST_F(LocalLogTest, CompressedBatchesStandBesideOthersAndTakeLessRoom) {
  append(*appender(), 0, {"0" + std::string(20'000, 'a')});
  for (const Compression how : {Compression::Lz4, Compression::Zstd, Compression::None}) {
    open(how);
    const auto to = appender();
    append(*to, 0, {std::to_string(static_cast<int>(how)) + std::string(20'000, 'b'), "small"});
    append(*to, 0, {"tiny"});
  }
  const auto header = [&](std::uint64_t sequence) {
    return *read_segment_header(io::posix_file_system(), folder_ + "/t", sequence, 2);
  };
  EXPECT_EQ(header(1).version, 1u);
  EXPECT_EQ(header(2).version, 2u) << "an old release would take compressed frames for damage";
  EXPECT_EQ(all(*reader({{0, 0}})),
            (Lines{"0:0=0aaaaaaa", "0:1=1bbbbbbb", "0:2=small", "0:3=tiny", "0:4=2bbbbbbb",
                   "0:5=small", "0:6=tiny", "0:7=0bbbbbbb", "0:8=small", "0:9=tiny"}));
  EXPECT_EQ(all(*reader({{0, 5}})),
            (Lines{"0:5=small", "0:6=tiny", "0:7=0bbbbbbb", "0:8=small", "0:9=tiny"}));
}

// A block can stand for 255 times its size: what one call returns is bounded by what comes out.
TEST_F(LocalLogTest, OneCallReturnsNoMoreOfCompressedBatchesThanAskedFor) {
  open(Compression::Lz4);
  const auto to = appender();
  for (int i = 0; i < 10; ++i) append(*to, 0, {std::string(100'000, 'x')});
  const auto from = reader({{0, 0}});
  std::size_t frames = 0;
  while (frames < 10) {
    const auto fetched = from->next(250'000, std::chrono::milliseconds(0));
    ASSERT_TRUE(fetched);
    ASSERT_EQ(fetched->status, Fetched::Status::Frames);
    std::size_t bytes = 0;
    for (const Frame& frame : fetched->frames)
      for (const std::string_view record : frame.records) bytes += record.size();
    EXPECT_LE(bytes, 250'000u);
    frames += fetched->frames.size();
  }
  EXPECT_EQ(frames, 10u);
}

TEST_F(LocalLogTest, ADamagedCompressedBatchIsReportedAndSteppedOver) {
  open(Compression::Lz4);
  {
    const auto to = appender();
    append(*to, 0, {std::string(5'000, 'a')});
    append(*to, 0, {std::string(5'000, 'b')});
    append(*to, 0, {std::string(5'000, 'c')});
  }
  const std::string bytes = contents(file(1));
  const std::size_t second = bytes.find("FFRM", bytes.find("FFRM", kPageBytes) + 1);
  overwrite(file(1), second + kFrameHeaderBytes + 3, "#");
  EXPECT_EQ(all(*reader({{0, 0}})), (Lines{"0:0=aaaaaaaa", "0!damage>2", "0:2=cccccccc"}));
}

TEST_F(LocalLogTest, OneWriterAtATime) {
  const auto first = appender();
  EXPECT_EQ(log_->open_appender("t", {.partitions = 2}).error().kind, ErrorKind::Conflict);
}

TEST_F(LocalLogTest, ThePartitionCountNeverChanges) {
  append(*appender(), 0, {"a"});
  EXPECT_EQ(log_->open_appender("t", {.partitions = 3}).error().kind, ErrorKind::InvalidArgument);
}

TEST_F(LocalLogTest, APositionOfAnotherLogIsRefused) {
  append(*appender(), 0, {"a"});
  const Start start{0, 0};
  EXPECT_EQ(log_->open_reader("t", Id128{1, 2}, std::span(&start, 1)).error().kind,
            ErrorKind::Conflict);
  EXPECT_EQ(log_->open_reader("nothing", Id128{}, std::span(&start, 1)).error().kind,
            ErrorKind::NotFound);
}

TEST_F(LocalLogTest, SegmentsRollAndAreReadThrough) {
  const auto to = appender();
  Lines expected;
  for (int i = 0; i < 100; ++i) {
    append(*to, 0, {std::to_string(i) + std::string(3000, ' ')});
    expected.push_back("0:" + std::to_string(i) + "=" +
                       (std::to_string(i) + std::string(8, ' ')).substr(0, 8));
  }
  EXPECT_TRUE(std::filesystem::exists(file(5)));
  EXPECT_EQ(all(*reader({{0, 0}})), expected);
  EXPECT_EQ(all(*reader({{0, 98}})), (Lines(expected.begin() + 98, expected.end())));
}

TEST_F(LocalLogTest, AFrameLargerThanASegmentGetsAFileOfItsOwn) {
  const auto to = appender();
  append(*to, 0, {"a"});
  append(*to, 1, {std::string(5 * kSegmentBytes, 'x')});
  append(*to, 0, {"b"});
  EXPECT_EQ(all(*reader({{0, 0}, {1, 0}})), (Lines{"0:0=a", "1:0=xxxxxxxx", "0:1=b"}));
  EXPECT_GT(std::filesystem::file_size(file(2)), 5 * kSegmentBytes);
}

TEST_F(LocalLogTest, LimitsAreErrorsNotCrashes) {
  const auto to = appender();
  Batch large;
  large.add({std::string(kBatchBytesMax, 'x')});
  EXPECT_EQ(to->append_and_wait(0, std::move(large)).error().kind, ErrorKind::TooLarge);
  Batch lost;
  lost.add({"x"});
  EXPECT_EQ(to->append_and_wait(9, std::move(lost)).error().kind, ErrorKind::InvalidArgument);
  EXPECT_EQ(to->append_and_wait(0, Batch()).error().kind, ErrorKind::InvalidArgument);
}

TEST_F(LocalLogTest, RetentionGivesUpWholeFilesAndReadersAreTold) {
  const auto options = TopicOptions{.partitions = 2, .retention = std::chrono::hours(1)};
  TopicSettings settings{.folder = folder_ + "/t",
                         .segment_bytes = kSegmentBytes,
                         .pool_segments = 2,
                         .options = options};
  auto writer = *TopicWriter::open(settings, io::posix_file_system(), clock_);
  const auto write = [&](const std::string& record) {
    std::vector<TopicWriter::Pending> one(1);
    one[0].batch.add({record});
    writer->write(one);
    ASSERT_TRUE(one[0].outcome);
  };
  for (int i = 0; i < 20; ++i) write(std::string(3000, 'a'));
  clock_.advance(2 * kMicrosPerHour);
  for (int i = 0; i < 20; ++i) write(std::string(3000, 'b'));
  ASSERT_TRUE(writer->expire());
  const auto begin = log_->info("t")->partitions[0].begin;
  EXPECT_GT(begin, 0u);
  EXPECT_LE(begin, 20u);
  EXPECT_EQ(writer->expired_segments(), begin / 9);
  const auto lines = all(*reader({{0, 0}}));
  EXPECT_EQ(lines.front(), "0!range>" + std::to_string(begin));
  EXPECT_EQ(lines.size(), 40 - begin + 1);
}

TEST_F(LocalLogTest, RetentionMayChangeWhileTheTopicIsWritten) {
  auto to = appender({.partitions = 1});
  for (int i = 0; i < 40; ++i) append(*to, 0, {std::string(3000, 'a')});
  EXPECT_EQ(log_->info("t")->partitions[0].begin, 0u);
  to->set_retention(std::chrono::hours(1), 2 * kSegmentBytes);
  Offset begin = 0;
  for (int i = 0; i < 1'000 && begin <= 20; ++i) {
    clock_.advance(kMicrosPerSecond);
    append(*to, 0, {"x"});  // the committer's turn
    begin = log_->info("t")->partitions[0].begin;
  }
  EXPECT_GT(begin, 20u);
}

TEST_F(LocalLogTest, AClockThatJumpsAheadTakesNothingUntilItHasStoodForAnHour) {
  const auto options = TopicOptions{.partitions = 1, .retention = std::chrono::hours(24)};
  const TopicSettings settings{
      .folder = folder_ + "/t", .segment_bytes = kSegmentBytes, .options = options};
  std::unique_ptr<TopicWriter> writer;
  const auto write = [&] {
    std::vector<TopicWriter::Pending> one(1);
    one[0].batch.add({std::string(3000, 'a')});
    writer->write(one);
    ASSERT_TRUE(one[0].outcome);
  };
  const auto start = [&] {
    writer.reset();
    writer = *TopicWriter::open(settings, io::posix_file_system(), clock_);
  };
  const auto expired = [&] {
    EXPECT_TRUE(writer->expire());
    return writer->expired_segments();
  };
  start();
  for (int i = 0; i < 60; ++i) write();
  EXPECT_EQ(expired(), 0u);
  clock_.set_wrong(30 * kMicrosPerDay);
  EXPECT_EQ(expired(), 0u) << "in the running process";
  for (int i = 0; i < 20; ++i) write();
  clock_.advance(kMicrosPerMinute);
  EXPECT_EQ(expired(), 0u);
  clock_.set_wrong(0);
  EXPECT_EQ(expired(), 0u) << "it was only wrong for a while";
  EXPECT_FALSE(writer->is_clock_doubted());
  clock_.set_wrong(90 * kMicrosPerDay);
  start();
  EXPECT_EQ(expired(), 0u) << "from the start on";
  EXPECT_TRUE(writer->is_clock_doubted());
  clock_.advance(kMicrosPerHour + kMicrosPerSecond);
  EXPECT_GT(expired(), 0u) << "it is no mistake after all";
}

TEST_F(LocalLogTest, PositionAtFindsTheFirstAppendAtOrAfterATime) {
  const auto to = appender();
  const MicrosUtc start = clock_.now();
  for (int i = 0; i < 50; ++i) {
    append(*to, 0, {std::string(3000, 'x')});
    clock_.advance(kMicrosPerSecond);
  }
  EXPECT_EQ(*log_->position_at("t", 0, start), 0u);
  EXPECT_EQ(*log_->position_at("t", 0, start + 1), 1u);
  EXPECT_EQ(*log_->position_at("t", 0, start + 30 * kMicrosPerSecond), 30u);
  EXPECT_EQ(*log_->position_at("t", 0, start + kMicrosPerHour), 50u);
}

// A group of which a power failure kept only the first bytes is as if it had never been.
TEST_F(LocalLogTest, ATornTailIsCutAtTheLastWholeGroupWhereverItTears) {
  append(*appender(), 0, {"whole"});
  const std::string before = contents(file(1));
  const std::string control = contents(control_path(folder_ + "/t"));
  append(*appender(), 0, {"torn", "group"});
  const std::string after = contents(file(1));
  const auto first = static_cast<std::size_t>(
      std::mismatch(before.begin(), before.end(), after.begin()).first - before.begin());
  const std::size_t group_bytes = kFrameHeaderBytes + 17;  // lengths and texts of two records
  for (std::size_t kept = 0; kept < group_bytes; ++kept) {
    std::filesystem::remove_all(folder_ + "/t2");
    std::filesystem::copy(folder_ + "/t", folder_ + "/t2");
    overwrite(segment_path(folder_ + "/t2", 1), first + kept,
              before.substr(first + kept, group_bytes - kept));
    std::filesystem::resize_file(control_path(folder_ + "/t2"), 0);
    overwrite(control_path(folder_ + "/t2"), 0, control);
    auto reopened = log_->open_appender("t2", {.partitions = 2});
    ASSERT_TRUE(reopened) << reopened.error().what;
    EXPECT_EQ(log_->info("t2")->partitions[0].end, 1u) << kept;
    EXPECT_EQ(append(**reopened, 0, {"new"}).first_offset, 1u);
    const Start start{0, 0};
    EXPECT_EQ(all(**log_->open_reader("t2", Id128{}, std::span(&start, 1))),
              (Lines{"0:0=whole", "0:1=new"}))
        << kept;
  }
}

// Damage below the durable watermark is never taken for a torn tail: it is reported, and the rest
// is served.
TEST_F(LocalLogTest, AFlippedBitIsReportedAndSteppedOver) {
  {
    const auto to = appender();
    for (const char* record : {"first", "second", "third"}) append(*to, 0, {record});
  }
  const std::size_t begin = segment_header_bytes(2);
  const std::size_t stored = kFrameHeaderBytes + 16;
  for (std::size_t bit = 0; bit < (kFrameHeaderBytes + 4 + 6) * 8; ++bit) {
    const std::size_t at = begin + stored + bit / 8;
    const std::string was = contents(file(1)).substr(at, 1);
    const std::string damaged(1, static_cast<char>(was[0] ^ (1 << (bit % 8))));
    overwrite(file(1), at, damaged);
    EXPECT_EQ(all(*reader({{0, 0}})), (Lines{"0:0=first", "0!damage>2", "0:2=third"})) << bit;
    overwrite(file(1), at, was);
  }
  // After a restart the same, and no offset is given out twice.
  overwrite(file(1), begin + stored + kFrameHeaderBytes + 5, "X");
  const auto to = appender();
  EXPECT_EQ(append(*to, 0, {"fourth"}).first_offset, 3u);
  EXPECT_EQ(all(*reader({{0, 0}})), (Lines{"0:0=first", "0!damage>2", "0:2=third", "0:3=fourth"}));
}

TEST_F(LocalLogTest, DamageInTheLastAcknowledgedFrameIsReportedToo) {
  {
    const auto to = appender();
    append(*to, 0, {"first"});
    append(*to, 0, {"second"});
  }
  overwrite(file(1), segment_header_bytes(2) + kFrameHeaderBytes + 16 + kFrameHeaderBytes + 5, "X");
  EXPECT_EQ(all(*reader({{0, 0}})), (Lines{"0:0=first", "0!damage>2"}));
  const auto to = appender();
  EXPECT_EQ(append(*to, 0, {"third"}).first_offset, 2u);
  EXPECT_EQ(all(*reader({{0, 0}})), (Lines{"0:0=first", "0!damage>2", "0:2=third"}));
}

TEST_F(LocalLogTest, IdlePartitionsGetTicksThatCountAsNoData) {
  TopicSettings settings{.folder = folder_ + "/t",
                         .segment_bytes = kSegmentBytes,
                         .pool_segments = 0,
                         .options = {.partitions = 2, .ticks = true}};
  auto writer = *TopicWriter::open(settings, io::posix_file_system(), clock_);
  std::vector<TopicWriter::Pending> one(1);
  one[0].batch.add({"data"});
  writer->write(one);
  const auto tick = [&] {
    auto due = writer->due_ticks();
    writer->write(due);
    return due.size();
  };
  EXPECT_EQ(tick(), 1u);  // partition 1 has never had a record
  clock_.advance(999'999);
  EXPECT_EQ(tick(), 0u);
  clock_.advance(1);
  EXPECT_EQ(tick(), 1u) << "partition 0 had data a second ago";
  for (int i = 0; i < 58; ++i) {
    clock_.advance(kMicrosPerSecond);
    tick();
  }
  const auto info = *log_->info("t");
  EXPECT_EQ(info.partitions[0].data_end, 1u);
  EXPECT_EQ(info.partitions[0].end, 60u);
  clock_.advance(2 * kMicrosPerSecond);
  tick();
  clock_.advance(2 * kMicrosPerSecond);
  EXPECT_EQ(tick(), 0u) << "after a minute only each 10 s";
  clock_.advance(8 * kMicrosPerSecond);
  EXPECT_EQ(tick(), 2u);
}

TEST_F(LocalLogTest, AppendTimeNeverGoesBack) {
  const auto to = appender();
  const MicrosUtc first = append(*to, 0, {"a"}).append_time;
  clock_.set(first - kMicrosPerHour);
  EXPECT_EQ(append(*to, 0, {"b"}).append_time, first);
}

TEST_F(LocalLogTest, WhatIsWaitingIsFinishedBeforeTheAppenderGoes) {
  std::atomic<int> done{0};
  {
    const auto to = appender();
    for (int i = 0; i < 200; ++i) {
      to->append(0, batch_of({"x"}), [&](Result<Appended> result) { done += result ? 1 : 0; });
    }
  }
  EXPECT_EQ(done.load(), 200);
  EXPECT_EQ(log_->info("t")->partitions[0].end, 200u);
}

TEST_F(LocalLogTest, WhatIsEnqueuedIsWrittenTogetherOnceStarted) {
  const auto to = appender();
  append(*to, 0, {"a"});
  std::atomic<int> done{0};
  for (int i = 0; i < 8; ++i) {
    to->enqueue(0, batch_of({"x"}), [&](Result<Appended> result) { done += result ? 1 : 0; });
    std::this_thread::sleep_for(std::chrono::milliseconds(3));  // a committer that woke would write
  }
  to->start();
  append(*to, 0, {"b"});
  EXPECT_EQ(done.load(), 8);
  // One each for "a", for all of these and for "b"; the committer may have looked just meanwhile.
  EXPECT_LE(groups_written(), 4u);
}

// The committer ends a group while a loop is still gathering the next one.
TEST_F(LocalLogTest, TheNextGroupIsNotBegunBeforeItIsStarted) {
  const auto to = appender();
  std::atomic<int> done{0};
  const auto count = [&](Result<Appended> result) { done += result ? 1 : 0; };
  for (int i = 0; i < 10; ++i) {
    std::promise<void> is_gathering;
    to->append(0, batch_of({"a"}), [&](Result<Appended> result) {
      count(std::move(result));
      to->enqueue(0, batch_of({"b"}), count);
      is_gathering.set_value();
    });
    is_gathering.get_future().wait();
    std::this_thread::sleep_for(std::chrono::milliseconds(3));  // for a committer that would begin
    to->enqueue(0, batch_of({"c"}), count);
    append(*to, 0, {"d"});
    EXPECT_EQ(done.load(), 3 * (i + 1));
  }
  EXPECT_LE(groups_written(), 25u);  // 20, and 30 if each were begun at once
}

TEST_F(LocalLogTest, WhatIsStartedDoesNotWaitForTheCommittersOwnTurn) {
  const auto to = appender();
  const SystemClock clock;
  const std::int64_t begin = clock.monotonic();
  for (int i = 0; i < 20; ++i) append(*to, 0, {"a"});
  EXPECT_LT(clock.monotonic() - begin, 20 * 125 * kMicrosPerMilli);  // its turns: each 250 ms
}

TEST_F(LocalLogTest, WhatIsEnqueuedAndNotStartedIsWrittenALittleLater) {
  const auto to = appender();
  std::promise<Result<Appended>> done;
  to->enqueue(0, batch_of({"x"}),
              [&](Result<Appended> result) { done.set_value(std::move(result)); });
  auto waiting = done.get_future();
  ASSERT_EQ(waiting.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_TRUE(waiting.get());
}

}  // namespace
}  // namespace flagstream::log
