// The fold from hand-written records to what a reader of the results database sees.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analytics/results_reader.h"
#include "analytics/stage.h"
#include "analytics/test_events.h"
#include "analytics/test_partition.h"
#include "events/record.h"

namespace flagstream::analytics {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
namespace proto = events::proto;

constexpr EnvironmentId kEnvironment{7};
constexpr MicrosUtc kFar = kTen + 400 * kMicrosPerDay;

struct Analytics : ::testing::Test {
  AnalyticsStage& stage(Limits limits = {}) {
    if (!stage_) {
      stage_ = std::make_unique<AnalyticsStage>(
          Settings{.results_path = results(), .limits = limits}, registry);
    }
    return *stage_;
  }
  TestPartition& partition(Limits limits = {}) {
    if (!partition_)
      partition_ = std::make_unique<TestPartition>(stage(limits), folder.file("store"));
    return *partition_;
  }
  std::unique_ptr<ResultsReader> reader() {
    auto opened = ResultsReader::open(results());
    EXPECT_TRUE(opened) << opened.error().what;
    return *std::move(opened);
  }
  // "MINUTE VARIATION VERSION COUNT" of every point; minutes after ten, - for none.
  std::vector<std::string> points(std::string_view flag) {
    const auto text = [](const auto& number) {
      return number ? std::to_string(*number) : std::string("-");
    };
    const auto found = reader()->evaluations(kEnvironment, flag, 0, kFar);
    EXPECT_TRUE(found) << found.error().what;
    std::vector<std::string> lines;
    for (const EvaluationPoint& point : *found) {
      lines.push_back(std::to_string((point.minute - kTen) / kMicrosPerMinute) + " " +
                      text(point.variation) + " " + text(point.version) + " " +
                      std::to_string(point.count));
    }
    return lines;
  }
  std::string results() const { return folder.file("results.db"); }
  void drop_results() {
    partition_->close();
    stage_.reset();  // closes the database
    for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(results() + suffix);
  }

  TempFolder folder;
  telemetry::Registry registry;
  EventMaker make;

