// What analytics costs a core, on the events that transform makes of payloads that an SDK sent.
//
// AnalyticsFold: 256 payloads with 25 users of their own each, again and again with new sources;
// every 16,384 payloads results are published to a real database and a checkpoint goes to a real
// store.  Not in it: reading the log.
//
// Answers are checked: the records counted must be those folded.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <unistd.h>

#include "analytics/stage.h"
#include "events/payload.h"
#include "pipeline/store.h"
#include "telemetry/metrics.h"
#include "transform/transform_stage.h"

namespace flagstream {
namespace {

constexpr MicrosUtc kNow = 1'795'407'508'900'000;
constexpr std::int64_t kEventsPerPayload = 101;
constexpr std::uint64_t kPayloads = 256;
constexpr std::uint64_t kPayloadsPerCheckpoint = 16'384;
// Sources of so many bits have offsets of five bytes, which can be rewritten in place.
constexpr std::uint64_t kFirstOffset = 1u << 28;
constexpr std::size_t kOffsetAt = 2 + 2 + 2 + 16 + 1;
constexpr std::size_t kOffsetBytes = 5;

class Kept final : public pipeline::Outputs {
 public:
  void add(std::size_t, std::string_view record) override { records.emplace_back(record); }
  std::vector<std::string> records;
};

std::string sample() {
  std::ifstream in(FLAGSTREAM_SOURCE_DIR "/tests/data/sdk-payloads/node-server-101-events.json",
                   std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// `text` with users of its own.
std::string body(std::string text, std::uint64_t number) {
  for (std::size_t at = text.find("\"u-"); at != std::string::npos;
       at = text.find("\"u-", at + 1)) {
    const auto user = std::strtoull(&text[at + 3], nullptr, 10) % 1'000 + 1'000 * number;
    const std::size_t end = text.find('"', at + 1);
    text.replace(at + 3, end - at - 3, std::to_string(user));
  }
  return text;
}

std::vector<std::vector<std::string>> events_of_payloads(const std::string& folder) {
  telemetry::Registry registry;
  transform::TransformStage stage(
      {.dedupe = true, .inflate = [](auto, auto&) { return Result<void>(); }}, registry);
  const auto store = *pipeline::Store::open(folder + "/transform");
  const auto fold = *stage.open_fold({.partition = 0, .input_log_id = {1, 1}, .store = *store});
  const std::string text = sample();
  std::vector<std::vector<std::string>> all;
  for (std::uint64_t i = 0; i < kPayloads; ++i) {
    events::proto::PayloadHeader header;
    header.set_payload_id(std::to_string(i));
    header.set_received_us(kNow + static_cast<MicrosUtc>(i) * kMicrosPerSecond);
    header.set_environment_id(7);
    header.set_credential(events::proto::PayloadHeader::SDK_KEY);
    header.set_user_agent("NodeJSClient/9.13.7");
    Kept kept;
    const pipeline::RecordPlace place{.log_id = {1, 1},
                                      .partition = 0,
                                      .offset = kFirstOffset + i,
                                      .append_time = header.received_us()};
    if (!fold->fold(place, events::encode_payload_head(header) + body(text, i), kept)) std::abort();
    all.push_back(std::move(kept.records));
  }
  return all;
}

void set_offset(std::string& record, std::uint64_t offset) {
  for (std::size_t i = 0; i < kOffsetBytes; ++i, offset >>= 7) {
    const auto byte = static_cast<unsigned char>((offset & 127) | (i + 1 < kOffsetBytes ? 128 : 0));
    record[kOffsetAt + i] = static_cast<char>(byte);
  }
}

void fold(benchmark::State& state) {
  const std::string folder = std::filesystem::temp_directory_path().string() +
                             "/flagstream_bench_analytics_" + std::to_string(::getpid());
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  auto payloads = events_of_payloads(folder);
  telemetry::Registry registry;
  analytics::AnalyticsStage stage({.results_path = folder + "/results.db", .limits = {}}, registry);
  const auto store = *pipeline::Store::open(folder + "/analytics");
  auto fold = *stage.open_fold({.partition = 0, .input_log_id = {2, 2}, .store = *store});
  Kept outputs;
  std::uint64_t number = 0;
  std::uint64_t offset = 0;
  for (auto _ : state) {
    for (std::string& record : payloads[number % kPayloads]) {
      set_offset(record, kFirstOffset + number);
      const pipeline::RecordPlace place{
          .log_id = {2, 2}, .partition = 0, .offset = offset++, .append_time = kNow};
      if (!fold->fold(place, record, outputs)) state.SkipWithError("the event was refused");
    }
    if (++number % kPayloadsPerCheckpoint == 0) {
      pipeline::Changes changes;
      if (!fold->publish()) state.SkipWithError("the results cannot be written");
      fold->checkpoint(changes);
      if (!store->write(changes)) state.SkipWithError("the store cannot be written");
      fold->checkpointed();
    }
  }
  const std::string wanted =
      "flagstream_analytics_records_total{result=\"counted\"} " + std::to_string(offset) + "\n";
  if (registry.scrape().find(wanted) == std::string::npos)
    state.SkipWithError("events are missing");
  state.counters["events"] = benchmark::Counter(static_cast<double>(number) * kEventsPerPayload,
                                                benchmark::Counter::kIsRate);
  state.counters["records"] =
      benchmark::Counter(static_cast<double>(offset), benchmark::Counter::kIsRate);
  fold.reset();
  std::filesystem::remove_all(folder);
}

BENCHMARK(fold)->Name("AnalyticsFold")->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace flagstream

BENCHMARK_MAIN();
