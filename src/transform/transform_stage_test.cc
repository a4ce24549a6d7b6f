#include "transform/transform_stage.h"

#include <chrono>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>
#include <unistd.h>

#include "events/event.h"
#include "events/payload.h"
#include "events/record.h"
#include "events/source_guard.h"
#include "http/inflate.h"
#include "io/file_system.h"
#include "log/local_log.h"
#include "pipeline/runner.h"

namespace flagstream::transform {
namespace {

namespace proto = events::proto;
using Lines = std::vector<std::string>;

constexpr MicrosUtc kNow = 1'795'407'508'900'000;
constexpr std::string_view kBody =
    R"([{"kind":"identify","creationDate":1795407508889,"context":{"kind":"user","key":"u1"}},)"
    R"({"kind":"custom","creationDate":1795407508889,"key":"buy","context":{"kind":"user","key":"u1"}}])";

class TransformStageTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "transform_stage_" + std::to_string(::getpid()) + "_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    log_ = log::open_local_log(
        {.folder = folder_ + "/log", .segment_bytes = 1 << 20, .pool_segments = 0},
        io::posix_file_system(), clock_, registry_);
    payloads_ = *log_->open_appender("payloads", {.partitions = 2});
  }
  void TearDown() override {
    payloads_.reset();
    log_.reset();
    std::filesystem::remove_all(folder_);
  }

  static proto::PayloadHeader header(const std::string& payload_id, MicrosUtc received = kNow) {
    proto::PayloadHeader header;
    header.set_receipt_id(Id128::random().to_bytes());
    header.set_payload_id(payload_id);
    header.set_received_us(received);
    header.set_environment_id(7);
    header.set_credential(proto::PayloadHeader::SDK_KEY);
    header.set_route(proto::PayloadHeader::ANALYTICS);
    header.set_schema(4);
    return header;
  }
  void append(std::initializer_list<std::string_view> record) {
    log::Batch batch;
    batch.add(record);
    ASSERT_TRUE(payloads_->append_and_wait(0, std::move(batch)));
  }
  void post(const proto::PayloadHeader& header, std::string_view body) {
    append({events::encode_payload_head(header), body});
  }

  // Folds to the end of `payloads`, in a process's life of its own.
  void run(bool dedupe = true, bool with_checkpoint = true) {
    TransformStage stage(
        {.dedupe = dedupe,
         .inflate = [](std::string_view gzip,
                       std::string& out) { return http::inflate_gzip(gzip, {}, out); }},
        registry_);
    auto runner = pipeline::Runner::start({.state_folder = folder_ + "/state",
                                           .crash_notes_folder = folder_ + "/crash",
                                           .checkpoint_interval = std::chrono::hours(1),
                                           .output_topics = {}},
                                          {&stage}, *log_, clock_, registry_);
    ASSERT_TRUE(runner) << runner.error().what;
    const std::string last = "end " + std::to_string(++runs_);
    post(header(last), "[]");
    const auto is_through = [&] {
      for (const proto::Event& event : all()) {
        if (event.kind() == proto::PAYLOAD && event.source().offset() + 1 == end()) return true;
      }
      return false;
    };
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!is_through() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    if (with_checkpoint) {
      ASSERT_TRUE((*runner)->stop());
    } else {
      (*runner)->abandon();
    }
  }
  log::Offset end() { return log_->info("payloads")->partitions[0].end; }

  std::vector<std::string> records(const std::string& topic) {
    std::vector<std::string> out;
    const log::Start start{0, 0};
    const auto reader = log_->open_reader(topic, Id128{}, std::span(&start, 1));
    if (!reader) return out;
    for (;;) {
      const auto fetched = (*reader)->next(1 << 20, std::chrono::milliseconds(0));
      if (!fetched || fetched->status != log::Fetched::Status::Frames) return out;
      for (const log::Frame& frame : fetched->frames)
        out.insert(out.end(), frame.records.begin(), frame.records.end());
    }
  }
  std::vector<proto::Event> all() {
    std::vector<proto::Event> out;
    for (const std::string& record : records("events")) {
      if (events::record_kind(record) != events::RecordKind::Event) continue;
      EXPECT_TRUE(events::decode_event(record, out.emplace_back()));
    }
    return out;
  }
  // "offset/index/part KIND key outcome accepted+rejected", repeats dropped, without the payloads
  // that mark the ends of runs.
  Lines taken() {
    Lines out;
    events::SourceGuard guard;
    for (const proto::Event& event : all()) {
      const proto::Source& source = event.source();
      const Id128 log_id = *Id128::from_bytes(source.log_id());
      EXPECT_EQ(log_id, log_->info("payloads")->log_id);
      if (!guard.take(log_id, {source.offset(), source.index(), source.part()})) continue;
      if (event.kind() == proto::PAYLOAD && event.body_bytes() == 2) continue;
      std::string line = std::to_string(source.offset()) + "/" + std::to_string(source.index()) +
                         "/" + std::to_string(source.part()) + " " +
                         proto::EventKind_Name(event.kind()) + event.key();
      if (event.kind() == proto::PAYLOAD) {
        line += " " + proto::Event::Outcome_Name(event.outcome()) + " " +
                std::to_string(event.events_accepted()) + "+" +
                std::to_string(event.events_rejected());
      }
      out.push_back(line);
    }
    return out;
  }
  std::vector<proto::Reject> rejects() {
    std::vector<proto::Reject> out;
    for (const std::string& record : records("rejects.transform"))
      EXPECT_TRUE(events::decode_reject(record, out.emplace_back()));
    return out;
  }

  FakeClock clock_{kNow};
  telemetry::Registry registry_;
  std::string folder_;
  std::unique_ptr<log::Log> log_;
  std::unique_ptr<log::Appender> payloads_;
  int runs_ = 0;
};

