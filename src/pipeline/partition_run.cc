#include "pipeline/partition_run.h"

#include <optional>
#include <utility>

#include "base/bytes.h"
#include "io/crash_point.h"
#include "telemetry/tell.h"

namespace flagstream::pipeline {
namespace {

constexpr std::string_view kMarkKey = "rmark";
constexpr std::uint8_t kMarkKind = 'M';
constexpr std::uint8_t kMarkVersion = 1;
constexpr std::size_t kMarkBytes = 2 + 4 + 16 + 8;

// The runtime's own entry of a checkpoint: docs/formats/stage-store.md.
struct Mark {
  std::uint32_t format_version = 0;
  Id128 log_id;
  log::Offset next = 0;
};

std::string encode(const Mark& mark) {
  std::string out;
  out += static_cast<char>(kMarkKind);
  out += static_cast<char>(kMarkVersion);
  append_le(out, mark.format_version);
  out += mark.log_id.to_bytes();
  append_le(out, mark.next);
  return out;
}

Result<Mark> decode_mark(std::string_view bytes) {
  if (bytes.size() < 2 || static_cast<std::uint8_t>(bytes[0]) != kMarkKind || bytes[1] == 0)
    return fail(ErrorKind::DataLoss, "the checkpoint's mark is damaged");
  if (static_cast<std::uint8_t>(bytes[1]) > kMarkVersion)
    return fail(ErrorKind::InvalidArgument, "the checkpoint was written by a newer release");
  if (bytes.size() < kMarkBytes)
    return fail(ErrorKind::DataLoss, "the checkpoint's mark is damaged");
  return Mark{.format_version = get_u32(bytes.data() + 2),
              .log_id = *Id128::from_bytes(bytes.substr(6, 16)),
              .next = get_u64(bytes.data() + 22)};
}

bool is_tick(std::string_view record) {
  return !record.empty() && record[0] == static_cast<char>(log::RecordKind::Tick);
}

}  // namespace

class PartitionRun::Sinks final : public Outputs {
 public:
  Sinks(const StageRun& run, SinkGroup& group, log::Partition partition) : probe_(run.probe) {
    for (const auto& appender : run.sinks)
      queues_.push_back(std::make_unique<SinkQueue>(group, *appender, partition));
  }

  void add(std::size_t sink, std::string_view record) override {
    queues_.at(sink)->add(record);
    ++count_;
    bytes_ += record.size();
  }
  void flush(bool all) {
    for (const auto& queue : queues_) queue->flush(all);
    probe_.outputs.add(std::exchange(count_, 0));
    probe_.output_bytes.add(std::exchange(bytes_, 0));
  }
  bool has_open() const {
    for (const auto& queue : queues_) {
      if (queue->has_open()) return true;
    }
    return false;
  }

