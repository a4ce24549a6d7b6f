// What transform costs a core, on payloads that an SDK sent.
//
// Fold: header, dedupe, decoding and encoding of one payload after the other, every payload new;
// outputs are counted and dropped, a checkpoint every 4,096 payloads goes to a real store.  Not in
// it: reading the log, appending to it.
//
// Open16Stores: the stores of a stage as it starts, one after the other or all at once, each with
// one checkpoint more than the time before.  Real time.
//
// FromTheLog: the same as Fold through a Runner with one worker, from a topic of 64 MiB on this
// machine's disk to `events` on the same disk, until everything is durable.  The log's committers
// run on threads of their own.  Real time.
//
// Answers are checked: events accepted must be those in the payloads.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>
#include <unistd.h>

#include "base/clock.h"
#include "events/payload.h"
#include "http/inflate.h"
#include "io/file_system.h"
#include "log/local_log.h"
#include "pipeline/runner.h"
#include "telemetry/metrics.h"
#include "transform/transform_stage.h"

namespace flagstream {
namespace {

constexpr MicrosUtc kNow = 1'795'407'508'900'000;
constexpr std::int64_t kEventsPerPayload = 101;
constexpr int kPayloadsPerCheckpoint = 4'096;
constexpr std::uint64_t kFirstNumber = 1'000'000'000;
constexpr std::size_t kTopicBytes = 64u << 20;

std::string body() {
  std::ifstream in(FLAGSTREAM_SOURCE_DIR "/tests/data/sdk-payloads/node-server-101-events.json",
                   std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::string record(std::uint64_t number, const std::string& text) {
  events::proto::PayloadHeader header;
  header.set_receipt_id(Id128{1, number}.to_bytes());
  header.set_payload_id(std::to_string(number));
  header.set_received_us(kNow);
  header.set_environment_id(7);
  header.set_credential(events::proto::PayloadHeader::SDK_KEY);
  header.set_schema(4);
  header.set_user_agent("NodeJSClient/9.13.7");
  return events::encode_payload_head(header) + text;
}

std::string fresh_folder() {
  const std::string folder = std::filesystem::temp_directory_path().string() +
                             "/flagstream_bench_transform_" + std::to_string(::getpid());
  std::filesystem::remove_all(folder);
  return folder;
}

class Dropped final : public pipeline::Outputs {
 public:
  void add(std::size_t, std::string_view bytes) override {
    ++records;
    benchmark::DoNotOptimize(bytes.data());
  }
  std::int64_t records = 0;
};

void count(benchmark::State& state, std::int64_t payloads, std::size_t body_bytes) {
  state.SetBytesProcessed(payloads * static_cast<std::int64_t>(body_bytes));
  state.counters["events"] = benchmark::Counter(static_cast<double>(payloads * kEventsPerPayload),
                                                benchmark::Counter::kIsRate);
}

void fold(benchmark::State& state) {
  const std::string folder = fresh_folder();
  telemetry::Registry registry;
  transform::TransformStage stage(
      {.dedupe = true,
       .inflate = [](std::string_view gzip,
                     std::string& out) { return http::inflate_gzip(gzip, {}, out); }},
      registry);
  const auto store = *pipeline::Store::open(folder);
  const auto fold = *stage.open_fold({.partition = 0, .input_log_id = {1, 1}, .store = *store});
  const std::string text = body();
  // A payload id of as many digits each time, which can be rewritten in place.
  std::string payload = record(kFirstNumber, text);
  char* const payload_id = &payload[payload.find(std::to_string(kFirstNumber))];
  Dropped outputs;
  std::uint64_t number = 0;
  for (auto _ : state) {
    const std::string digits = std::to_string(kFirstNumber + number);
    digits.copy(payload_id, digits.size());
    const bool is_done =
        fold->fold({.log_id = {1, 1}, .partition = 0, .offset = number, .append_time = kNow},
                   payload, outputs)
            .has_value();
    if (!is_done) state.SkipWithError("the payload was refused");
    if (++number % kPayloadsPerCheckpoint == 0) {
      pipeline::Changes changes;
      fold->checkpoint(changes);
      if (!store->write(changes)) state.SkipWithError("the store cannot be written");
      fold->checkpointed();
    }
  }
  if (outputs.records < static_cast<std::int64_t>(number) * (kEventsPerPayload + 1))
    state.SkipWithError("events are missing");
  count(state, static_cast<std::int64_t>(number), text.size());
  std::filesystem::remove_all(folder);
}

void from_the_log(benchmark::State& state) {
  const std::string text = body();
  const std::size_t payloads = kTopicBytes / text.size();
  std::int64_t done = 0;
  for (auto _ : state) {
    state.PauseTiming();
    const std::string folder = fresh_folder();
    const SystemClock clock;
    telemetry::Registry registry;
    const auto log =
        log::open_local_log({.folder = folder + "/log"}, io::posix_file_system(), clock, registry);
    {
      const auto to = *log->open_appender("payloads", {.partitions = 16});
      for (std::size_t i = 0; i < payloads; ++i) {
        log::Batch batch;
        batch.add({record(i, text)});
        if (!to->append_and_wait(static_cast<log::Partition>(i % 16), std::move(batch)))
          state.SkipWithError("the log cannot be written");
      }
    }
    transform::TransformStage stage(
        {.dedupe = true, .inflate = [](auto, auto&) { return Result<void>(); }}, registry);
    state.ResumeTiming();
    auto runner = pipeline::Runner::start({.state_folder = folder + "/state",
                                           .crash_notes_folder = folder + "/crash",
                                           .output_topics = {}},
                                          {&stage}, *log, clock, registry);
    const std::string wanted = "flagstream_transform_payloads_total{outcome=\"accepted\"} " +
                               std::to_string(payloads) + "\n";
    while (registry.scrape().find(wanted) == std::string::npos)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (!(*runner)->stop()) state.SkipWithError("the stage has failed");
    state.PauseTiming();
    done += static_cast<std::int64_t>(payloads);
    runner->reset();
    std::filesystem::remove_all(folder);
    state.ResumeTiming();
  }
  count(state, done, text.size());
}

void open_stores(benchmark::State& state) {
  const std::string folder = fresh_folder();
  constexpr std::size_t kStores = 16;
  for (auto _ : state) {
    std::vector<std::unique_ptr<pipeline::Store>> stores(kStores);
    const auto open = [&](std::size_t i) {
      auto store = pipeline::Store::open(folder + "/" + std::to_string(i));
      if (!store) std::abort();
      stores[i] = *std::move(store);
    };
    std::vector<std::thread> openers;
    for (std::size_t i = 0; i < kStores; ++i) {
      if (state.range(0) == 0) {
        open(i);
      } else {
        openers.emplace_back(open, i);
      }
    }
    for (std::thread& opener : openers) opener.join();
    state.PauseTiming();
    for (const auto& store : stores) {
      pipeline::Changes changes;
      changes.put("dclock", std::string(100, 'x'));
      if (!store->write(changes)) return state.SkipWithError("a store cannot be written");
    }
    stores.clear();
    state.ResumeTiming();
  }
  std::filesystem::remove_all(folder);
}

BENCHMARK(fold)->Name("Fold")->Unit(benchmark::kMicrosecond);
BENCHMARK(open_stores)
    ->Name("Open16Stores")
    ->ArgName("at_once")
    ->Arg(0)
    ->Arg(1)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(from_the_log)->Name("FromTheLog")->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace flagstream

BENCHMARK_MAIN();