TEST_F(TransformStageTest, EventsStandInOrderAndThePayloadsOutcomeComesLast) {
  post(header("p1"), kBody);
  post(header("p2"), R"([{"kind":"nonsense"},17])");
  run();
  EXPECT_EQ(taken(), (Lines{"0/0/0 IDENTIFY", "0/1/0 CUSTOMbuy", "0/2/0 PAYLOAD ACCEPTED 2+0",
                            "1/2/0 PAYLOAD ACCEPTED 0+2"}));
  const auto rejected = rejects();
  ASSERT_EQ(rejected.size(), 2u);
  EXPECT_EQ(rejected[0].reason(), "unknown_kind");
  EXPECT_EQ(rejected[0].source().offset(), 1u);
  EXPECT_EQ(rejected[1].source().index(), 1u);
  EXPECT_EQ(rejected[1].record(), "17");
}

TEST_F(TransformStageTest, ACopyOfAPayloadCountsOnceAlsoAfterARestart) {
  post(header("p1"), kBody);
  post(header("p1"), kBody);
  run();
  post(header("p1"), kBody);
  auto other_environment = header("p1");
  other_environment.set_environment_id(8);
  post(other_environment, "[{}]");
  run();
  EXPECT_EQ(taken(), (Lines{"0/0/0 IDENTIFY", "0/1/0 CUSTOMbuy", "0/2/0 PAYLOAD ACCEPTED 2+0",
                            "1/0/0 PAYLOAD DUPLICATE 0+0", "3/0/0 PAYLOAD DUPLICATE 0+0",
                            "4/1/0 PAYLOAD ACCEPTED 0+1"}));
}

TEST_F(TransformStageTest, WithoutDedupeEveryCopyCounts) {
  post(header("p1"), "[{}]");
  post(header("p1"), "[{}]");
  run(false);
  EXPECT_EQ(taken(), (Lines{"0/1/0 PAYLOAD ACCEPTED 0+1", "1/1/0 PAYLOAD ACCEPTED 0+1"}));
}

TEST_F(TransformStageTest, PayloadsWithoutAPayloadIdCountOnceForEachReceipt) {
  const auto one = header("");
  post(one, "[{}]");
  post(one, "[{}]");
  post(header(""), "[{}]");
  run();
  EXPECT_EQ(taken(), (Lines{"0/1/0 PAYLOAD ACCEPTED 0+1", "1/0/0 PAYLOAD DUPLICATE 0+0",
                            "2/1/0 PAYLOAD ACCEPTED 0+1"}));
}

TEST_F(TransformStageTest, ACrashRepeatsTheSameOutputs) {
  post(header("p1"), kBody);
  post(header("p1"), kBody);
  run(true, false);
  const auto first = records("events");
  run();
  const auto both = records("events");
  ASSERT_GT(both.size(), 2 * first.size());
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(both[first.size() + i], first[i]) << i;
  EXPECT_EQ(taken(), (Lines{"0/0/0 IDENTIFY", "0/1/0 CUSTOMbuy", "0/2/0 PAYLOAD ACCEPTED 2+0",
                            "1/0/0 PAYLOAD DUPLICATE 0+0"}));
}

TEST_F(TransformStageTest, CompressedBodiesAreInflatedAndBytesCountAsReceived) {
  auto compressed = header("p1");
  compressed.set_gzip(true);
  const std::string gzip = http::deflate_gzip(kBody);
  post(compressed, gzip);
  compressed.set_payload_id("p2");
  post(compressed, gzip.substr(0, gzip.size() / 2));
  run();
  EXPECT_EQ(taken(), (Lines{"0/0/0 IDENTIFY", "0/1/0 CUSTOMbuy", "0/2/0 PAYLOAD ACCEPTED 2+0",
                            "1/0/0 PAYLOAD REJECTED 0+0"}));
  EXPECT_EQ(all()[2].body_bytes(), gzip.size());
}