 private:
  Probe& probe_;
  std::vector<std::unique_ptr<SinkQueue>> queues_;
  std::uint64_t count_ = 0;
  std::uint64_t bytes_ = 0;
};

PartitionRun::PartitionRun(const StageRun& run, SinkGroup& group, log::Partition partition)
    : run_(run), partition_(partition), sinks_(std::make_unique<Sinks>(run, group, partition)) {}

PartitionRun::~PartitionRun() = default;

Result<std::unique_ptr<PartitionRun>> PartitionRun::open(const StageRun& run, SinkGroup& group,
                                                         log::Partition partition,
                                                         const log::PartitionRange& range) {
  std::unique_ptr<PartitionRun> opened(new PartitionRun(run, group, partition));
  FS_TRY(opened->store_, Store::open(run.folder + "/" + std::to_string(partition)));
  if (auto restored = opened->restore(range); !restored)
    return fail(std::move(restored).error().in("partition " + std::to_string(partition)));
  FS_TRY(opened->fold_,
         run.stage.open_fold(
             {.partition = partition, .input_log_id = run.input_log_id, .store = *opened->store_}));
  opened->has_notes_ = !run.notes->is_empty(partition);
  return opened;
}

Result<void> PartitionRun::restore(const log::PartitionRange& range) {
  FS_TRY(const std::optional<std::string> bytes, store_->get(kMarkKey));
  if (!bytes) {
    next_ = checkpointed_ = range.begin;
    return {};
  }
  FS_TRY(const Mark mark, decode_mark(*bytes));
  const std::uint32_t known = run_.stage.format_version();
  if (mark.format_version > known) {
    return fail(ErrorKind::InvalidArgument,
                "the checkpoint has format " + std::to_string(mark.format_version) +
                    " of a newer release; this one reads up to " + std::to_string(known));
  }
  if (mark.log_id != run_.input_log_id) {
    return fail(ErrorKind::Conflict, "the checkpoint is of another log than the topic " +
                                         run_.stage.input() + " has now");
  }
  if (mark.next > range.end) {
    return fail(ErrorKind::DataLoss, "the checkpoint is at " + std::to_string(mark.next) +
                                         ", but the topic " + run_.stage.input() + " ends at " +
                                         std::to_string(range.end));
  }
  next_ = checkpointed_ = mark.next;
  return {};
}

Result<std::uint64_t> PartitionRun::fold(const log::Frame& frame) {
  FoldingMark mark(*run_.notes, run_.input_log_id, partition_);
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < frame.records.size(); ++i) {
    const std::string_view record = frame.records[i];
    const RecordPlace place{.log_id = run_.input_log_id,
                            .partition = partition_,
                            .offset = frame.base_offset + i,
                            .append_time = frame.append_time};
    FS_CRASH_POINT("pipeline.before_fold");
    mark.at(place.offset);
    const bool is_poison =
        has_notes_ &&
        run_.notes->crashes(place.log_id, partition_, place.offset) >= kCrashesUntilPassedOver;
    FS_TRY(is_poison ? pass_over(place, record) : fold_->fold(place, record, *sinks_));
    next_ = place.offset + 1;
    has_data_ = has_data_ || !is_tick(record);
    bytes += record.size();
  }
  read_until_ = frame.append_time;
  run_.probe.records.add(frame.records.size());
  run_.probe.bytes.add(bytes);
  return bytes;
}

Result<void> PartitionRun::pass_over(const RecordPlace& place, std::string_view record) {
  telemetry::error(
      "a record has crashed its stage again and again and is passed over",
      {{"stage", run_.stage.name()}, {"partition", partition_}, {"offset", place.offset}});
  run_.probe.passed_over.add();
  return fold_->pass_over(place, record, *sinks_);
}

void PartitionRun::skip_to(log::Offset to) {
  fold_->lost(next_, to);
  next_ = to;
  has_data_ = true;
}

void PartitionRun::flush(bool all) { sinks_->flush(all); }
bool PartitionRun::has_held_back() const { return sinks_->has_open(); }
Result<void> PartitionRun::publish() { return fold_->publish(); }

Result<void> PartitionRun::checkpoint() {
  Changes changes;
  fold_->checkpoint(changes);
  changes.put(kMarkKey, encode({.format_version = run_.stage.format_version(),
                                .log_id = run_.input_log_id,
                                .next = next_}));
  FS_CRASH_POINT("pipeline.checkpoint.before_write");
  FS_TRY(store_->write(changes));
  FS_CRASH_POINT("pipeline.checkpoint.after_write");
  fold_->checkpointed();
  checkpointed_ = next_;
  has_data_ = false;
  run_.probe.checkpoints.add();
  run_.probe.checkpoint_bytes.add(changes.bytes());
  if (!has_notes_) return {};
  FS_TRY(run_.notes->drop_below(run_.input_log_id, partition_, next_));
  has_notes_ = !run_.notes->is_empty(partition_);
  return {};
}

}  // namespace flagstream::pipeline
