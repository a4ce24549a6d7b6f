// What it measures: the stage `lake` alone, from events in a local log to Parquet files in a
// committed Delta table; one thread, one file system, fdatasync included.  Prints one JSON line.
// What it does not: decoding of SDK payloads, which transform has done before; queries.
//
// usage: bench_lake FOLDER [EVENTS]    FOLDER must not exist; it is left behind for a look at the
// table
#include <charconv>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <string>

#include <fmt/format.h>
#include <sys/resource.h>

#include "events/event.h"
#include "io/file_system.h"
#include "lake/lake_stage.h"
#include "log/local_log.h"

namespace flagstream {
namespace {

constexpr std::uint64_t kEventsPerFrame = 200;
constexpr log::Partition kPartitions = 16;

// Of ten records six are counters of summaries, two evaluations, one a context and one a metric.
void fill(std::uint64_t number, const std::string& source_log, MicrosUtc now,
          events::proto::Event& event) {
  event.Clear();
  event.mutable_source()->set_log_id(source_log);
  event.mutable_source()->set_offset(number / 10);
  event.mutable_source()->set_index(static_cast<std::uint32_t>(number % 10));
  event.set_environment_id(number % 7 + 1);
  event.set_received_us(now + static_cast<std::int64_t>(number));
  event.set_time_us(now);
  event.set_sdk_name("NodeJSClient");
  event.set_sdk_version("9.13.7");
  const std::uint64_t which = number % 10;
  if (which < 6) {
    event.set_kind(events::proto::SUMMARY);
    event.set_key(fmt::format("flag-{:02}", number % 40));
    event.set_variation(static_cast<std::int32_t>(number % 3));
    event.set_version(7);
    event.set_value_json("true");
    event.set_default_json("false");
    event.set_count(static_cast<std::int64_t>(number % 1000));
    event.set_start_us(now - 5'000'000);
    event.add_context_kinds("user");
    return;
  }
  auto* context = event.add_contexts();
  context->set_kind("user");
  context->set_key(fmt::format("user-{}", number * 2'654'435'761u % 1'000'000));
  if (which == 6) {
    event.set_kind(events::proto::INDEX);
    event.set_context_json(fmt::format(
        R"({{"kind":"user","key":"{}","name":"A. Person","country":"de","plan":"pro"}})",
        context->key()));
  } else if (which == 7) {
    event.set_kind(events::proto::CUSTOM);
    event.set_key("checkout");
    event.set_metric_micros(static_cast<std::int64_t>(number % 100'000) * 1000);
    event.set_data_json(R"({"cart":3,"currency":"EUR"})");
  } else {
    event.set_kind(events::proto::FEATURE);
    event.set_key(fmt::format("flag-{:02}", number % 40));
    event.set_variation(1);
    event.set_version(7);
    event.set_value_json("\"blue\"");
    event.set_reason_json(R"({"kind":"FALLTHROUGH"})");
  }
}

Result<std::uint64_t> write_log(log::Log& to, std::uint64_t events, MicrosUtc now) {
  FS_TRY(const auto appender, to.open_appender("events", {.partitions = kPartitions}));
  const std::string source_log = Id128::random().to_bytes();
  events::proto::Event event;
  std::string record;
  std::uint64_t bytes = 0;
  for (std::uint64_t next = 0; next < events;) {
    log::Batch batch;
    for (std::uint64_t i = 0; i < kEventsPerFrame && next < events; ++i, ++next) {
      record.clear();
      fill(next, source_log, now, event);
      events::encode_event(event, record);
      batch.add({record});
    }
    bytes += batch.size();
    const auto partition = static_cast<log::Partition>(next / kEventsPerFrame % kPartitions);
    FS_TRY(appender->append_and_wait(partition, std::move(batch)));
  }
  return bytes;
}

// Of the whole process, user and system.
double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

Result<void> run(const std::string& folder, std::uint64_t events) {
  const SystemClock clock;
  telemetry::Registry registry;
  io::FileSystem& files = io::posix_file_system();
  const auto log = log::open_local_log({.folder = folder + "/log"}, files, clock, registry);
  FS_TRY(const std::uint64_t bytes, write_log(*log, events, clock.now()));
  FS_TRY(const lake::DuckDb* duckdb, lake::load_duckdb(""));
  lake::LakeSettings settings;
  settings.folder = folder + "/lake/events";
  settings.poll = std::chrono::milliseconds(0);
  FS_TRY(const auto stage, lake::LakeStage::open(settings, *duckdb, *log, files, clock, registry));
  const std::int64_t began = clock.monotonic();
  const double cpu_began = cpu_seconds();
  while (stage->probe().event_records.value() < events) FS_TRY(stage->turn());
  FS_TRY(stage->commit());
  const double seconds = static_cast<double>(clock.monotonic() - began) / 1e6;
  const double cpu = cpu_seconds() - cpu_began;
  if (stage->probe().rows.value() != events) {
    return fail(ErrorKind::DataLoss, "the table has another number of rows than the topic");
  }
  std::cout << fmt::format(
      R"({{"events":{},"seconds":{:.3f},"events_per_second":{:.0f},"cpu_seconds":{:.3f},"input_bytes":{},"file_bytes":{},"files":{},"commits":{}}})"
      "\n",
      events, seconds, static_cast<double>(events) / seconds, cpu, bytes,
      stage->probe().file_bytes.value(), stage->probe().files.value(),
      stage->probe().commits.value());
  return {};
}

}  // namespace
}  // namespace flagstream

int main(int argc, char** argv) {
  std::uint64_t events = 1'000'000;
  if (argc > 2) {
    const std::string_view text(argv[2]);
    (void)std::from_chars(text.data(), text.data() + text.size(), events);
  }
  if (argc < 2 || argc > 3 || events == 0 || std::filesystem::exists(argv[1])) {
    std::cerr << "usage: bench_lake FOLDER [EVENTS]    FOLDER must not exist\n";
    return 2;
  }
  const auto done = flagstream::run(argv[1], events);
  if (!done) std::cerr << "bench_lake: " << done.error().what << '\n';
  return done ? 0 : 1;
}