TEST_F(TransformStageTest, APayloadThatIsNoneIsRejectedWhole) {
  post(header("p1"), "{\"a\":]");
  run();
  EXPECT_EQ(taken(), (Lines{"0/0/0 PAYLOAD REJECTED 0+0"}));
  const auto rejected = rejects();
  ASSERT_EQ(rejected.size(), 1u);
  EXPECT_EQ(rejected[0].reason(), "not_json");
  EXPECT_EQ(rejected[0].tries(), 1u);
  EXPECT_TRUE(rejected[0].record().ends_with("{\"a\":]"));
}

TEST_F(TransformStageTest, AReceivedTimeAheadOfItsAppendIsCutToThat) {
  post(header("p1", kNow + 5 * kMicrosPerDay), kBody);
  post(header("p2", kNow - 5), kBody);
  run();
  EXPECT_EQ(all()[0].received_us(), kNow);
  EXPECT_EQ(all()[3].received_us(), kNow - 5);
}

proto::PayloadHeader unsummarized(MicrosUtc received = kNow) {
  proto::PayloadHeader header;
  header.set_receipt_id(Id128::random().to_bytes());
  header.set_received_us(received);
  header.set_environment_id(7);
  header.set_credential(proto::PayloadHeader::SDK_KEY);
  header.set_route(proto::PayloadHeader::ANALYTICS);
  header.set_schema(4);
  header.set_unsummarized(true);
  return header;
}

std::string evaluation_of(const std::string& user) {
  return R"({"kind":"feature","creationDate":1795407508889,"key":"f","version":1,"variation":0,)"
         R"("context":{"kind":"user","key":")" +
         user + R"("}})";
}

TEST_F(TransformStageTest, AContextGetsOneIndexEventInFiveMinutesAlsoAfterARestart) {
  post(unsummarized(), "[" + evaluation_of("a") + "," + evaluation_of("a") + "]");
  run();
  post(unsummarized(), "[" + evaluation_of("a") + "," + evaluation_of("b") + "]");
  run();
  EXPECT_EQ(taken(), Lines({"0/0/1 SUMMARYf", "0/0/2 INDEX", "0/1/1 SUMMARYf",
                            "0/2/0 PAYLOAD ACCEPTED 2+0", "2/0/1 SUMMARYf", "2/1/1 SUMMARYf",
                            "2/1/2 INDEX", "2/2/0 PAYLOAD ACCEPTED 2+0"}));
  clock_.advance(5 * kMicrosPerMinute);
  post(unsummarized(kNow + 5 * kMicrosPerMinute), "[" + evaluation_of("a") + "]");
  run();
  EXPECT_EQ(taken().size(), 11u) << "another five minutes, another index event";
}

TEST_F(TransformStageTest, ACrashRepeatsTheSameIndexEvents) {
  post(unsummarized(), "[" + evaluation_of("a") + "]");
  run(true, false);
  post(unsummarized(), "[" + evaluation_of("a") + "," + evaluation_of("b") + "]");
  run(true, false);
  run();
  EXPECT_EQ(taken(),
            Lines({"0/0/1 SUMMARYf", "0/0/2 INDEX", "0/1/0 PAYLOAD ACCEPTED 1+0", "2/0/1 SUMMARYf",
                   "2/1/1 SUMMARYf", "2/1/2 INDEX", "2/2/0 PAYLOAD ACCEPTED 2+0"}));
}

TEST_F(TransformStageTest, AnIdentifyEventTellsOfItsContextAsWell) {
  post(unsummarized(),
       R"([{"kind":"identify","creationDate":1795407508889,"context":{"kind":"user","key":"a"}},)" +
           evaluation_of("a") + "]");
  run();
  EXPECT_EQ(taken(), Lines({"0/0/0 IDENTIFY", "0/1/1 SUMMARYf", "0/2/0 PAYLOAD ACCEPTED 2+0"}));
}

class Discarded final : public pipeline::Outputs {
 public:
  void add(std::size_t, std::string_view) override {}
};

