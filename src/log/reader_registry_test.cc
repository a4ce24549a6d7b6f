#include "log/reader_registry.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "io/memory_file_system.h"
#include "log/forget_request.h"
#include "log/local_reader.h"
#include "log/reader_watch.h"
#include "log/segment_index.h"
#include "log/topic_survey.h"
#include "log/topic_writer.h"

namespace flagstream::log {
namespace {

constexpr char kFolder[] = "log/t";
constexpr std::uint64_t kSegmentBytes = 16 << 10;

TEST(ReaderFile, HoldsWhatWasWrittenByteForByte) {
  const RegisteredReader reader{.name = "lake",
                                .log_id = Id128{0x0001020304050607, 0x08090a0b0c0d0e0f},
                                .process = 7,
                                .updated = 1'000'000,
                                .positions = {{2, 30, 20, 900'000}}};
  const std::string bytes = encode_reader(reader);
  ASSERT_EQ(bytes.size(), 16u + 48 + 32 + 4);
  EXPECT_EQ(bytes.substr(0, 4), "FRRD");
  EXPECT_EQ(get_u32(bytes.data() + 4), 1u);
  EXPECT_EQ(bytes[16 + 1], 1);
  EXPECT_EQ(get_u64(bytes.data() + 32), 7u);
  EXPECT_EQ(get_u64(bytes.data() + 40), 1'000'000u);
  EXPECT_EQ(get_u64(bytes.data() + 48), 4u);
  EXPECT_EQ(get_u64(bytes.data() + 56), 1u);
  EXPECT_EQ(get_u64(bytes.data() + 64), 2u);
  EXPECT_EQ(get_u64(bytes.data() + 72), 30u);
  EXPECT_EQ(get_u64(bytes.data() + 80), 20u);
  EXPECT_EQ(get_u64(bytes.data() + 88), 900'000u);
  EXPECT_EQ(bytes.substr(96), "lake");
  const auto read = decode_reader(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->name, "lake");
  EXPECT_EQ(read->log_id, reader.log_id);
  ASSERT_EQ(read->positions.size(), 1u);
  EXPECT_EQ(read->positions[0].resume, 20u);
}

TEST(ReaderFile, NoFlippedBitAndNoShorterFileIsAccepted) {
  const std::string whole = encode_reader({.name = "lake",
                                           .log_id = Id128{1, 2},
                                           .process = 7,
                                           .updated = 1,
                                           .positions = {{0, 3, 2, 1}}});
  constexpr std::size_t kVersionBit = 32;  // version 0 is read as 1 is
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    if (bit == kVersionBit) continue;
    std::string bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(decode_reader(bytes)) << bit;
  }
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(decode_reader(whole.substr(0, size))) << size;
}

TEST(ReaderFile, NamesAreNamesOfFilesAndLabels) {
  for (const char* name : {"lake", "transform.1", "A_b-9"}) EXPECT_TRUE(is_reader_name(name));
  for (const char* name : {"", ".", "..", ".x", "a/b", "a\"b", "a b", "a\n"})
    EXPECT_FALSE(is_reader_name(name)) << name;
  EXPECT_FALSE(is_reader_name(std::string(65, 'a')));
}

class ReadersTest : public testing::Test {
 protected:
  ReadersTest() { open({.partitions = 2, .retention = std::chrono::hours(10)}); }

  void open(TopicOptions options) {
    options_ = options;
    writer_.reset();
    writer_ = *TopicWriter::open({.folder = kFolder,
                                  .segment_bytes = kSegmentBytes,
                                  .pool_segments = 0,
                                  .reserve_bytes = 0,
                                  .options = options},
                                 disk_, clock_);
  }
  // Of about 1 KiB each; a file holds eleven.
  void append(Partition partition, int count) {
    for (int i = 0; i < count; ++i) {
      TopicWriter::Pending pending{.partition = partition, .batch = {}};
      pending.batch.add({std::string(1000, 'x')});
      writer_->write(std::span(&pending, 1));
      ASSERT_TRUE(pending.outcome);
    }
  }
  std::unique_ptr<FileRegistration> reader(const std::string& name) {
    return std::make_unique<FileRegistration>(disk_, clock_, kFolder, name);
  }
  static void tell(FileRegistration& reader, const ReaderPosition& at) {
    reader.tell(std::span(&at, 1));
  }
  std::vector<RegisteredReader> readers() {
    return list_readers(disk_, kFolder, writer_->page().log_id);
  }
  ReaderLag lag() {
    return lag_of(readers().at(0), writer_->page(), writer_->extents(), options_.retention,
                  options_.retention_bytes, clock_.now());
  }
  std::string scrape(ReaderWatch& watch) {
    watch.look(writer_->page(), writer_->extents(), options_);
    return registry_.scrape();
  }

  io::MemoryFileSystem disk_;
  FakeClock clock_{1'700'000'000'000'000};
  telemetry::Registry registry_;
  TopicOptions options_;
  std::unique_ptr<TopicWriter> writer_;
};

TEST_F(ReadersTest, ARegistrationIsWrittenAboutOnceASecondAndAtTheEnd) {
  auto lake = reader("lake");
  tell(*lake, {0, 1, 1, 5});
  tell(*lake, {0, 2, 1, 6});
  EXPECT_EQ(readers().at(0).positions.at(0).next, 1u);
  clock_.advance(kMicrosPerSecond);
  tell(*lake, {1, 7, 7, 7});
  ASSERT_EQ(readers().at(0).positions.size(), 2u);
  EXPECT_EQ(readers()[0].positions[0].next, 2u);
  tell(*lake, {0, 3, 1, 8});
  lake.reset();
  EXPECT_EQ(readers().at(0).positions.at(0).next, 3u);
}

TEST_F(ReadersTest, ReadersOfAnotherLogAndDamagedFilesAreLeftOut) {
  tell(*reader("lake"), {0, 1, 1, 5});
  EXPECT_TRUE(list_readers(disk_, kFolder, Id128{1, 1}).empty());
  const auto file = disk_.open("log/t/readers/lake", io::OpenMode::ReadWrite);
  const std::string_view parts[] = {"x"};
  ASSERT_TRUE((*file)->write_at(30, parts));
  EXPECT_TRUE(readers().empty());
}

TEST_F(ReadersTest, LagIsWhatIsNotReadAndItsAge) {
  append(0, 30);  // three files
  const MicrosUtc then = clock_.now();
  clock_.advance(60 * kMicrosPerSecond);
  tell(*reader("lake"), {0, 12, 12, then - 1});
  const ReaderLag found = lag();
  EXPECT_EQ(found.records, 18u);
  EXPECT_NEAR(found.seconds, 60, 0.1);
  EXPECT_NEAR(static_cast<double>(found.bytes), 18 * 1068, 1100);
  EXPECT_FALSE(found.has_fallen_off);
}

TEST_F(ReadersTest, WhoHasReadEverythingHasNoLagAndNothingToLose) {
  append(0, 30);
  clock_.advance(9 * kMicrosPerHour);
  tell(*reader("lake"), {0, 30, 30, 0});
  EXPECT_EQ(lag().records, 0u);
  EXPECT_EQ(lag().seconds, 0);
  EXPECT_EQ(lag().retention_used, 0);
}

TEST_F(ReadersTest, TheEdgeIsThatOfTheFileWhereARestartWouldBegin) {
  append(0, 30);
  clock_.advance(6 * kMicrosPerHour);
  const auto lake = reader("lake");
  tell(*lake, {0, 30, 3, 0});
  EXPECT_EQ(lag().records, 0u);
  EXPECT_NEAR(lag().retention_used, 0.6, 0.01);
  clock_.advance(kMicrosPerSecond);
  tell(*lake, {0, 30, 29, 0});
  EXPECT_EQ(lag().retention_used, 0) << "the newest file stays";
}

TEST_F(ReadersTest, TheEdgeBySizeIsNearWhenTheFilesFromThereOnFillTheWindow) {
  open({.partitions = 2, .retention_bytes = 4 * kSegmentBytes});
  append(0, 30);
  tell(*reader("lake"), {0, 3, 3, 0});
  EXPECT_NEAR(lag().retention_used, 0.75, 0.01);
}

TEST_F(ReadersTest, TheWatchTellsOfAReaderUntilItHasNotBeenThereForADay) {
  append(0, 30);
  ReaderWatch watch("t", kFolder, disk_, clock_, registry_);
  tell(*reader("lake"), {0, 3, 3, clock_.now()});
  EXPECT_NE(scrape(watch).find("flagstream_log_reader_lag_records{topic=\"t\",reader=\"lake\"} 27"),
            std::string::npos);
  clock_.advance(5 * kMicrosPerHour);
  EXPECT_NE(scrape(watch).find(
                "flagstream_log_reader_retention_used_ratio{topic=\"t\",reader=\"lake\"} 0.5"),
            std::string::npos);
  EXPECT_NE(
      scrape(watch).find("flagstream_log_reader_lag_seconds{topic=\"t\",reader=\"lake\"} 18000"),
      std::string::npos);
  clock_.advance(20 * kMicrosPerHour);
  EXPECT_EQ(scrape(watch).find("flagstream_log_reader_"), std::string::npos);
  EXPECT_TRUE(readers().empty());
}

TEST_F(ReadersTest, EachAlarmIsToldOnce) {
  append(0, 30);
  ReaderWatch watch("t", kFolder, disk_, clock_, registry_);
  tell(*reader("lake"), {0, 3, 3, 0});
  testing::internal::CaptureStderr();
  for (int i = 0; i < 100; ++i) {
    (void)scrape(watch);
    clock_.advance(kMicrosPerHour / 10);
  }
  const std::string told = testing::internal::GetCapturedStderr();
  const auto count = [&](std::string_view text) {
    std::size_t found = 0;
    for (std::size_t at = 0; (at = told.find(text, at)) != std::string::npos; ++at) ++found;
    return found;
  };
  EXPECT_EQ(count("half way to losing records"), 1u);
  EXPECT_EQ(count("about to lose records"), 1u);
  EXPECT_EQ(count("retention has taken records"), 0u);
  clock_.advance(2 * kMicrosPerHour);
  ASSERT_TRUE(writer_->expire());
  testing::internal::CaptureStderr();
  (void)scrape(watch);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("retention has taken records"),
            std::string::npos);
}

TEST_F(ReadersTest, ForgettingRemovesTheFilesBeforeAndNeverTheNewest) {
  append(0, 30);
  EXPECT_EQ(*writer_->forget(2), 1u);
  EXPECT_EQ(writer_->page().first_sequence, 2u);
  EXPECT_FALSE(disk_.exists(segment_path(kFolder, 1)));
  EXPECT_GT(writer_->page().partitions[0].begin, 0u);
  EXPECT_EQ(*writer_->forget(100), 1u);
  EXPECT_EQ(writer_->page().first_sequence, 3u);
  EXPECT_TRUE(disk_.exists(segment_path(kFolder, 3)));
}

TEST_F(ReadersTest, AForgottenFileIsNotUsedAgain) {
  open({.partitions = 2});
  append(0, 30);
  ASSERT_TRUE(writer_->forget(3));
  for (const std::string& name : *disk_.list(kFolder)) EXPECT_FALSE(name.starts_with("pool-"));
}

TEST_F(ReadersTest, ARequestToForgetIsReadAsItWasWrittenAndADamagedOneIsRemoved) {
  const auto none = read_forget_request(disk_, kFolder);
  ASSERT_TRUE(none);
  EXPECT_FALSE(*none);
  ASSERT_TRUE(ask_to_forget(disk_, kFolder, {.log_id = Id128{1, 2}, .keep_from = 9}));
  const auto asked = read_forget_request(disk_, kFolder);
  ASSERT_TRUE(asked && *asked);
  EXPECT_EQ((*asked)->log_id, (Id128{1, 2}));
  EXPECT_EQ((*asked)->keep_from, 9u);
  const auto file = disk_.open("log/t/forget", io::OpenMode::ReadWrite);
  const std::string_view parts[] = {"x"};
  ASSERT_TRUE((*file)->write_at(20, parts));
  EXPECT_EQ(read_forget_request(disk_, kFolder).error().kind, ErrorKind::DataLoss);
  EXPECT_FALSE(is_forget_asked(disk_, kFolder));
}

TEST_F(ReadersTest, ASurveySeesFilesRecordsAndReaders) {
  append(0, 30);
  append(1, 2);
  tell(*reader("lake"), {0, 3, 3, 0});
  const auto survey = survey_topic(disk_, "log", "t");
  ASSERT_TRUE(survey) << survey.error().what;
  EXPECT_EQ(survey->records(), 32u);
  EXPECT_EQ(survey->extents.size(), writer_->page().last_sequence);
  EXPECT_EQ(survey->file_bytes, writer_->page().last_sequence * kSegmentBytes);
  EXPECT_EQ(survey->extents.back().end, writer_->page().durable_end);
  ASSERT_EQ(survey->readers.size(), 1u);
  EXPECT_TRUE(survey->quarantined.empty());
  EXPECT_EQ(survey_topic(disk_, "log", "nothing").error().kind, ErrorKind::NotFound);
}

TEST_F(ReadersTest, ASurveyShowsADamagedTopic) {
  append(0, 50);
  ASSERT_GE(writer_->page().last_sequence, 4u);
  tell(*reader("lake"), {0, 0, 0, 0});
  const DamagedRange range[] = {{.begin = 4096, .end = 4200}};
  writer_->quarantine().add(2, range, clock_.now());
  ASSERT_TRUE(writer_->quarantine().save());
  ASSERT_TRUE(disk_.remove(segment_path(kFolder, 2)));
  ASSERT_TRUE(disk_.remove(index_path(kFolder, 3)));
  disk_.flip_bit(segment_path(kFolder, 3), 200);
  const auto survey = survey_topic(disk_, "log", "t");
  ASSERT_TRUE(survey) << survey.error().what;
  EXPECT_EQ(survey->quarantined_bytes(), 104u);
  ASSERT_EQ(survey->extents.size(), writer_->page().last_sequence);
  for (std::size_t i = 0; i < survey->extents.size(); ++i)
    EXPECT_EQ(survey->extents[i].header.log_id.is_zero(), i == 1 || i == 2);
  EXPECT_EQ(survey->extents[1].file_bytes, 0u);
  EXPECT_EQ(survey->extents[2].header.created, survey->extents[3].header.created);
  const ReaderLag lag = lag_of(survey->readers.at(0), survey->page, survey->extents,
                               options_.retention, options_.retention_bytes, clock_.now());
  EXPECT_EQ(lag.records, 50u);
  EXPECT_LE(lag.bytes, survey->file_bytes);
}

}  // namespace
}  // namespace flagstream::log
