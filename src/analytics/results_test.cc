// The results database: what the writer accepts, and how the reader merges.
#include <csignal>
#include <cstdlib>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analytics/distinct_keys.h"
#include "analytics/results_reader.h"
#include "analytics/results_writer.h"
#include "analytics/test_results.h"
#include "io/crash_point.h"

namespace flagstream::analytics {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr EnvironmentId kEnvironment{7};

ResultRow evaluation(MicrosUtc minute, std::int64_t variation, std::int64_t version,
                     std::int64_t count, log::Offset position) {
  return {.table = Table::Evaluations,
          .environment = 7,
          .minute = minute,
          .text = "flag",
          .variation = variation,
          .version = version,
          .values = {count},
          .position = position};
}

ResultRow total(std::string flag, std::int64_t variation, std::int64_t count, MicrosUtc first,
                MicrosUtc last) {
  return {.table = Table::EvaluationTotals,
          .environment = 7,
          .text = std::move(flag),
          .variation = variation,
          .values = {count, first, last},
          .position = 1};
}

class Results : public ::testing::Test {
 protected:
  std::unique_ptr<ResultsWriter> writer(std::uint64_t generation = 1) {
    auto opened = ResultsWriter::open(path(), generation, registry_);
    EXPECT_TRUE(opened) << opened.error().what;
    return *std::move(opened);
  }
  std::unique_ptr<ResultsReader> reader() {
    auto opened = ResultsReader::open(path());
    EXPECT_TRUE(opened) << opened.error().what;
    return *std::move(opened);
  }
  void publish(ResultsWriter& to, log::Offset position, std::vector<ResultRow> rows,
               log::Partition partition = 0, Id128 log_id = kEventsLog) {
    const auto done =
        to.publish({.log_id = log_id, .partition = partition, .position = position, .rows = rows});
    ASSERT_TRUE(done) << done.error().what;
  }
  std::vector<std::int64_t> counts(ResultsReader& from) {
    std::vector<std::int64_t> counts;
    const auto points =
        from.evaluations(kEnvironment, "flag", minutes_after_ten(0), minutes_after_ten(60));
    EXPECT_TRUE(points);
    for (const EvaluationPoint& point : *points) counts.push_back(point.count);
    return counts;
  }
  std::string path() const { return folder_.file("results.db"); }

