// For tests of the runtime: a stage over the topic `in`, its log in a temporary folder, and what
// came out.
#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "events/source_guard.h"
#include "io/file_system.h"
#include "log/local_log.h"
#include "pipeline/runner.h"

namespace flagstream::pipeline {

// Numbers the records of each partition: the output of record "x" at offset 7, if it is the fifth
// that is no tick, is "7 5 x".  Records that begin with '!' go to the second topic.
class NumberingStage final : public Stage {
 public:
  std::string name() const override { return "numbering"; }
  std::uint32_t format_version() const override { return format_version_; }
  std::string input() const override { return "in"; }
  std::vector<std::string> outputs() const override { return {"out", "shouts"}; }
  Result<std::unique_ptr<Fold>> open_fold(const FoldPlace& place) override;

  // Blocks until so many records were folded by this object's folds; false after half a minute.
  bool wait_for_folded(std::uint64_t count) {
    return wait([&] { return folded_ >= count; });
  }
  bool wait_for_checkpoints(std::uint64_t count) {
    return wait([&] { return checkpoints_ >= count; });
  }
  bool wait_for_published(std::uint64_t count) {
    return wait([&] { return published_ >= count; });
  }
  std::uint64_t folded() {
    const std::lock_guard lock(mutex_);
    return folded_;
  }
  std::uint64_t checkpoints() {
    const std::lock_guard lock(mutex_);
    return checkpoints_;
  }
  std::uint64_t lost() {
    const std::lock_guard lock(mutex_);
    return lost_;
  }

  std::uint32_t format_version_ = 1;

 private:
  friend class NumberingFold;
  template <class Condition>
  bool wait(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), condition);
  }
  void tell(std::uint64_t NumberingStage::* counter, std::uint64_t by) {
    const std::lock_guard lock(mutex_);
    this->*counter += by;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t folded_ = 0;
  std::uint64_t checkpoints_ = 0;
  std::uint64_t published_ = 0;
  std::uint64_t lost_ = 0;
};

class NumberingFold final : public Fold {
 public:
  NumberingFold(NumberingStage& stage, std::uint64_t count) : stage_(stage), count_(count) {}

  Result<void> fold(const RecordPlace& place, std::string_view record, Outputs& outputs) override {
    if (record == "crash") __builtin_trap();
    if (record == "error") return fail(ErrorKind::InvalidArgument, "a record of a newer release");
    return number(place, record, outputs);
  }
  Result<void> pass_over(const RecordPlace& place, std::string_view, Outputs& outputs) override {
    return number(place, "passed over", outputs);
  }
  Result<void> publish() override {
    stage_.tell(&NumberingStage::published_, 1);
    return {};
  }
  void checkpoint(Changes& changes) override {
    std::string value;
    append_le(value, count_);
    changes.put("dcount", value);
    dirty_bytes_ = 0;
  }
  void checkpointed() override { stage_.tell(&NumberingStage::checkpoints_, 1); }
  void lost(log::Offset begin, log::Offset end) override {
    stage_.tell(&NumberingStage::lost_, end - begin);
  }
  std::size_t dirty_bytes() const override { return dirty_bytes_; }

 private:
  Result<void> number(const RecordPlace& place, std::string_view record, Outputs& outputs) {
    if (record[0] != static_cast<char>(log::RecordKind::Tick)) {
      ++count_;
      dirty_bytes_ += record.size();
      outputs.add(record[0] == '!' ? 1 : 0, std::to_string(place.offset) + " " +
                                                std::to_string(count_) + " " + std::string(record));
    }
    stage_.tell(&NumberingStage::folded_, 1);
    return {};
  }

  NumberingStage& stage_;
  std::uint64_t count_;
  std::size_t dirty_bytes_ = 0;
};

inline Result<std::unique_ptr<Fold>> NumberingStage::open_fold(const FoldPlace& place) {
  FS_TRY(const auto value, place.store.get("dcount"));
  return std::make_unique<NumberingFold>(*this, value ? get_u64(value->data()) : 0);
}

// A local log in a folder, and what a stage made of it.
class StageFolder {
 public:
  StageFolder(std::string folder, const Clock& clock,
              io::FileSystem& files = io::posix_file_system(),
              log::Compression compression = log::Compression::None)
      : folder_(std::move(folder)) {
    log_ = log::open_local_log({.folder = folder_ + "/log",
                                .segment_bytes = 64 << 10,
                                .pool_segments = 0,
                                .compression = compression},
                               files, clock, registry_);
  }

  RunnerSettings settings() const {
    return {.state_folder = folder_ + "/state",
            .crash_notes_folder = folder_ + "/crash",
            .workers = 1,
            .checkpoint_interval = std::chrono::hours(1),
            .output_topics = {},
            .on_gap = OnGap::Stop};
  }
  std::unique_ptr<log::Appender> input(log::Partition partitions = 2) {
    auto opened = log_->open_appender("in", {.partitions = partitions});
    if (!opened) ADD_FAILURE() << opened.error().what;
    return *std::move(opened);
  }
  static void append(log::Appender& to, log::Partition partition,
                     const std::vector<std::string>& records) {
    log::Batch batch;
    for (const std::string& each : records) batch.add({each});
    ASSERT_TRUE(to.append_and_wait(partition, std::move(batch)));
  }

  // Every record of the topic, by partition, repeats included.
  std::map<log::Partition, std::vector<std::string>> everything(const std::string& topic) {
    std::map<log::Partition, std::vector<std::string>> out;
    const auto info = log_->info(topic);
    if (!info) return out;
    std::vector<log::Start> starts;
    for (log::Partition i = 0; i < info->partitions.size(); ++i) starts.push_back({i, 0});
    const auto reader = log_->open_reader(topic, Id128{}, starts);
    for (;;) {
      const auto fetched = (*reader)->next(1 << 20, std::chrono::milliseconds(0));
      if (!fetched || fetched->status != log::Fetched::Status::Frames) return out;
      for (const log::Frame& frame : fetched->frames) {
        for (const std::string_view record : frame.records)
          out[frame.partition].emplace_back(record);
      }
    }
  }
  // As a reader takes them that drops repeats.
  std::map<log::Partition, std::vector<std::string>> taken(const std::string& topic) {
    std::map<log::Partition, std::vector<std::string>> out;
    for (const auto& [partition, records] : everything(topic)) {
      events::SourceGuard guard;
      for (const std::string& record : records) {
        if (guard.take({}, {.offset = std::stoull(record)})) out[partition].push_back(record);
      }
    }
    return out;
  }

  log::Log& log() { return *log_; }
  telemetry::Registry& registry() { return registry_; }

 private:
  std::string folder_;
  telemetry::Registry registry_;
  std::unique_ptr<log::Log> log_;
};

}  // namespace flagstream::pipeline
