#include "lake/lake_stage.h"

#include <algorithm>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "base/id.h"
#include "events/record.h"
#include "io/crash_point.h"
#include "lake/delta_table.h"
#include "lake/duckdb_session.h"
#include "lake/environment_labels.h"
#include "lake/event_rows.h"
#include "lake/lake_marks.h"
#include "telemetry/tell.h"

namespace flagstream::lake {
namespace {

// Of versions that others take one after the other.
constexpr int kPublishTries = 100;

double in_seconds(std::int64_t micros) {
  return static_cast<double>(micros) / static_cast<double>(kMicrosPerSecond);
}

}  // namespace

class LakeStage::Fold {
 public:
  Fold(LakeSettings settings, const DuckDb& duckdb, log::Log& log, io::FileSystem& files,
       const Clock& clock, telemetry::Registry& registry)
      : settings_(std::move(settings)),
        duckdb_(duckdb),
        log_(log),
        files_(files),
        clock_(clock),
        probe_(registry),
        labels_(log) {}

  Result<void> open();
  Result<void> turn();
  Result<void> commit();
  bool holds_anything() const { return pending_.records_since >= 0; }
  const LakeProbe& probe() const { return probe_; }

 private:
  using Progress = std::map<log::Partition, PartitionProgress>;

  // What is read and not committed.  Times are the monotonic clock's; -1: none.
  struct Pending {
    std::vector<AddFile> files;
    std::uint64_t rows = 0;  // in `files`
    std::uint64_t input_bytes = 0;
    std::int64_t records_since = -1;  // first record that is no tick
    MicrosUtc oldest_received = -1;
  };

  Result<bool> attach();
  Result<Progress> positions(const log::TopicInfo& info, std::vector<log::Start>& starts);
  Result<void> mark_start();
  Result<void> take_frame(const log::Frame& frame);
  Result<void> take_record(const log::Frame& frame, log::Offset offset, std::string_view record);
  Result<void> take_event(log::Partition partition, const events::EventView& event);
  Result<void> take_gap(const log::Fetched& fetched);
  Result<void> write_files();
  Result<void> make_date_folders();
  bool commit_is_due() const;
  Commit next_commit() const;
  Result<bool> publish(const Commit& commit);
  Result<bool> is_overtaken() const;
  Result<void> start_over();
  Result<void> tidy_up();
  void report();
  void tell_positions();