  TempFolder folder_;
  telemetry::Registry registry_;
};

TEST_F(Results, MissingFileReadsAsEmptyUntilItExists) {
  auto reader = this->reader();
  EXPECT_THAT(counts(*reader), IsEmpty());
  EXPECT_THAT(*reader->evaluation_totals(kEnvironment), IsEmpty());
  EXPECT_EQ(*reader->newest_minute(kEnvironment), std::nullopt);
  EXPECT_EQ(*reader->first_evaluation(kEnvironment), std::nullopt);
  EXPECT_THAT(*reader->sdks(kEnvironment), IsEmpty());
  EXPECT_THAT(*reader->context_kinds(kEnvironment), IsEmpty());
  EXPECT_THAT(*reader->custom_events(kEnvironment, 0, kTen), IsEmpty());
  EXPECT_EQ(reader->payloads(kEnvironment)->accepted, 0u);
  EXPECT_THAT(*reader->progress(), IsEmpty());
  EXPECT_EQ(*reader->change_counter(), 0u);

  auto writer = this->writer();
  EXPECT_THAT(counts(*reader), IsEmpty());
  publish(*writer, 1, {evaluation(kTen, 0, 1, 5, 1)});
  EXPECT_THAT(counts(*reader), ElementsAre(5));
  EXPECT_NE(*reader->change_counter(), 0u);
}

TEST_F(Results, IsReadAfterTheWriterHasClosed) {
  {
    publish(*writer(), 1, {evaluation(kTen, 0, 1, 5, 1)});
  }
  EXPECT_THAT(counts(*reader()), ElementsAre(5));
}

TEST_F(Results, SmallerAndEqualPositionsAreRefused) {
  auto writer = this->writer();
  auto reader = this->reader();
  publish(*writer, 10, {evaluation(kTen, 0, 1, 5, 10)});
  publish(*writer, 8, {evaluation(kTen, 0, 1, 3, 8)});
  EXPECT_THAT(counts(*reader), ElementsAre(5));
  EXPECT_EQ(*writer->published(kEventsLog, 0), 10u);
  publish(*writer, 10, {evaluation(kTen, 0, 1, 4, 10)});
  EXPECT_THAT(counts(*reader), ElementsAre(5));
  publish(*writer, 11, {evaluation(kTen, 0, 1, 6, 11)});
  EXPECT_THAT(counts(*reader), ElementsAre(6));
  EXPECT_EQ(*writer->published(kEventsLog, 0), 11u);
  EXPECT_THAT(
      registry_.scrape(),
      ::testing::HasSubstr("flagstream_analytics_results_rows_total{outcome=\"refused\"} 2"));
}

TEST_F(Results, PublishedIsKeptPerLogAndPartition) {
  auto writer = this->writer();
  publish(*writer, 10, {}, 3);
  publish(*writer, 4, {}, 3, kOtherEventsLog);
  EXPECT_EQ(*writer->published(kEventsLog, 3), 10u);
  EXPECT_EQ(*writer->published(kOtherEventsLog, 3), 4u);
  EXPECT_EQ(*writer->published(kEventsLog, 2), 0u);
}

TEST_F(Results, EvaluationsOfAllPartitionsAndLogsAreSummed) {
  auto writer = this->writer();
  const MicrosUtc eleven = minutes_after_ten(60);
  publish(*writer, 5, {evaluation(kTen, 1, 2, 10, 5), evaluation(kTen, kNone, kNone, 7, 5)}, 0);
  publish(*writer, 5, {evaluation(kTen, 1, 2, 20, 5), evaluation(eleven, 1, 2, 1, 5)}, 1);
  publish(*writer, 2, {evaluation(kTen, 1, 2, 40, 2), evaluation(kTen, 1, 3, 80, 2)}, 0,
          kOtherEventsLog);

  const auto points = reader()->evaluations(kEnvironment, "flag", kTen, eleven);
  ASSERT_TRUE(points);
  ASSERT_EQ(points->size(), 3u);
  EXPECT_EQ((*points)[0].variation, std::nullopt);
  EXPECT_EQ((*points)[0].version, std::nullopt);
  EXPECT_EQ((*points)[0].count, 7);
  EXPECT_EQ((*points)[1].variation, 1);
  EXPECT_EQ((*points)[1].version, 2);
  EXPECT_EQ((*points)[1].count, 70);
  EXPECT_EQ((*points)[2].version, 3);
  EXPECT_EQ((*points)[2].count, 80);
  EXPECT_THAT(*reader()->evaluations(kEnvironment, "other", kTen, eleven), IsEmpty());
  EXPECT_THAT(*reader()->evaluations(EnvironmentId{8}, "flag", kTen, eleven), IsEmpty());
  EXPECT_EQ(reader()->evaluations(kEnvironment, "flag", kTen, eleven + 1)->size(), 4u);
}

TEST_F(Results, TotalsAreSummedAndTheirMinutesAreMinimaAndMaxima) {
  auto writer = this->writer();
  publish(*writer, 1,
          {total("a", 0, 3, kTen, minutes_after_ten(2)), total("b", kNone, 1, kTen, kTen)});
  publish(*writer, 1, {total("a", 0, 4, minutes_after_ten(-9), minutes_after_ten(1))}, 1);
  auto reader = this->reader();
  EXPECT_THAT(*reader->evaluation_totals(kEnvironment),
              ElementsAre(Pair("a", ElementsAre(Pair(0, 7))),
                          Pair("b", ElementsAre(Pair(std::nullopt, 1)))));
  EXPECT_EQ(*reader->newest_minute(kEnvironment), minutes_after_ten(2));
  EXPECT_EQ(*reader->first_evaluation(kEnvironment), minutes_after_ten(-9));
  EXPECT_EQ(*reader->first_evaluation(EnvironmentId{8}), std::nullopt);
}

TEST_F(Results, CountsStopAtTheLargestThatJsonHolds) {
  auto writer = this->writer();
  for (const log::Partition partition : {0u, 1u})
    publish(*writer, 1, {evaluation(kTen, 0, 1, kCountMax, 1), total("a", 0, kCountMax, 1, 1)},
            partition);
  EXPECT_THAT(counts(*reader()), ElementsAre(kCountMax));
  EXPECT_EQ(reader()->evaluation_totals(kEnvironment)->at("a").at(0), kCountMax);
}

ResultRow kind_row(std::string kind, MicrosUtc first, MicrosUtc last,
                   std::initializer_list<std::uint64_t> hashes) {
  DistinctKeys keys;
  for (const std::uint64_t hash : hashes) keys.add(hash);
  return {.table = Table::ContextKinds,
          .environment = 7,
          .text = std::move(kind),
          .values = {first, last},
          .keys = keys.encode(),
          .position = 1};
}

TEST_F(Results, ContextKeysAreCountedOnceAcrossPartitions) {
  auto writer = this->writer();
  publish(*writer, 1, {kind_row("org", 30, 40, {9}), kind_row("user", 10, 20, {1, 2, 3})}, 0);
  publish(*writer, 1, {kind_row("user", 5, 15, {3, 4})}, 1);
  const auto kinds = reader()->context_kinds(kEnvironment);
  ASSERT_TRUE(kinds);
  ASSERT_EQ(kinds->size(), 2u);
  EXPECT_EQ((*kinds)[0].kind, "org");
  EXPECT_EQ((*kinds)[0].contexts, 1u);
  EXPECT_EQ((*kinds)[1].kind, "user");
  EXPECT_EQ((*kinds)[1].contexts, 4u);
  EXPECT_EQ((*kinds)[1].first_seen, 5);
  EXPECT_EQ((*kinds)[1].last_seen, 20);
}

TEST_F(Results, SdksCustomEventsAndPayloadsAreMerged) {
  auto writer = this->writer();
  const auto sdk = [](std::string version, MicrosUtc seen) {
    return ResultRow{.table = Table::Sdks,
                     .environment = 7,
                     .text = "Go",
                     .detail = std::move(version),
                     .values = {seen},
                     .position = 1};
  };
  const auto custom = [](std::string key, std::int64_t count) {
    return ResultRow{.table = Table::CustomEvents,
                     .environment = 7,
                     .minute = kTen,
                     .text = std::move(key),
                     .values = {count},
                     .position = 1};
  };
  const ResultRow payloads{
      .table = Table::Payloads, .environment = 7, .values = {1, 2, 3, 4, 5}, .position = 1};
  publish(*writer, 1, {sdk("7.0", 10), custom("buy", 3), custom("add", 1), payloads}, 0);
  publish(*writer, 1, {sdk("7.0", 8), sdk("7.1", 5), custom("buy", 4), payloads}, 1);

  auto reader = this->reader();
  const auto sdks = reader->sdks(kEnvironment);
  ASSERT_EQ(sdks->size(), 2u);
  EXPECT_EQ((*sdks)[0].name, "Go");
  EXPECT_EQ((*sdks)[0].version, "7.0");
  EXPECT_EQ((*sdks)[0].last_seen, 10);
  EXPECT_EQ((*sdks)[1].version, "7.1");

  const auto customs = reader->custom_events(kEnvironment, kTen, kTen + 1);
  ASSERT_EQ(customs->size(), 2u);
  EXPECT_EQ((*customs)[0].key, "add");
  EXPECT_EQ((*customs)[1].key, "buy");
  EXPECT_EQ((*customs)[1].count, 7);
  EXPECT_THAT(*reader->custom_events(kEnvironment, kTen + 1, kTen + 2), IsEmpty());

  const auto totals = reader->payloads(kEnvironment);
  EXPECT_EQ(totals->accepted, 2u);
  EXPECT_EQ(totals->duplicate, 4u);
  EXPECT_EQ(totals->rejected, 6u);
  EXPECT_EQ(totals->events, 8u);
  EXPECT_EQ(totals->events_rejected, 10u);
}

TEST_F(Results, ProgressIsTheFurthestOfEveryPayloadsLogAndPartition) {
  auto writer = this->writer();
  const auto row = [](Id128 log_id, std::int64_t next, MicrosUtc received) {
    return ResultRow{.table = Table::Progress,
                     .text = log_id.to_bytes(),
                     .values = {next, received},
                     .position = 1};
  };
  publish(*writer, 1, {row(kPayloadsLog, 5, 50)}, 0);
  publish(*writer, 1, {row(kPayloadsLog, 9, 90)}, 0, kOtherEventsLog);
  publish(*writer, 1, {row(kPayloadsLog, 2, 20)}, 1);
  const auto progress = reader()->progress();
  ASSERT_TRUE(progress);
  ASSERT_EQ(progress->size(), 2u);
  EXPECT_EQ((*progress)[0].payloads_log_id, kPayloadsLog);
  EXPECT_EQ((*progress)[0].partition, 0u);
  EXPECT_EQ((*progress)[0].next_offset, 9u);
  EXPECT_EQ((*progress)[0].received, 90);
  EXPECT_EQ((*progress)[1].partition, 1u);
  EXPECT_EQ((*progress)[1].next_offset, 2u);
}

TEST_F(Results, ReadersSeeTheCurrentGenerationAlone) {
  auto first = writer(1);
  auto second = writer(2);
  auto reader = this->reader();
  publish(*first, 1, {evaluation(kTen, 0, 1, 5, 1)});
  publish(*second, 1, {evaluation(kTen, 0, 1, 8, 1)});
  EXPECT_EQ(*second->published(kEventsLog, 0), 1u);
  EXPECT_THAT(counts(*reader), ElementsAre(5));
  ASSERT_TRUE(second->make_current());
  EXPECT_THAT(counts(*reader), ElementsAre(8));
}

TEST_F(Results, ANewFileShowsTheGenerationOfItsFirstWriter) {
  publish(*writer(3), 1, {evaluation(kTen, 0, 1, 5, 1)});
  publish(*writer(4), 1, {evaluation(kTen, 0, 1, 8, 1)});
  EXPECT_THAT(counts(*reader()), ElementsAre(5));
}

TEST_F(Results, ChangeCounterMovesWithEveryPublicationOnly) {
  auto writer = this->writer();
  auto reader = this->reader();
  const std::uint64_t before = *reader->change_counter();
  EXPECT_EQ(*reader->change_counter(), before);
  publish(*writer, 1, {evaluation(kTen, 0, 1, 5, 1)});
  const std::uint64_t after = *reader->change_counter();
  EXPECT_NE(after, before);
  EXPECT_EQ(*reader->change_counter(), after);
}

TEST_F(Results, MinutesThatAreTooOldGoAndTotalsStay) {
  auto writer = this->writer();
  const auto custom = [](MicrosUtc minute) {
    return ResultRow{.table = Table::CustomEvents,
                     .environment = 7,
                     .minute = minute,
                     .text = "buy",
                     .values = {1},
                     .position = 1};
  };
  const ResultRow custom_total{.table = Table::CustomEventTotals,
                               .environment = 7,
                               .text = "buy",
                               .values = {2, kTen, kTen},
                               .position = 1};
  const MicrosUtc last_to_go = minutes_after_ten(19);
  const MicrosUtc first_to_stay = minutes_after_ten(20);
  publish(*writer, 1,
          {evaluation(last_to_go, 0, 1, 5, 1), evaluation(first_to_stay, 0, 1, 6, 1),
           total("flag", 0, 11, last_to_go, first_to_stay), custom(last_to_go),
           custom(first_to_stay), custom_total});
  const auto publish_at = [&](MicrosUtc oldest, log::Offset position) {
    ASSERT_TRUE(writer->publish({.log_id = kEventsLog,
                                 .partition = 1,
                                 .position = position,
                                 .rows = {},
                                 .oldest_minute = oldest}));
  };
  publish_at(minutes_after_ten(10), 1);
  EXPECT_THAT(counts(*reader()), ElementsAre(5, 6));
  publish_at(minutes_after_ten(29), 2);  // counts as 20
  EXPECT_THAT(counts(*reader()), ElementsAre(6));
  EXPECT_EQ(reader()->custom_events(kEnvironment, kTen, minutes_after_ten(60))->size(), 1u);
  EXPECT_EQ(reader()->evaluation_totals(kEnvironment)->at("flag").at(0), 11);
  EXPECT_EQ(*reader()->first_evaluation(kEnvironment), last_to_go);
  EXPECT_THAT(registry_.scrape(), ::testing::HasSubstr("rows_expired_total 2\n"));
}

TEST_F(Results, FileOfANewerReleaseIsRefusedByBoth) {
  {
    writer();
  }
  auto database = sql::Database::open(path());
  ASSERT_TRUE(database->exec("PRAGMA user_version = 99"));
  EXPECT_EQ(ResultsReader::open(path()).error().kind, ErrorKind::Conflict);
  EXPECT_EQ(ResultsWriter::open(path(), 1, registry_).error().kind, ErrorKind::Conflict);
}

// In a process of its own: the first publication survives, the second meets the crash point.
void publish_twice_and_crash(const std::string& path, const std::string& point) {
  telemetry::Registry registry;
  auto writer = ResultsWriter::open(path, 1, registry);
  if (!writer) return;
  ::setenv("FLAGSTREAM_CRASH_POINTS", (point + ":2").c_str(), 1);
  io::arm_crash_points_from_environment();
  for (const log::Offset position : {1, 2}) {
    const std::vector<ResultRow> rows = {
        evaluation(kTen, 0, 1, static_cast<std::int64_t>(position), position)};
    (void)(*writer)->publish(
        {.log_id = kEventsLog, .partition = 0, .position = position, .rows = rows});
  }
}

TEST_F(Results, CrashBeforeAWriteLosesThatPublicationOnly) {
  GTEST_FLAG_SET(death_test_style, "fast");  // by fork: the same folder
  EXPECT_EXIT(publish_twice_and_crash(path(), "analytics.before_results_write"),
              ::testing::KilledBySignal(SIGKILL), "");
  EXPECT_THAT(counts(*reader()), ElementsAre(1));
  EXPECT_EQ(*writer()->published(kEventsLog, 0), 1u);
}

TEST_F(Results, CrashAfterAWriteLosesNothing) {
  GTEST_FLAG_SET(death_test_style, "fast");  // by fork: the same folder
  EXPECT_EXIT(publish_twice_and_crash(path(), "analytics.after_results_write"),
              ::testing::KilledBySignal(SIGKILL), "");
  EXPECT_THAT(counts(*reader()), ElementsAre(2));
  EXPECT_EQ(*writer()->published(kEventsLog, 0), 2u);
}

// Every publication is whole or not there: the two flags are always equal.
TEST_F(Results, FoldsPublishFromManyThreadsWhileOthersRead) {
  constexpr int kThreads = 4;
  constexpr int kPublications = 50;
  auto writer = this->writer();
  std::vector<std::thread> folds;
  for (log::Partition partition = 0; partition < kThreads; ++partition) {
    folds.emplace_back([&writer, partition] {
      for (int i = 1; i <= kPublications; ++i) {
        std::vector<ResultRow> rows = {total("a", 0, i, 1, 1), total("b", 0, i, 1, 1)};
        for (ResultRow& row : rows) row.position = static_cast<log::Offset>(i);
        EXPECT_TRUE(writer->publish({.log_id = kEventsLog,
                                     .partition = partition,
                                     .position = static_cast<log::Offset>(i),
                                     .rows = rows}));
      }
    });
  }
  auto reader = this->reader();
  for (;;) {
    const auto totals = reader->evaluation_totals(kEnvironment);
    ASSERT_TRUE(totals) << totals.error().what;
    if (totals->empty()) continue;
    EXPECT_EQ(totals->at("a"), totals->at("b"));
    if (totals->at("a").at(0) == kThreads * kPublications) break;
  }
  for (std::thread& fold : folds) fold.join();
}

}  // namespace
}  // namespace flagstream::analytics
