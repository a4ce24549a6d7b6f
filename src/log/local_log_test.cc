#include "log/local_log.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>
#include <unistd.h>

#include "io/memory_file_system.h"
#include "log/caretaker.h"
#include "log/local_reader.h"
#include "log/segment_index.h"
#include "log/segment_scan.h"
#include "log/segment_search.h"
#include "log/topic_writer.h"

namespace flagstream::log {
namespace {

constexpr std::uint64_t kSegmentBytes = 32 << 10;

class LocalLogTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "local_log_" + std::to_string(::getpid()) + "_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    open();
  }
  void TearDown() override {
    log_.reset();
    std::filesystem::remove_all(folder_);
  }

  void open(Compression compression = Compression::None) {
    log_ = open_local_log({.folder = folder_,
                           .segment_bytes = kSegmentBytes,
                           .pool_segments = 1,
                           .compression = compression},
                          io::posix_file_system(), clock_, registry_);
  }
  std::unique_ptr<Appender> appender(TopicOptions options = {.partitions = 2}) {
    auto opened = log_->open_appender("t", options);
    if (!opened) ADD_FAILURE() << opened.error().what;
    return opened ? *std::move(opened) : nullptr;
  }
  Appended append(Appender& to, Partition partition, std::vector<std::string> records) {
    Batch batch;
    for (const std::string& each : records) batch.add({each});
    const auto done = to.append_and_wait(partition, std::move(batch));
    if (!done) ADD_FAILURE() << done.error().what;
    return done ? *done : Appended{};
  }
  std::unique_ptr<Reader> reader(std::vector<Start> starts) {
    auto opened = log_->open_reader("t", Id128{}, starts);
    if (!opened) ADD_FAILURE() << opened.error().what;
    return opened ? *std::move(opened) : nullptr;
  }
  // "partition:offset=record" of everything that is there, and "partition!status>offset" for
  // reports.
  std::vector<std::string> all(Reader& from) {
    std::vector<std::string> out;
    for (;;) {
      const auto fetched = from.next(1 << 20, std::chrono::milliseconds(0));
      if (!fetched) {
        out.push_back("error: " + fetched.error().what);
        return out;
      }
      switch (fetched->status) {
        case Fetched::Status::End:
          return out;
        case Fetched::Status::Frames:
          for (const Frame& frame : fetched->frames) {
            for (std::size_t i = 0; i < frame.records.size(); ++i)
              out.push_back(std::to_string(frame.partition) + ":" +
                            std::to_string(frame.base_offset + i) + "=" +
                            std::string(frame.records[i].substr(0, 8)));
          }
          break;
        case Fetched::Status::OutOfRange:
        case Fetched::Status::Quarantined:
          out.push_back(std::to_string(fetched->partition) +
                        (fetched->status == Fetched::Status::OutOfRange ? "!range>" : "!damage>") +
                        std::to_string(fetched->next_offset));
          from.skip_to(fetched->partition, fetched->next_offset);
      }
    }
  }
  std::string file(std::uint64_t sequence) const { return segment_path(folder_ + "/t", sequence); }
  std::string contents(const std::string& path) { return *io::posix_file_system().read_file(path); }
  void overwrite(const std::string& path, std::uint64_t at, std::string_view bytes) {
    const auto opened = io::posix_file_system().open(path, io::OpenMode::ReadWrite);
    const std::string_view parts[] = {bytes};
    ASSERT_TRUE((*opened)->write_at(at, parts));
  }

  std::string folder_;
  FakeClock clock_{1'700'000'000'000'000};
  telemetry::Registry registry_;
  std::unique_ptr<Log> log_;
};

using Lines = std::vector<std::string>;

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
      Batch batch;
      batch.add({"x"});
      to->append(0, std::move(batch), [&](Result<Appended> result) { done += result ? 1 : 0; });
    }
  }
  EXPECT_EQ(done.load(), 200);
  EXPECT_EQ(log_->info("t")->partitions[0].end, 200u);
}

}  // namespace
}  // namespace flagstream::log