  LakeSettings settings_;
  const DuckDb& duckdb_;
  log::Log& log_;
  io::FileSystem& files_;
  const Clock& clock_;
  LakeProbe probe_;
  EnvironmentLabels labels_;
  std::unique_ptr<Session> session_;
  std::optional<DeltaTable> table_;
  std::unique_ptr<EventRows> rows_;
  std::unique_ptr<log::Reader> reader_;
  std::unique_ptr<log::ReaderRegistration> registration_;  // may be null
  MicrosUtc read_until_ = 0;                               // what was appended before is read
  MarkScope scope_;
  Progress progress_;
  Progress committed_;  // as the table says
  Pending pending_;
  std::int64_t committed_since_ = 0;  // monotonic
  std::set<std::int32_t> dates_made_;
  events::EventViewReader event_reader_;
};

Result<void> LakeStage::Fold::open() {
  scope_.generation = settings_.generation;
  FS_TRY(session_, Session::open(duckdb_, {.memory_bytes_max = settings_.memory_bytes_max}));
  rows_ = std::make_unique<EventRows>(files_);
  const std::string metadata = event_table_metadata(random_uuid(), clock_.now() / kMicrosPerMilli);
  FS_TRY(table_, DeltaTable::open(files_, *session_, clock_, settings_.folder, metadata));
  if (const std::string missing = missing_column(table_->state().schema); !missing.empty()) {
    return fail(ErrorKind::InvalidArgument, settings_.folder + ": the table has no column " +
                                                missing + "; it was made by another release");
  }
  FS_TRY(tidy_up());
  report();
  return {};
}

// Opens the topic at the table's positions; false while the topic does not exist.
Result<bool> LakeStage::Fold::attach() {
  auto info = log_.info(settings_.topic);
  if (!info && info.error().kind == ErrorKind::NotFound) return false;
  if (!info) return fail(std::move(info).error());
  scope_.log_id = info->log_id;
  std::vector<log::Start> starts;
  FS_TRY(progress_, positions(*info, starts));
  committed_ = progress_;
  committed_since_ = clock_.monotonic();
  FS_TRY(mark_start());
  FS_TRY(reader_, log_.open_reader(settings_.topic, info->log_id, starts));
  registration_ = log_.register_reader(settings_.topic, "lake");
  tell_positions();
  return true;
}

Result<LakeStage::Fold::Progress> LakeStage::Fold::positions(const log::TopicInfo& info,
                                                             std::vector<log::Start>& starts) {
  std::vector<log::Partition> partitions = settings_.partitions;
  if (partitions.empty()) {
    for (log::Partition each = 0; each < info.partitions.size(); ++each) partitions.push_back(each);
  }
  Progress progress;
  for (const log::Partition partition : partitions) {
    if (partition >= info.partitions.size()) {
      return fail(ErrorKind::InvalidArgument,
                  settings_.topic + " has no partition " + std::to_string(partition));
    }
    const log::PartitionRange& range = info.partitions[partition];
    FS_TRY(PartitionProgress found, progress_in(table_->state(), scope_, partition));
    const bool is_new = !table_->state().marks.contains(position_app_id(scope_, partition));
    // A lake that begins later than its log takes what is there; from then on every loss is a gap.
    if (is_new) found.next_offset = range.begin;
    if (found.next_offset > range.end) {
      return fail(ErrorKind::DataLoss, "the lake has read partition " + std::to_string(partition) +
                                           " of " + settings_.topic + " up to " +
                                           std::to_string(found.next_offset) +
                                           ", but the topic ends at " + std::to_string(range.end));
    }
    starts.push_back({.partition = partition, .offset = found.next_offset});
    progress[partition] = std::move(found);
  }
  return progress;
}

// Makes it durable where a new lake began, before anything can be lost unnoticed behind that.
Result<void> LakeStage::Fold::mark_start() {
  const bool is_unmarked = std::ranges::any_of(progress_, [&](const auto& each) {
    return each.second.next_offset > 0 &&
           !table_->state().marks.contains(position_app_id(scope_, each.first));
  });
  if (!is_unmarked) return {};
  telemetry::info("lake begins after the start of its topic", {{"topic", settings_.topic}});
  FS_TRY(publish(next_commit()));
  return {};
}

Result<void> LakeStage::Fold::turn() {
  if (settings_.disk_mark && settings_.disk_mark() >= log::DiskMark::Critical) {
    std::this_thread::sleep_for(settings_.poll);
    return {};
  }
  if (reader_ == nullptr) {
    FS_TRY(const bool is_attached, attach());
    if (!is_attached) std::this_thread::sleep_for(settings_.poll);
    if (!is_attached) return {};
  }
  FS_TRY(const log::Fetched fetched, reader_->next(settings_.read_bytes_max, settings_.poll));
  switch (fetched.status) {
    case log::Fetched::Status::End:
      read_until_ = clock_.now();
      break;
    case log::Fetched::Status::OutOfRange:
    case log::Fetched::Status::Quarantined:
      FS_TRY(take_gap(fetched));
      break;
    case log::Fetched::Status::Frames:
      // Labels are a help for readers: without them rows are as good.
      if (const auto refreshed = labels_.refresh(); !refreshed) {
        telemetry::warn("lake cannot read environment keys", {{"error", refreshed.error()}});
      }
      for (const log::Frame& frame : fetched.frames) FS_TRY(take_frame(frame));
  }
  if (commit_is_due()) FS_TRY(commit());
  report();
  tell_positions();
  return {};
}

Result<void> LakeStage::Fold::take_frame(const log::Frame& frame) {
  PartitionProgress& progress = progress_.at(frame.partition);
  log::Offset offset = frame.base_offset;
  const std::uint64_t rows_before = rows_->rows();
  const std::uint64_t bytes_before = pending_.input_bytes;
  for (const std::string_view record : frame.records) {
    if (offset >= progress.next_offset) FS_TRY(take_record(frame, offset, record));
    ++offset;
  }
  // Once a frame: an atomic counter costs as much as a column.
  probe_.event_records.add(rows_->rows() - rows_before);
  probe_.input_bytes.add(pending_.input_bytes - bytes_before);
  progress.next_offset = std::max(progress.next_offset, frame.end_offset());
  read_until_ = frame.append_time;
  if (rows_->rows() >= settings_.file_rows_max || rows_->bytes() >= settings_.file_bytes_max) {
    FS_TRY(write_files());
  }
  return {};
}

Result<void> LakeStage::Fold::take_record(const log::Frame& frame, log::Offset offset,
                                          std::string_view record) {
  const auto kind = events::record_kind(record);
  if (kind == events::RecordKind::Tick) {
    probe_.ticks.add();
    return {};
  }
  pending_.input_bytes += record.size();
  if (pending_.records_since < 0) pending_.records_since = clock_.monotonic();
  if (kind != events::RecordKind::Event) {
    probe_.unknown_records.add();
    return {};
  }
  const auto event = event_reader_.read(record);
  if (!event && event.error().kind == ErrorKind::InvalidArgument) return fail(event.error());
  if (!event || (*event)->source.log_id.size() != sizeof(Id128)) {
    probe_.damaged_records.add();
    telemetry::error("lake passes over a record that is no event",
                     {{"partition", frame.partition}, {"offset", offset}});
    return {};
  }
  return take_event(frame.partition, **event);
}

Result<void> LakeStage::Fold::take_event(log::Partition partition, const events::EventView& event) {
  const events::SourcePosition at{
      .offset = event.source.offset, .index = event.source.index, .part = event.source.part};
  if (!progress_.at(partition).take(*Id128::from_bytes(event.source.log_id), at)) {
    probe_.repeated.add();
    return {};
  }
  if (event.kind == events::proto::PAYLOAD) {  // accounts for a payload; no event
    probe_.payload_records.add();
    return {};
  }
  if (pending_.oldest_received < 0 || event.received_us < pending_.oldest_received) {
    pending_.oldest_received = event.received_us;
  }
  rows_->add(event, {.partition = partition,
                     .generation = settings_.generation,
                     .label = labels_.find(event.environment_id)});
  return {};
}

Result<void> LakeStage::Fold::take_gap(const log::Fetched& fetched) {
  PartitionProgress& progress = progress_.at(fetched.partition);
  const std::uint64_t lost = fetched.next_offset - progress.next_offset;
  const std::string_view why =
      fetched.status == log::Fetched::Status::OutOfRange ? "retention" : "damage";
  if (settings_.on_gap == OnGap::Stop) {
    return fail(ErrorKind::DataLoss,
                settings_.topic + " has lost " + std::to_string(lost) + " records of partition " +
                    std::to_string(fetched.partition) + " that the lake has not read (" +
                    std::string(why) + "); pipeline.on_gap=continue lets it go on behind the gap");
  }
  telemetry::error("lake goes on behind a gap",
                   {{"partition", fetched.partition}, {"records", lost}, {"cause", why}});
  probe_.gap_records.add(lost);
  progress.gap_records += lost;
  progress.next_offset = fetched.next_offset;
  if (pending_.records_since < 0) pending_.records_since = clock_.monotonic();
  reader_->skip_to(fetched.partition, fetched.next_offset);
  return {};
}

bool LakeStage::Fold::commit_is_due() const {
  const std::int64_t now = clock_.monotonic();
  if (pending_.records_since >= 0) {
    return now - pending_.records_since >= settings_.commit_interval.count() ||
           pending_.input_bytes >= settings_.commit_bytes;
  }
  if (now - committed_since_ < settings_.position_interval.count()) return false;
  return std::ranges::any_of(progress_, [&](const auto& each) {
    return each.second.next_offset != committed_.at(each.first).next_offset;
  });
}

// Each file is durable when this returns, with its name.
Result<void> LakeStage::Fold::write_files() {
  if (rows_->rows() == 0) return {};
  FS_CRASH_POINT("lake.before_parquet");
  FS_TRY(make_date_folders());
  const std::uint64_t rows = rows_->rows();
  FS_TRY(std::vector<AddFile> written, rows_->write(settings_.folder, clock_.now()));
  FS_CRASH_POINT("lake.after_parquet");
  for (AddFile& file : written) {
    const std::string path = settings_.folder + "/" + file.path;
    FS_TRY(auto open, files_.open(path, io::OpenMode::ReadWrite));
    FS_TRY(open->sync());
    FS_TRY(files_.sync_folder(path.substr(0, path.rfind('/'))));
    pending_.files.push_back(std::move(file));
  }
  pending_.rows += rows;
  return {};
}

Result<void> LakeStage::Fold::make_date_folders() {
  bool is_any_new = false;
  for (const std::int32_t day : rows_->dates()) {
    if (dates_made_.contains(day)) continue;
    FS_TRY(files_.make_folder(settings_.folder + "/date=" + date_of_day(day)));
    is_any_new = true;
  }
  if (is_any_new) FS_TRY(files_.sync_folder(settings_.folder));
  for (const std::int32_t day : rows_->dates()) dates_made_.insert(day);
  return {};
}

Commit LakeStage::Fold::next_commit() const {
  Commit commit;
  commit.timestamp = clock_.now() / kMicrosPerMilli;
  commit.operation = "WRITE";
  commit.id = Id128::random().to_hex();
  // Of every partition, changed or not: the last commit alone tells where the stage stands.
  for (const auto& [partition, progress] : progress_) {
    std::ranges::move(marks_of(scope_, partition, progress, commit.timestamp),
                      std::back_inserter(commit.marks));
  }
  commit.files = pending_.files;
  return commit;
}

Result<void> LakeStage::Fold::commit() {
  if (reader_ == nullptr) return {};
  const std::int64_t began = clock_.monotonic();
  FS_TRY(write_files());
  const Commit commit = next_commit();
  FS_TRY(const bool is_published, publish(commit));
  if (!is_published) return start_over();
  probe_.commit_seconds.observe(in_seconds(clock_.monotonic() - began));
  probe_.commits.add();
  probe_.rows.add(pending_.rows);
  probe_.files.add(commit.files.size());
  for (const AddFile& file : commit.files)
    probe_.file_bytes.add(static_cast<std::uint64_t>(file.size));
  if (!commit.files.empty())
    probe_.committed_at_seconds.set(static_cast<double>(commit.timestamp) / 1e3);
  pending_ = {};
  committed_ = progress_;
  committed_since_ = clock_.monotonic();
  tell_positions();
  // By the distance, so that a checkpoint which a crash has cost is made up for at once.
  if (table_->state().version - table_->state().checkpoint >= settings_.checkpoint_commits) {
    FS_TRY(table_->write_checkpoint());
    FS_TRY(tidy_up());
  }
  return {};
}

// False: another process has committed partitions of ours in the meantime.
Result<bool> LakeStage::Fold::publish(const Commit& commit) {
  for (int tries = 0; tries < kPublishTries; ++tries) {
    FS_TRY(const DeltaTable::Published published, table_->publish(commit));
    if (published == DeltaTable::Published::Yes) return true;
    probe_.commits_lost.add();
    FS_TRY(const bool overtaken, is_overtaken());
    if (overtaken) return false;
  }
  return fail(ErrorKind::Unavailable, "other writers took " + std::to_string(kPublishTries) +
                                          " versions of the table, one after the other");
}

Result<bool> LakeStage::Fold::is_overtaken() const {
  for (const auto& [partition, progress] : committed_) {
    if (!table_->state().marks.contains(position_app_id(scope_, partition))) continue;
    FS_TRY(const PartitionProgress now, progress_in(table_->state(), scope_, partition));
    if (now.next_offset != progress.next_offset || now.highest != progress.highest) return true;
  }
  return false;
}

// Drops everything that is not committed and reads on from where the table now stands.
Result<void> LakeStage::Fold::start_over() {
  telemetry::warn("lake was overtaken by another writer of its partitions",
                  {{"folder", settings_.folder}});
  for (const AddFile& file : pending_.files)
    FS_TRY(files_.remove(settings_.folder + "/" + file.path));
  pending_ = {};
  rows_->clear();
  reader_.reset();
  return {};
}

Result<void> LakeStage::Fold::tidy_up() {
  const std::int64_t age =
      std::max(settings_.orphan_age.count(), 2 * settings_.commit_interval.count());
  FS_TRY(const std::size_t removed, table_->remove_orphans(age));
  probe_.orphans_removed.add(removed);
  return {};
}

void LakeStage::Fold::report() {
  probe_.version.set(static_cast<double>(table_->state().version));
  probe_.pending_rows.set(static_cast<double>(pending_.rows + rows_->rows()));
  probe_.lag_seconds.set(pending_.oldest_received < 0
                             ? 0
                             : std::max(0.0, in_seconds(clock_.now() - pending_.oldest_received)));
}

void LakeStage::Fold::tell_positions() {
  if (registration_ == nullptr) return;
  std::vector<log::ReaderPosition> positions;
  for (const auto& [partition, progress] : progress_) {
    positions.push_back({.partition = partition,
                         .next = progress.next_offset,
                         .resume = committed_.at(partition).next_offset,
                         .read_until = read_until_});
  }
  registration_->tell(positions);
}

Result<std::unique_ptr<LakeStage>> LakeStage::open(LakeSettings settings, const DuckDb& duckdb,
                                                   log::Log& log, io::FileSystem& files,
                                                   const Clock& clock,
                                                   telemetry::Registry& registry) {
  auto fold = std::make_unique<Fold>(std::move(settings), duckdb, log, files, clock, registry);
  FS_TRY(fold->open());
  return std::unique_ptr<LakeStage>(new LakeStage(std::move(fold)));
}

LakeStage::LakeStage(std::unique_ptr<Fold> fold) : fold_(std::move(fold)) {}
LakeStage::~LakeStage() = default;

Result<void> LakeStage::run(std::stop_token stop) {
  while (!stop.stop_requested()) FS_TRY(turn());
  return fold_->holds_anything() ? commit() : Result<void>();
}

Result<void> LakeStage::turn() { return fold_->turn(); }
Result<void> LakeStage::commit() { return fold_->commit(); }
const LakeProbe& LakeStage::probe() const { return fold_->probe(); }

}  // namespace flagstream::lake