  std::unique_ptr<AnalyticsStage> stage_;
  std::unique_ptr<TestPartition> partition_;
};

TEST_F(Analytics, SummaryCountersCountInTheMinuteOfTheirEnd) {
  auto& to = partition();
  to.take(make.summary(kTen, "checkout", 0, 3, 5));
  to.take(make.summary(kTen + 59 * kMicrosPerSecond + 999'999, "checkout", 0, 3, 2));
  to.take(make.summary(minutes_after_ten(1), "checkout", 0, 3, 10));
  to.take(make.summary(minutes_after_ten(1), "checkout", 1, 3, 20));
  to.take(make.summary(minutes_after_ten(1), "checkout", 1, 4, 40));
  to.take(make.summary(minutes_after_ten(1), "other", 0, 1, 80));
  to.publish();
  EXPECT_THAT(points("checkout"), ElementsAre("0 0 3 7", "1 0 3 10", "1 1 3 20", "1 1 4 40"));
  EXPECT_THAT(points("other"), ElementsAre("1 0 1 80"));
  EXPECT_THAT(*reader()->evaluation_totals(kEnvironment),
              ElementsAre(Pair("checkout", ElementsAre(Pair(0, 17), Pair(1, 60))),
                          Pair("other", ElementsAre(Pair(0, 80)))));
  EXPECT_EQ(*reader()->first_evaluation(kEnvironment), kTen);
  EXPECT_EQ(*reader()->newest_minute(kEnvironment), minutes_after_ten(1));
}

TEST_F(Analytics, DefaultValuesAndUnknownFlagsAreKeptApart) {
  auto& to = partition();
  to.take(make.summary(kTen, "flag", {}, 3, 1));  // known, but the application got its default
  proto::Event unknown = make.summary(kTen, "flag", {}, {}, 2);
  unknown.set_unknown_flag(true);
  to.take(unknown);
  proto::Event odd = make.summary(kTen, "flag", {}, 3, 4);  // a version of a flag it does not know
  odd.set_unknown_flag(true);
  to.take(odd);
  to.publish();
  EXPECT_THAT(points("flag"), ElementsAre("0 - - 6", "0 - 3 1"));
  EXPECT_THAT(*reader()->evaluation_totals(kEnvironment),
              ElementsAre(Pair("flag", ElementsAre(Pair(std::nullopt, 7)))));
}

TEST_F(Analytics, OnlySummariesCountAsEvaluations) {
  auto& to = partition();
  for (const auto kind : {proto::FEATURE, proto::DEBUG, proto::INDEX, proto::CUSTOM}) {
    proto::Event event = make.summary(kTen, "flag", 0, 1, 1);
    event.set_kind(kind);
    to.take(event);
  }
  to.take(make.summary(kTen, "flag", 0, 1, 0));
  to.publish();
  EXPECT_THAT(points("flag"), IsEmpty());
  EXPECT_EQ(*reader()->first_evaluation(kEnvironment), std::nullopt);
}

TEST_F(Analytics, ContextsAreCountedByKindWithFirstAndLastTime) {
  auto& to = partition();
  to.take(make.seen(proto::INDEX, kTen + 5, {{"user", "u1"}}));
  to.take(make.seen(proto::IDENTIFY, kTen + 3, {{"org", "o1"}, {"user", "u2"}}));
  to.take(make.seen(proto::CUSTOM, kTen + 9, {{"user", "u1"}}));
  to.take(make.seen(proto::FEATURE, kTen + 4, {{"user", "u3"}}));
  to.take(make.seen(proto::SUMMARY, kTen + 4, {{"user", "u4"}}));
  to.take(make.seen(proto::DEBUG, kTen + 99, {{"user", "u5"}}));  // a copy of another event
  to.publish();
  const auto kinds = reader()->context_kinds(kEnvironment);
  ASSERT_EQ(kinds->size(), 2u);
  EXPECT_EQ((*kinds)[0].kind, "org");
  EXPECT_EQ((*kinds)[0].contexts, 1u);
  EXPECT_EQ((*kinds)[0].first_seen, kTen + 3);
  EXPECT_EQ((*kinds)[0].last_seen, kTen + 3);
  EXPECT_EQ((*kinds)[1].kind, "user");
  EXPECT_EQ((*kinds)[1].contexts, 4u);
  EXPECT_EQ((*kinds)[1].first_seen, kTen + 3);
  EXPECT_EQ((*kinds)[1].last_seen, kTen + 9);
}

TEST_F(Analytics, CustomEventsCountByKeyAndMinuteAndWeighWhatWasSampled) {
  auto& to = partition();
  to.take(make.custom(kTen, "buy"));
  to.take(make.custom(kTen + 1, "buy"));
  proto::Event sampled = make.custom(kTen, "view");
  sampled.set_sampling_ratio(10);  // one of ten was sent
  to.take(sampled);
  proto::Event zero = make.custom(minutes_after_ten(1), "buy");
  zero.set_sampling_ratio(0);
  to.take(zero);
  to.publish();
  const auto points = reader()->custom_events(kEnvironment, 0, kFar);
  ASSERT_EQ(points->size(), 3u);
  EXPECT_EQ((*points)[0].key, "buy");
  EXPECT_EQ((*points)[0].count, 2);
  EXPECT_EQ((*points)[1].key, "view");
  EXPECT_EQ((*points)[1].count, 10);
  EXPECT_EQ((*points)[2].minute, minutes_after_ten(1));
  EXPECT_EQ((*points)[2].count, 1);
}

TEST_F(Analytics, PayloadsCountByOutcomeAndCarrySdkAndProgress) {
  auto& to = partition();
  to.take(make.payload(kTen, proto::Event::ACCEPTED, 10, 2));  // payload 100
  to.take(make.payload(kTen + 7, proto::Event::DUPLICATE, 0, 0));
  to.take(make.payload(kTen + 3, proto::Event::REJECTED, 0, 4));
  proto::Event other = make.payload(kTen + 5, proto::Event::ACCEPTED, 1, 0);  // payload 103
  other.set_sdk_version("8.0");
  to.take(other);
  to.publish();
  const auto totals = reader()->payloads(kEnvironment);
  EXPECT_EQ(totals->accepted, 2u);
  EXPECT_EQ(totals->duplicate, 1u);
  EXPECT_EQ(totals->rejected, 1u);
  EXPECT_EQ(totals->events, 11u);
  EXPECT_EQ(totals->events_rejected, 6u);
  const auto sdks = reader()->sdks(kEnvironment);
  ASSERT_EQ(sdks->size(), 2u);
  EXPECT_EQ((*sdks)[0].name, "Go");
  EXPECT_EQ((*sdks)[0].version, "7.0");
  EXPECT_EQ((*sdks)[0].last_seen, kTen + 7);
  EXPECT_EQ((*sdks)[1].version, "8.0");
  const auto progress = reader()->progress();
  ASSERT_EQ(progress->size(), 1u);
  EXPECT_EQ((*progress)[0].payloads_log_id, kPayloadsLog);
  EXPECT_EQ((*progress)[0].next_offset, 104u);
  EXPECT_EQ((*progress)[0].received, kTen + 5);
}

TEST_F(Analytics, EnvironmentsAreApart) {
  auto& to = partition();
  proto::Event other = make.summary(kTen, "flag", 0, 1, 5);
  other.set_environment_id(8);
  to.take(other);
  to.take(make.summary(kTen, "flag", 0, 1, 1));
  to.publish();
  EXPECT_THAT(points("flag"), ElementsAre("0 0 1 1"));
  EXPECT_EQ(reader()->evaluation_totals(EnvironmentId{8})->at("flag").at(0), 5);
}

TEST_F(Analytics, RecordsThatWereTakenBeforeAreDroppedAndCounted) {
  auto& to = partition();
  const proto::Event first = make.summary(kTen, "flag", 0, 1, 1);
  const proto::Event second = make.summary(kTen, "flag", 0, 1, 2);
  for (const auto& event : {first, second, first, second}) to.take(event);
  to.publish();
  EXPECT_THAT(points("flag"), ElementsAre("0 0 1 3"));
  EXPECT_THAT(registry.scrape(), HasSubstr("records_total{result=\"repeat\"} 2"));
  EXPECT_THAT(registry.scrape(), HasSubstr("records_total{result=\"counted\"} 2"));
}

TEST_F(Analytics, WhatWasTakenIsRememberedAcrossARestart) {
  auto& to = partition();
  const proto::Event event = make.summary(kTen, "flag", 0, 1, 1);
  to.take(event);
  to.checkpoint();
  to.crash();
  to.take(event);
  to.publish();
  EXPECT_THAT(points("flag"), ElementsAre("0 0 1 1"));
}

TEST_F(Analytics, TicksAndUnknownKindsChangeNothing) {
  auto& to = partition();
  to.take_record(events::tick_record());
  to.take_record("\x63\x01later");
  to.publish();
  EXPECT_THAT(registry.scrape(), HasSubstr("records_total{result=\"tick\"} 1"));
  EXPECT_THAT(registry.scrape(), HasSubstr("records_total{result=\"unknown_kind\"} 1"));
  EXPECT_THAT(registry.scrape(), HasSubstr("results_transactions_total 0"));
}

TEST_F(Analytics, TimesThatCannotBeBelievedCountAtReceipt) {
  auto& to = partition();
  const auto at = [this](MicrosUtc time) {
    proto::Event event = make.summary(time, "flag", 0, 1, 1);
    event.set_received_us(minutes_after_ten(100));
    return event;
  };
  to.take(at(minutes_after_ten(100) - 30 * kMicrosPerDay));      // as late as may be
  to.take(at(minutes_after_ten(100) - 30 * kMicrosPerDay - 1));  // later
  to.take(at(minutes_after_ten(105)));
  to.take(at(minutes_after_ten(105) + 1));
  to.take(at(-5));
  to.take(at(std::numeric_limits<std::int64_t>::max()));
  to.publish();
  EXPECT_THAT(points("flag"), ElementsAre("-43100 0 1 1", "100 0 1 4", "105 0 1 1"));
  EXPECT_THAT(registry.scrape(), HasSubstr("moved_to_receipt_total 4"));
}

TEST_F(Analytics, BadRecordsAndPoisonBecomeRejects) {
  auto& to = partition();
  proto::Event no_source = make.summary(kTen, "flag", 0, 1, 1);
  no_source.clear_source();
  to.take(no_source);
  proto::Event no_environment = make.summary(kTen, "flag", 0, 1, 1);
  no_environment.set_environment_id(0);
  to.take(no_environment);
  proto::Event no_time = make.summary(kTen, "flag", 0, 1, 1);
  no_time.set_received_us(std::numeric_limits<std::int64_t>::max());
  to.take(no_time);
  to.pass_over("poison");
  ASSERT_EQ(to.outputs.records.size(), 4u);
  proto::Reject reject;
  ASSERT_TRUE(events::decode_reject(to.outputs.records[0], reject));
  EXPECT_EQ(reject.reason(), "bad_record");
  EXPECT_EQ(reject.stage(), "analytics");
  EXPECT_EQ(reject.source().log_id(), kEventsLog.to_bytes());
  EXPECT_EQ(reject.source().offset(), 0u);
  ASSERT_TRUE(events::decode_reject(to.outputs.records[3], reject));
  EXPECT_EQ(reject.reason(), "crash");
  EXPECT_EQ(reject.tries(), 3u);
  EXPECT_EQ(reject.record(), "poison");
  EXPECT_EQ(reject.source().offset(), 3u);
  EXPECT_THAT(registry.scrape(), HasSubstr("records_total{result=\"rejected\"} 4"));
  to.publish();
  EXPECT_THAT(points("flag"), IsEmpty());
}

TEST_F(Analytics, CountsStopAtTheirMaximum) {
  auto& to = partition();
  for (int i = 0; i < 3; ++i)
    to.take(make.summary(kTen, "flag", 0, 1, std::numeric_limits<std::int64_t>::max()));
  to.publish();
  EXPECT_THAT(points("flag"), ElementsAre("0 0 1 9007199254740991"));
}

TEST_F(Analytics, FlagsOverTheLimitsCountUnderTheEmptyKey) {
  auto& to = partition({.flag_rows_max = 3, .minute_rows_max = 2, .key_bytes_max = 10});
  to.take(make.summary(kTen, "a", 0, 1, 1));
  to.take(make.summary(kTen, "b", 0, 1, 2));
  to.take(make.summary(kTen, "c", 0, 1, 4));  // a third row of the minute
  to.take(make.summary(minutes_after_ten(1), "c", 0, 1, 8));
  to.take(make.summary(minutes_after_ten(2), "d", 0, 1, 16));  // a fourth flag
  to.take(make.summary(minutes_after_ten(1), "a", 0, 1, 32));  // known
  to.take(make.summary(minutes_after_ten(2), "eleven_long", 1, 1, 64));
  to.publish();
  EXPECT_THAT(points("a"), ElementsAre("0 0 1 1", "1 0 1 32"));
  EXPECT_THAT(points("b"), ElementsAre("0 0 1 2"));
  EXPECT_THAT(points("d"), IsEmpty());
  // "c" did not fit in the minute; as the empty key took a place, it does not fit in the totals.
  EXPECT_THAT(points(""), ElementsAre("0 - - 4", "1 - - 8", "2 - - 80"));
  EXPECT_EQ(reader()->evaluation_totals(kEnvironment)->at("").at(std::nullopt), 92);
  EXPECT_THAT(registry.scrape(), HasSubstr("overflow_total{of=\"flag\"} 4"));
}

TEST_F(Analytics, OtherKeysOverTheLimitsCountUnderTheEmptyKey) {
  auto& to =
      partition({.custom_keys_max = 1, .context_kinds_max = 1, .sdks_max = 1, .key_bytes_max = 10});
  to.take(make.custom(kTen, "a"));
  to.take(make.custom(kTen, "b"));
  to.take(make.seen(proto::INDEX, kTen, {{"user", "u"}}));
  to.take(make.seen(proto::INDEX, kTen, {{"device", "d"}, {"org", "o"}}));
  to.take(make.payload(kTen, proto::Event::ACCEPTED, 1, 0));
  proto::Event long_name = make.payload(kTen, proto::Event::ACCEPTED, 1, 0);
  long_name.set_sdk_name("eleven_long");
  to.take(long_name);
  to.publish();
  const auto customs = reader()->custom_events(kEnvironment, 0, kFar);
  ASSERT_EQ(customs->size(), 2u);
  EXPECT_EQ((*customs)[0].key, "");
  EXPECT_EQ((*customs)[1].key, "a");
  const auto kinds = reader()->context_kinds(kEnvironment);
  ASSERT_EQ(kinds->size(), 2u);
  EXPECT_EQ((*kinds)[0].kind, "");
  EXPECT_EQ((*kinds)[0].contexts, 2u);
  const auto sdks = reader()->sdks(kEnvironment);
  ASSERT_EQ(sdks->size(), 2u);
  EXPECT_EQ((*sdks)[0].name, "");
  const std::string metrics = registry.scrape();
  EXPECT_THAT(metrics, HasSubstr("overflow_total{of=\"custom_event\"} 1"));
  EXPECT_THAT(metrics, HasSubstr("overflow_total{of=\"context_kind\"} 2"));
  EXPECT_THAT(metrics, HasSubstr("overflow_total{of=\"sdk\"} 1"));
}

TEST_F(Analytics, LimitsHoldForPanesThatCameBackFromTheStore) {
  auto& to = partition({.minute_rows_max = 2, .entries_in_memory = 0});
  to.take(make.summary(kTen, "a", 0, 1, 1));
  to.take(make.summary(kTen, "b", 0, 1, 2));
  to.checkpoint();
  to.take(make.summary(kTen, "b", 0, 1, 4));
  to.take(make.summary(kTen, "c", 0, 1, 8));
  to.publish();
  EXPECT_THAT(points("b"), ElementsAre("0 0 1 6"));
  EXPECT_THAT(points(""), ElementsAre("0 - - 8"));
}

TEST_F(Analytics, LateEventReadsItsPaneBack) {
  auto& to = partition({.entries_in_memory = 0});
  to.take(make.summary(kTen, "flag", 0, 1, 5));
  to.take(make.seen(proto::INDEX, kTen, {{"user", "u1"}}));
  to.checkpoint();
  EXPECT_THAT(registry.scrape(), HasSubstr("flagstream_analytics_entries 0\n"));
  EXPECT_EQ(to.dirty_bytes(), 0u);
  proto::Event late = make.summary(kTen, "flag", 0, 1, 2);
  late.set_received_us(kTen + 29 * kMicrosPerDay);
  to.take(late);
  to.take(make.seen(proto::INDEX, kTen + 1, {{"user", "u2"}}));
  EXPECT_GT(to.dirty_bytes(), 0u);
  to.publish();
  EXPECT_THAT(points("flag"), ElementsAre("0 0 1 7"));
  EXPECT_EQ((*reader()->context_kinds(kEnvironment))[0].contexts, 2u);
  EXPECT_THAT(registry.scrape(), HasSubstr("pane_loads_total 3\n"));  // minute, totals, kinds
}

TEST_F(Analytics, WhatIsNotPublishedOrNotSavedStaysInMemory) {
  auto& to = partition({.entries_in_memory = 0});
  to.take(make.summary(kTen, "flag", 0, 1, 5));
  to.publish();
  EXPECT_THAT(registry.scrape(), HasSubstr("flagstream_analytics_entries 2\n"));
  to.checkpoint();
  EXPECT_THAT(registry.scrape(), HasSubstr("flagstream_analytics_entries 0\n"));
}

TEST_F(Analytics, RestartFromACheckpointGivesTheSameRows) {
  auto& to = partition();
  to.take(make.summary(kTen, "flag", 0, 1, 1));
  to.take(make.payload(kTen, proto::Event::ACCEPTED, 1, 0));
  to.checkpoint();
  to.take(make.summary(kTen, "flag", 0, 1, 2));
  to.take(make.summary(kTen, "flag", 1, 1, 4));
  to.publish();
  const std::vector<std::string> before = {"0 0 1 3", "0 1 1 4"};
  EXPECT_EQ(points("flag"), before);

  to.crash();
  EXPECT_EQ(points("flag"), before);
  to.fold_next();
  to.publish();  // of a smaller position than what is there
  EXPECT_EQ(points("flag"), before);
  to.fold_rest();
  to.publish();
  EXPECT_EQ(points("flag"), before);
  to.take(make.summary(kTen, "flag", 1, 1, 8));
  to.publish();
  EXPECT_THAT(points("flag"), ElementsAre("0 0 1 3", "0 1 1 12"));
  EXPECT_EQ(reader()->evaluation_totals(kEnvironment)->at("flag").at(1), 12);
  EXPECT_THAT(registry.scrape(), HasSubstr("republished_rows_total 0\n"));
}

TEST_F(Analytics, RecordsThatWereNeverFoldedAreAGapInTheResults) {
  auto& to = partition();
  EXPECT_THAT(*ResultsReader::open(folder.file("none.db")).value()->gaps(), IsEmpty());
  to.take(make.summary(kTen, "flag", 0, 1, 1));
  to.lose(9);
  to.checkpoint();
  to.take(make.summary(kTen, "flag", 0, 1, 2));
  to.lose(100);
  to.checkpoint();
  drop_results();
  partition_ = std::make_unique<TestPartition>(stage(), folder.file("store"), 0);
  const auto gaps = reader()->gaps();
  ASSERT_TRUE(gaps);
  ASSERT_EQ(gaps->size(), 2u);
  EXPECT_EQ((*gaps)[0].events_log_id, kEventsLog);
  EXPECT_EQ((*gaps)[0].begin, 1u);
  EXPECT_EQ((*gaps)[0].end, 10u);
  EXPECT_EQ((*gaps)[0].received_before, kTen);
  EXPECT_EQ((*gaps)[1].begin, 11u);
  EXPECT_EQ((*gaps)[1].end, 111u);
}

TEST_F(Analytics, ResultsThatWereLostAreWrittenAgainFromTheStore) {
  auto& to = partition({.entries_in_memory = 0});
  to.take(make.summary(kTen, "flag", 0, 1, 1));
  to.take(make.seen(proto::INDEX, kTen, {{"user", "u1"}}));
  to.checkpoint();
  to.take(make.payload(kTen, proto::Event::ACCEPTED, 3, 0));
  to.checkpoint();

  drop_results();
  partition_ = std::make_unique<TestPartition>(stage(), folder.file("store"));
  EXPECT_THAT(points("flag"), ElementsAre("0 0 1 1"));
  EXPECT_EQ((*reader()->context_kinds(kEnvironment))[0].contexts, 1u);
  EXPECT_EQ(reader()->payloads(kEnvironment)->events, 3u);
  EXPECT_THAT(registry.scrape(), HasSubstr("republished_rows_total 6\n"));
}

// What a power loss does to the last commits: the file as it was some publications ago.
TEST_F(Analytics, OnlyWhatWasLostIsWrittenAgain) {
  auto& to = partition();
  to.take(make.summary(kTen, "flag", 0, 1, 1));
  to.checkpoint();
  auto writer = ResultsWriter::open(folder.file("older.db"), 1, registry);
  ASSERT_TRUE(writer);
  ASSERT_TRUE(
      (*writer)->publish({.log_id = kEventsLog, .partition = 0, .position = 1, .rows = {}}));
  writer->reset();
  to.take(make.summary(kTen, "other", 0, 1, 2));
  to.checkpoint();

  drop_results();
  std::filesystem::rename(folder.file("older.db"), results());
  partition_ = std::make_unique<TestPartition>(stage(), folder.file("store"));
  EXPECT_THAT(points("other"), ElementsAre("0 0 1 2"));
  // In minute and totals; "flag" is below the position that the database names.
  EXPECT_THAT(registry.scrape(), HasSubstr("republished_rows_total 2\n"));
}

TEST_F(Analytics, StoreForgetsMinutesThatNoEventCanReach) {
  auto& to = partition();
  to.take(make.summary(kTen, "flag", 0, 1, 1));
  to.checkpoint();
  to.take(make.summary(kTen + 31 * kMicrosPerDay, "flag", 0, 1, 2));
  to.checkpoint();
  const auto minutes = [&to] {
    int count = 0;
    EXPECT_TRUE(to.store().scan(table_prefix(Table::Evaluations), [&](auto key, auto) {
      count += parse_stored_key(key)->is_header ? 0 : 1;
      return true;
    }));
    return count;
  };
  EXPECT_EQ(minutes(), 2);
  const MicrosUtc later = kTen + 31 * kMicrosPerDay + 61 * kMicrosPerMinute;
  to.take(make.summary(later, "flag", 0, 1, 4));
  to.checkpoint();
  EXPECT_EQ(minutes(), 2);
  // One that was received long before the others of its partition: it must not count from zero in a
  // minute whose count is gone.
  to.take(make.summary(kTen, "flag", 0, 1, 8));
  to.publish();
  EXPECT_THAT(points("flag"), ElementsAre("44640 0 1 2", "44701 0 1 12"));
  EXPECT_EQ(reader()->evaluation_totals(kEnvironment)->at("flag").at(0), 15);
}

}  // namespace
}  // namespace flagstream::analytics