TEST_F(TransformStageTest, RecordsAndPayloadsAreCountedByKindAndSchema) {
  TransformStage stage({.dedupe = true, .inflate = [](auto, auto&) { return Result<void>(); }},
                       registry_);
  const auto store = *pipeline::Store::open(folder_ + "/store");
  const auto fold = *stage.open_fold({.partition = 0, .input_log_id = {1, 1}, .store = *store});
  Discarded outputs;
  const auto take = [&](const proto::PayloadHeader& of, const std::string& body) {
    const pipeline::RecordPlace place{
        .log_id = {1, 1}, .partition = 0, .offset = 0, .append_time = kNow};
    EXPECT_TRUE(fold->fold(place, events::encode_payload_head(of) + body, outputs));
  };
  take(unsummarized(), "[" + evaluation_of("a") + "]");
  take(header("p1"), std::string(kBody));
  take(header("p1"), std::string(kBody));
  const std::string scrape = registry_.scrape();
  const auto holds = [&](const std::string& line) { return scrape.find(line) != scrape.npos; };
  EXPECT_TRUE(holds("flagstream_transform_records_total{kind=\"summary\"} 1\n")) << scrape;
  EXPECT_TRUE(holds("flagstream_transform_records_total{kind=\"custom\"} 1\n"));
  EXPECT_TRUE(holds("flagstream_transform_records_total{kind=\"payload\"} 3\n"));
  EXPECT_TRUE(holds("flagstream_transform_accepted_payloads_total{schema=\"unsummarized\"} 1\n"));
  EXPECT_TRUE(holds("flagstream_transform_accepted_payloads_total{schema=\"4\"} 1\n"));
}

TEST_F(TransformStageTest, TicksArePassedOnWithTheirTime) {
  append({events::tick_record()});
  run();
  const auto out = records("events");
  ASSERT_FALSE(out.empty());
  EXPECT_EQ(events::record_kind(out[0]), events::RecordKind::Tick);
  EXPECT_EQ(events::tick_time(out[0], 0), kNow);
}

TEST_F(TransformStageTest, UnknownKindsAreCountedAndSteppedOver) {
  append({"\x63\x01 from the future"});
  post(header("p1"), "[{}]");
  run();
  EXPECT_EQ(taken(), (Lines{"1/1/0 PAYLOAD ACCEPTED 0+1"}));
  EXPECT_TRUE(rejects().size() == 1);
}

// The sinks of one record, without a log.
class Collected final : public pipeline::Outputs {
 public:
  void add(std::size_t sink, std::string_view record) override {
    records.emplace_back(sink, record);
  }
  std::vector<std::pair<std::size_t, std::string>> records;
};

TEST_F(TransformStageTest, ARecordThatCrashesIsRejectedWholeAndItsCopiesAreRepeats) {
  TransformStage stage({.dedupe = true, .inflate = [](auto, auto&) { return Result<void>(); }},
                       registry_);
  const auto store = *pipeline::Store::open(folder_ + "/store");
  const auto fold = *stage.open_fold({.partition = 0, .input_log_id = {1, 2}, .store = *store});
  Collected out;
  const pipeline::RecordPlace place{
      .log_id = {1, 2}, .partition = 0, .offset = 5, .append_time = kNow};
  const std::string record =
      events::encode_payload_head(header("p1")) + R"([{"kind":"custom","key":"__poison__"}])";
  ASSERT_TRUE(fold->pass_over(place, record, out));
  ASSERT_TRUE(fold->fold(place, record, out));
  ASSERT_EQ(out.records.size(), 3u);
  proto::Reject reject;
  ASSERT_TRUE(events::decode_reject(out.records[0].second, reject));
  EXPECT_EQ(out.records[0].first, 1u);
  EXPECT_EQ(reject.reason(), "crash");
  EXPECT_EQ(reject.tries(), 3u);
  EXPECT_EQ(reject.record(), record);
  proto::Event outcome;
  ASSERT_TRUE(events::decode_event(out.records[1].second, outcome));
  EXPECT_EQ(outcome.outcome(), proto::Event::REJECTED);
  ASSERT_TRUE(events::decode_event(out.records[2].second, outcome));
  EXPECT_EQ(outcome.outcome(), proto::Event::DUPLICATE);
}

TEST_F(TransformStageTest, DamagedRecordsAreRejectedAndThoseOfANewerReleaseStopTheStage) {
  TransformStage stage({.dedupe = true, .inflate = [](auto, auto&) { return Result<void>(); }},
                       registry_);
  const auto store = *pipeline::Store::open(folder_ + "/store");
  const auto fold = *stage.open_fold({.partition = 0, .input_log_id = {1, 2}, .store = *store});
  Collected out;
  const pipeline::RecordPlace place{
      .log_id = {1, 2}, .partition = 0, .offset = 5, .append_time = kNow};
  ASSERT_TRUE(fold->fold(place, std::string("\x01\x01\xff\xff\xff\x7f", 6), out));
  ASSERT_EQ(out.records.size(), 1u);
  proto::Reject reject;
  ASSERT_TRUE(events::decode_reject(out.records[0].second, reject));
  EXPECT_EQ(reject.reason(), "damaged_record");
  EXPECT_EQ(fold->fold(place, "\x01\x02zzzz", out).error().kind, ErrorKind::InvalidArgument);
}

}  // namespace
}  // namespace flagstream::transform
