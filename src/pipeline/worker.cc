#include "pipeline/worker.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "base/assert.h"
#include "telemetry/tell.h"

namespace flagstream::pipeline {
namespace {

constexpr std::size_t kFetchBytes = 1u << 20;
constexpr std::uint64_t kInputOnShortDisk = 16u << 20;  // between checkpoints
constexpr std::chrono::milliseconds kPatience{20};      // until results are published
constexpr std::chrono::milliseconds kPatienceIdle{100};
constexpr std::chrono::milliseconds kPatienceHeldBack{1};

// A worker that has caught up rests before it reads again: what comes meanwhile is folded and made
// durable together, rather than with a sync of the outputs for each group of the input.
constexpr std::chrono::milliseconds kRest{10};
constexpr std::uint64_t kCaughtUpBytes = kFetchBytes / 4;  // fewer at once, of records
constexpr std::chrono::microseconds kUnreadablePatience = std::chrono::seconds(30);

// Threads that open partitions at the start: a store is opened with a dozen waits for the disk, and
// those of several stores are one wait.
constexpr std::size_t kOpeners = 16;

// A partition in which only time passes has a checkpoint with each so many of the others.
constexpr std::uint32_t kCutsPerIdleCut = 30;

}  // namespace

Worker::Worker(const With& with, std::uint32_t index)
    : with_(with),
      index_(index),
      sinks_(share(with.settings.output_bytes_in_flight_max)),
      published_(with.clock.monotonic()),
      cut_(published_),
      fetched_(published_) {}

Worker::~Worker() {
  with_.run.probe.lag_records.add(-lag_told_);
  with_.run.probe.dirty_bytes.add(-dirty_told_);
  sinks_.settle();
}

std::uint64_t Worker::share(std::uint64_t of_stage) const {
  return std::max<std::uint64_t>(1, of_stage / with_.settings.workers);
}

Result<std::unique_ptr<Worker>> Worker::open(const With& with, std::uint32_t index) {
  std::unique_ptr<Worker> worker(new Worker(with, index));
  const std::string topic = with.run.stage.input();
  FS_TRY(const log::TopicInfo info, with.log.info(topic));
  FS_TRY(worker->open_partitions(info));
  std::vector<log::Start> starts;
  for (const auto& each : worker->partitions_)
    starts.push_back({.partition = each->partition(), .offset = each->next()});
  FS_TRY(worker->reader_, with.log.open_reader(topic, with.run.input_log_id, starts));
  worker->tell_positions();
  return worker;
}

Result<void> Worker::open_partitions(const log::TopicInfo& info) {
  using Opened = Result<std::unique_ptr<PartitionRun>>;
  std::vector<log::Partition> numbers;
  for (log::Partition number = index_; number < info.partitions.size();
       number += with_.settings.workers)
    numbers.push_back(number);
  std::vector<std::optional<Opened>> opened(numbers.size());
  const auto open_some = [&](std::size_t first) {
    for (std::size_t i = first; i < numbers.size(); i += kOpeners) {
      const log::Partition number = numbers[i];
      opened[i] = PartitionRun::open(with_.run, sinks_, number, info.partitions[number]);
    }
  };
  std::vector<std::thread> openers;
  for (std::size_t first = 1; first < std::min(kOpeners, numbers.size()); ++first)
    openers.emplace_back(open_some, first);
  open_some(0);
  for (std::thread& opener : openers) opener.join();
  for (auto& each : opened) {
    FS_TRY(auto partition, *std::move(each));
    partitions_.push_back(std::move(partition));
  }
  return {};
}

Result<void> Worker::work(const std::atomic<Ending>& ending) {
  while (ending.load() == Ending::None) {
    if (is_disk_at(log::DiskMark::Critical)) {  // where outputs are refused
      std::this_thread::sleep_for(kPatience);
      fetched_ = with_.clock.monotonic();
    } else {
      if (std::exchange(is_rest_due_, false)) {
        with_.run.probe.rests.add();
        std::this_thread::sleep_for(kRest);
      }
      FS_TRY(const log::Fetched fetched, fetch());
      FS_TRY(take(fetched));
      flush(false);
    }
    FS_TRY(sinks_.wait_for_room(share(with_.settings.output_bytes_in_flight_max)));
    FS_TRY(tend());
  }
  if (ending.load() == Ending::Checkpoint) FS_TRY(cut(true));
  tell_positions();
  return {};
}

bool Worker::is_disk_at(log::DiskMark mark) const {
  return with_.settings.disk_mark && with_.settings.disk_mark() >= mark;
}

// A topic whose writer is just starting or stopping may be unreadable for a while.
Result<log::Fetched> Worker::fetch() {
  const auto patience = has_input_ ? kPatience : kPatienceIdle;
  auto fetched = reader_->next(kFetchBytes, is_held_back_ ? kPatienceHeldBack : patience);
  const std::int64_t now = with_.clock.monotonic();
  if (fetched && fetched->status == log::Fetched::Status::End) at_end_ = with_.clock.now();
  if (fetched || fetched.error().kind != ErrorKind::Unavailable) {
    fetched_ = now;
    return fetched;
  }
  if (now - fetched_ > kUnreadablePatience.count()) return fetched;
  std::this_thread::sleep_for(kPatience);
  return log::Fetched{};
}

Result<void> Worker::take(const log::Fetched& fetched) {
  switch (fetched.status) {
    case log::Fetched::Status::End:
      return {};
    case log::Fetched::Status::Frames: {
      std::uint64_t bytes = 0;  // as the reader bounds them: a backlog can be compressed a lot
      for (const log::Frame& frame : fetched.frames) {
        FS_TRY(const std::uint64_t folded, partition(frame.partition).fold(frame));
        bytes += folded;
        input_bytes_ += frame.stored_bytes;
      }
      has_input_ = true;
      is_rest_due_ = bytes < share(kCaughtUpBytes);
      return {};
    }
    case log::Fetched::Status::OutOfRange:
    case log::Fetched::Status::Quarantined:
      return step_over(fetched);
  }
  return {};
}

Result<void> Worker::step_over(const log::Fetched& fetched) {
  PartitionRun& stopped = partition(fetched.partition);
  const std::uint64_t lost = fetched.next_offset - stopped.next();
  const std::string name = with_.run.stage.name();
  if (fetched.status == log::Fetched::Status::Quarantined) {
    with_.run.probe.quarantined_records.add(lost);
    telemetry::error("damage in the log has cost a stage records",
                     {{"stage", name},
                      {"partition", fetched.partition},
                      {"offset", stopped.next()},
                      {"records", lost}});
  } else if (with_.settings.on_gap == OnGap::Stop) {
    return fail(ErrorKind::DataLoss,
                "retention has deleted " + std::to_string(lost) + " records of partition " +
                    std::to_string(fetched.partition) + " before the stage read them, from " +
                    std::to_string(stopped.next()) +
                    " on; pipeline.on_gap=continue lets it go on behind the gap");
  } else {
    with_.run.probe.gap_records.add(lost);
    telemetry::error("retention has deleted records before a stage read them",
                     {{"stage", name},
                      {"partition", fetched.partition},
                      {"offset", stopped.next()},
                      {"records", lost}});
  }
  stopped.skip_to(fetched.next_offset);
  reader_->skip_to(fetched.partition, fetched.next_offset);
  has_input_ = true;
  return {};
}

PartitionRun& Worker::partition(log::Partition number) {
  PartitionRun& found = *partitions_.at(number / with_.settings.workers);
  FS_ASSERT(found.partition() == number, "a worker reads its own partitions");
  return found;
}

void Worker::flush(bool all) {
  is_held_back_ = false;
  for (const auto& each : partitions_) {
    each->flush(all);
    is_held_back_ = is_held_back_ || each->has_held_back();
  }
}

Result<void> Worker::tend() {
  const std::int64_t now = with_.clock.monotonic();
  if (now - published_ >= with_.settings.publish_interval.count()) {
    published_ = now;
    if (std::exchange(has_input_, false)) FS_TRY(publish());
    tell_lag();
    tell_positions();
  }
  if (!is_cut_due(now)) return {};
  const bool with_idle = ++cuts_without_idle_ >= kCutsPerIdleCut;
  if (with_idle) cuts_without_idle_ = 0;
  cut_ = now;
  return cut(with_idle);
}

Result<void> Worker::publish() {
  for (const auto& each : partitions_) FS_TRY(each->publish());
  return {};
}

// What cannot be told now is told later.
void Worker::tell_lag() {
  const auto info = with_.log.info(with_.run.stage.input());
  if (!info) return;
  double lag = 0;
  double dirty = 0;
  for (const auto& each : partitions_) {
    const log::Offset end = info->partitions.at(each->partition()).data_end;
    if (end > each->next()) lag += static_cast<double>(end - each->next());
    dirty += static_cast<double>(each->dirty_bytes());
  }
  with_.run.probe.lag_records.add(lag - std::exchange(lag_told_, lag));
  with_.run.probe.dirty_bytes.add(dirty - std::exchange(dirty_told_, dirty));
}

void Worker::tell_positions() {
  if (with_.run.registration == nullptr) return;
  std::vector<log::ReaderPosition> positions;
  positions.reserve(partitions_.size());
  for (const auto& each : partitions_) {
    positions.push_back({.partition = each->partition(),
                         .next = each->next(),
                         .resume = each->checkpointed(),
                         .read_until = std::max(at_end_, each->read_until())});
  }
  with_.run.registration->tell(positions);
}

bool Worker::is_cut_due(std::int64_t now) const {
  if (now - cut_ >= with_.settings.checkpoint_interval.count()) return true;
  const bool is_short = is_disk_at(log::DiskMark::Reserve);
  const std::uint64_t input_max = with_.settings.checkpoint_input_bytes;
  if (input_bytes_ >= share(is_short ? std::min(input_max, kInputOnShortDisk) : input_max))
    return true;
  std::uint64_t dirty = 0;
  for (const auto& each : partitions_) dirty += each->dirty_bytes();
  return dirty >= share(with_.settings.checkpoint_dirty_bytes);
}

Result<void> Worker::cut(bool with_idle) {
  const std::int64_t begin = with_.clock.monotonic();
  std::vector<PartitionRun*> chosen;
  for (const auto& each : partitions_) {
    if (each->has_news() && (with_idle || each->is_dirty())) chosen.push_back(each.get());
  }
  input_bytes_ = 0;
  if (chosen.empty()) return {};
  flush(true);
  for (PartitionRun* each : chosen) FS_TRY(each->publish());
  FS_TRY(sinks_.wait_for_room(0));
  for (PartitionRun* each : chosen) FS_TRY(each->checkpoint());
  with_.run.probe.checkpoint_seconds.observe(static_cast<double>(with_.clock.monotonic() - begin) /
                                             kMicrosPerSecond);
  return {};
}

}  // namespace flagstream::pipeline
