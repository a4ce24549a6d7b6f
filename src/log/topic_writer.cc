#include "log/topic_writer.h"

#include <algorithm>
#include <array>
#include <set>

#include <fmt/format.h>

#include "base/assert.h"
#include "io/crash_point.h"

namespace flagstream::log {
namespace {

constexpr std::string_view kSegmentSuffix = ".seg";
constexpr std::string_view kIndexSuffix = ".idx";
constexpr std::size_t kSequenceDigits = 16;
constexpr std::int64_t kHealPauseMicros = kMicrosPerSecond;

bool is_segment_name(std::string_view name) {
  return name.size() == kSequenceDigits + kSegmentSuffix.size() && name.ends_with(kSegmentSuffix) &&
         name.substr(0, kSequenceDigits).find_first_not_of("0123456789abcdef") ==
             std::string_view::npos;
}

bool is_tick(const Batch& batch) {
  constexpr std::size_t kLengthBytes = 4;
  return batch.count() == 1 && batch.compression() == Compression::None &&
         batch.size() > kLengthBytes &&
         batch.bytes()[kLengthBytes] == static_cast<char>(RecordKind::Tick);
}

std::uint64_t stored_bytes(const Batch& batch) {
  return FrameHeader{.payload_bytes = static_cast<std::uint32_t>(batch.size())}.stored_bytes();
}

}  // namespace

std::string segment_path(const std::string& folder, std::uint64_t sequence) {
  return fmt::format("{}/{:016x}{}", folder, sequence, kSegmentSuffix);
}
std::string control_path(const std::string& folder) { return folder + "/control"; }
std::string topic_path(const std::string& folder) { return folder + "/topic"; }

Result<std::unique_ptr<TopicWriter>> TopicWriter::open(TopicSettings settings,
                                                       io::FileSystem& files, const Clock& clock) {
  std::unique_ptr<TopicWriter> writer(new TopicWriter(std::move(settings), files, clock));
  if (auto done = writer->recover(); !done) {
    return fail(std::move(done).error().in("open topic " + writer->settings_.folder));
  }
  return writer;
}

Result<void> TopicWriter::recover() {
  FS_TRY(files_.make_folder(settings_.folder));
  FS_TRY(lock_, files_.open(settings_.folder + "/LOCK", io::OpenMode::Create));
  FS_TRY(lock_->lock_exclusive());
  FS_TRY(read_identity());
  // A name that was given just before the last stop may not be durable; what is appended behind it
  // must not go with it.
  FS_TRY(files_.sync_folder(settings_.folder));
  const std::optional<ControlPage> known = read_known_page();
  FS_TRY(control_, files_.open(control_path(settings_.folder), io::OpenMode::Create));
  published_ = files_.open_signal(control_path(settings_.folder), kControlChecksumOffset);

  page_.partitions.resize(settings_.options.partitions);
  last_data_.resize(settings_.options.partitions);
  FS_TRY(read_segments(known));
  bool needs_roll = segments_.empty();
  if (!segments_.empty()) {
    FS_TRY(const bool can_go_on, scan_last(known));
    // An old release must not take what it does not know for damage.
    const bool is_too_old = settings_.takes_compressed && segments_.back().header.version < 2;
    needs_roll = !can_go_on || is_too_old;
  }
  if (known) {
    page_.durable_group = std::max(page_.durable_group, known->durable_group);
    page_.last_sequence = std::max(page_.last_sequence, known->last_sequence);
    for (std::size_t p = 0; p < known->partitions.size(); ++p) {
      // What was promised and cannot be found is a gap; its offsets are never given out again.
      PartitionEnd& end = page_.partitions[p];
      end.end = std::max(end.end, known->partitions[p].end);
      end.data_end = std::max(end.data_end, known->partitions[p].data_end);
      end.last_append = std::max(end.last_append, known->partitions[p].last_append);
    }
  }
  for (const PartitionEnd& each : page_.partitions)
    last_time_ = std::max(last_time_, each.last_append);
  for (std::size_t p = 0; p < last_data_.size(); ++p)
    last_data_[p] = page_.partitions[p].last_append;
  clock_watch_.begin(last_time_ > 0 ? last_time_ : clock_.now());
  // What follows a torn group is never overwritten: a rest of it could pass for part of a new one.
  if (needs_roll) FS_TRY(roll(0));
  for (std::size_t p = 0; p < page_.partitions.size(); ++p)
    page_.partitions[p].begin = segments_.front().header.partitions[p].end;
  FS_CRASH_POINT("log.before_quarantine_saved");
  // Neither keeps a topic from being opened: both are tried again while it is open.
  (void)quarantine_.save();
  if (auto watermark = Watermark::open(files_, settings_.folder, settings_.options.partitions))
    (void)watermark->write(page_);
  return publish();
}

// The newest of those that survived.
std::optional<ControlPage> TopicWriter::read_known_page() {
  std::optional<ControlPage> known;
  const auto take = [&](const std::optional<ControlPage>& page) {
    if (page && page->log_id == page_.log_id &&
        page->partitions.size() == settings_.options.partitions &&
        (!known || is_newer(*page, *known)))
      known = page;
  };
  if (const auto bytes = files_.read_file(control_path(settings_.folder)))
    take(decode_control_page(*bytes));
  if (const auto watermark =
          Watermark::open(files_, settings_.folder, settings_.options.partitions))
    take(watermark->page());
  return known;
}

Result<void> TopicWriter::read_identity() {
  const std::string path = topic_path(settings_.folder);
  const auto bytes = files_.read_file(path);
  // Any other failure is no reason to give the topic a new identity, with which it would be lost.
  if (!bytes && bytes.error().kind != ErrorKind::NotFound) return fail(bytes.error());
  if (!bytes) {
    FS_ASSERT(settings_.options.partitions > 0, "a topic has partitions");
    page_.log_id = Id128::random();
    const std::size_t slash = settings_.folder.rfind('/');
    if (slash != std::string::npos) FS_TRY(files_.sync_folder(settings_.folder.substr(0, slash)));
    return files_.replace_file(
        path, encode_topic_identity(
                  {.log_id = page_.log_id, .partitions = settings_.options.partitions}));
  }
  FS_TRY(const TopicIdentity identity, decode_topic_identity(*bytes));
  if (identity.partitions != settings_.options.partitions) {
    return fail(ErrorKind::InvalidArgument,
                fmt::format("has {} partitions for life, {} are configured", identity.partitions,
                            settings_.options.partitions));
  }
  page_.log_id = identity.log_id;
  return {};
}

Result<void> TopicWriter::read_segments(const std::optional<ControlPage>& known) {
  FS_TRY(const auto names, files_.list(settings_.folder));
  std::set<std::string> indexes;
  for (const std::string& name : names) {
    const std::string path = settings_.folder + "/" + name;
    // Its size is not trusted: a crash may have cut it short.
    if (SegmentPool::is_pool_file(name)) FS_TRY(files_.remove(path));
    if (name.ends_with(kIndexSuffix)) indexes.insert(path);
    if (!is_segment_name(name)) continue;
    const std::uint64_t sequence = std::stoull(name.substr(0, kSequenceDigits), nullptr, 16);
    if (known && sequence < known->first_sequence) {
      // Retention gave it up, and it could not be removed.
      leftovers_.push_back(path);
      continue;
    }
    indexes.erase(index_path(settings_.folder, sequence));
    FS_TRY(Segment segment, read_segment(sequence, known));
    segments_.push_back(std::move(segment));
  }
  for (const std::string& orphan : indexes) FS_TRY(files_.remove(orphan));
  // A header that is lost takes its time from the one after it: nothing is deleted early for it.
  for (std::size_t i = segments_.size(); i-- > 0;) {
    SegmentHeader& header = segments_[i].header;
    if (!header.log_id.is_zero()) continue;
    header.created = i + 1 < segments_.size() ? segments_[i + 1].header.created : clock_.now();
  }
  quarantine_missing_files(known);
  if (segments_.empty()) return {};
  page_.first_sequence = segments_.front().header.sequence;
  page_.last_sequence = segments_.back().header.sequence;
  FS_TRY(active_,
         files_.open(segment_path(settings_.folder, page_.last_sequence), io::OpenMode::ReadWrite));
  return {};
}

// A file whose header is lost, and its copy, too, is quarantined whole; it has log id 0.  That its
// offsets begin where those of the file before begin is too low, and so hides none.
Result<TopicWriter::Segment> TopicWriter::read_segment(std::uint64_t sequence,
                                                       const std::optional<ControlPage>& known) {
  const std::string path = segment_path(settings_.folder, sequence);
  FS_TRY(const auto file, files_.open(path, io::OpenMode::Read));
  FS_TRY(const std::uint64_t file_bytes, file->size());
  auto header =
      read_segment_header(files_, settings_.folder, sequence, settings_.options.partitions);
  if (header) {
    if (header->log_id != page_.log_id || header->partitions.size() != page_.partitions.size())
      return fail(ErrorKind::DataLoss, path + " belongs elsewhere");
    return Segment{.header = *std::move(header), .file_bytes = file_bytes};
  }
  // What cannot be opened just now is not damaged.
  if (header.error().kind != ErrorKind::DataLoss) return fail(std::move(header).error().in(path));
  SegmentHeader unknown;
  unknown.sequence = sequence;
  if (!segments_.empty()) {
    unknown.first_group = segments_.back().header.first_group;
    unknown.partitions = segments_.back().header.partitions;
  } else {
    unknown.first_group = 1;
    unknown.partitions.resize(page_.partitions.size());
    for (std::size_t p = 0; known && p < unknown.partitions.size(); ++p)
      unknown.partitions[p].end = unknown.partitions[p].data_end = known->partitions[p].begin;
  }
  const DamagedRange all[] = {{.begin = 0, .end = std::max<std::uint64_t>(file_bytes, 1)}};
  quarantine_.add(sequence, all, clock_.now());
  return Segment{.header = std::move(unknown), .file_bytes = file_bytes};
}

// The numbers of files have no gap, and the last one that was told to readers exists.
void TopicWriter::quarantine_missing_files(const std::optional<ControlPage>& known) {
  const DamagedRange all[] = {{.begin = 0, .end = settings_.segment_bytes}};
  std::uint64_t next = 0;
  if (!segments_.empty()) next = segments_.front().header.sequence;
  if (segments_.empty() && known) next = known->first_sequence;
  for (const Segment& each : segments_) {
    for (; next < each.header.sequence; ++next) quarantine_.add(next, all, clock_.now());
    ++next;
  }
  for (; known && next <= known->last_sequence; ++next) quarantine_.add(next, all, clock_.now());
}

// The last file does not say where its offsets begin: the last one that can be read says up to
// where there are some.
void TopicWriter::read_ends_before_last() {
  for (std::size_t i = segments_.size() - 1; i-- > 0;) {
    const Segment& before = segments_[i];
    if (before.header.log_id.is_zero()) continue;
    const auto file =
        files_.open(segment_path(settings_.folder, before.header.sequence), io::OpenMode::Read);
    if (!file) return;
    SegmentScan scan(before.header, SegmentScan::Kind::Active, before.file_bytes,
                     settings_.binding);
    scan.run(**file);
    page_.partitions = scan.partitions();
    page_.durable_group = scan.index().footer().last_group;
    return;
  }
}

Result<bool> TopicWriter::scan_last(const std::optional<ControlPage>& known) {
  const Segment& last = segments_.back();
  // What a process wrote and did not sync must not be believed before it is on the disk; and where
  // that fails, what the cache holds must not be.
  const bool is_synced = active_->sync().has_value();
  SegmentScan scan(last.header, SegmentScan::Kind::Active, last.file_bytes, settings_.binding);
  const bool is_readable = !last.header.log_id.is_zero();
  if (is_readable) {
    scan.run(*active_);
    if (known && known->last_sequence == last.header.sequence)
      scan.keep_promise(known->durable_end);
    quarantine_.add(last.header.sequence, scan.damaged(), clock_.now());
    index_ = scan.index();
  }
  page_.partitions = scan.partitions();
  page_.durable_group = scan.index().footer().last_group;
  page_.durable_end = scan.end();
  if (!is_readable) read_ends_before_last();
  return is_synced && is_readable && scan.is_clean() &&
         !(known && (known->is_poisoned || known->last_sequence > last.header.sequence));
}

// What was acknowledged before an I/O error is there only if the disk has it.
void TopicWriter::verify_after_error() {
  Segment& last = segments_.back();
  last.has_failed = true;
  const auto file =
      files_.open(segment_path(settings_.folder, last.header.sequence), io::OpenMode::Read);
  if (!file) return;
  SegmentScan scan(last.header, SegmentScan::Kind::Sealed, page_.durable_end, settings_.binding);
  scan.run(**file);
  quarantine_.add(last.header.sequence, scan.damaged(), clock_.now());
  (void)quarantine_.save();  // tried again later: this disk has just failed
  index_ = scan.index();
  is_verified_after_error_ = true;
}

// Readers do without it if it cannot be written.
void TopicWriter::seal_index() {
  if (!index_) return;
  std::vector<Offset> ends;
  ends.reserve(page_.partitions.size());
  for (const PartitionEnd& each : page_.partitions) ends.push_back(each.end);
  index_->seal(page_.durable_end, std::move(ends));
  (void)write_index(files_, settings_.folder, *index_);
  index_.reset();
}

std::optional<std::string> TopicWriter::wanted_ready_file() {
  if (pool_.size() >= pool_files_max() || disk_.mark() == DiskMark::Critical) return std::nullopt;
  return pool_.next_path();
}

// On a disk that fills up one is enough to keep appends from waiting.
std::uint32_t TopicWriter::pool_files_max() {
  return disk_.mark() == DiskMark::None ? settings_.pool_segments
                                        : std::min(settings_.pool_segments, 1u);
}

// Header and name are durable before the first frame is written.
Result<void> TopicWriter::roll(std::uint64_t frame_bytes) {
  const std::uint64_t header_bytes = segment_header_bytes(page_.partitions.size());
  FS_TRY(const std::string ready, pool_.take(header_bytes + frame_bytes));
  last_time_ = std::max(last_time_, clock_.now());
  SegmentHeader header{
      .version = settings_.takes_compressed ? 2u : 1u,
      .log_id = page_.log_id,
      .segment_id = Id128::random().low,
      .sequence = page_.last_sequence + 1,
      .previous_end = segments_.empty() ? 0 : page_.durable_end,
      .created = last_time_,
      .first_group = page_.durable_group + 1,
      .partitions = {},
  };
  for (const PartitionEnd& each : page_.partitions)
    header.partitions.push_back({each.end, each.data_end, each.last_append});
  auto begun = begin_file(ready, header);
  if (!begun) {
    (void)files_.remove(ready);  // or each attempt would leave one
    return fail(std::move(begun).error());
  }
  FS_CRASH_POINT("log.after_roll");
  FS_TRY(const std::uint64_t file_bytes, (*begun)->size());
  seal_index();
  FS_CRASH_POINT("log.after_index");
  index_.emplace(header);
  active_ = *std::move(begun);
  page_.last_sequence = header.sequence;
  if (segments_.empty()) page_.first_sequence = header.sequence;
  page_.durable_end = header_bytes;
  segments_.push_back({.header = std::move(header), .file_bytes = file_bytes});
  return {};
}

Result<std::unique_ptr<io::File>> TopicWriter::begin_file(const std::string& ready,
                                                          const SegmentHeader& header) {
  FS_TRY(auto file, files_.open(ready, io::OpenMode::ReadWrite));
  const std::string encoded = encode_segment_header(header);
  const std::string_view parts[] = {encoded};
  FS_TRY(file->write_at(0, parts));
  FS_TRY(file->sync());
  FS_CRASH_POINT("log.after_roll_header");
  auto named = files_.rename(ready, segment_path(settings_.folder, header.sequence));
  if (named) named = files_.sync_folder(settings_.folder);
  // The next file may be there or not, whatever the reason: nothing may be written any more to the
  // one before it.
  if (!named) return fail(ErrorKind::Unavailable, std::move(named).error().what);
  return file;
}

Result<void> TopicWriter::publish() {
  const std::string bytes = encode_control_page(page_);
  const std::string_view parts[] = {bytes};
  FS_TRY(control_->write_at(0, parts));
  published_->notify();
  return {};
}

Result<void> TopicWriter::check_disk() {
  const std::optional<DiskMark> refuse_at = settings_.options.refuse_at;
  if (refuse_at && disk_.mark() >= *refuse_at)
    return fail(ErrorKind::ResourceExhausted, "the disk is too full for this topic");
  return {};
}

void TopicWriter::poison() {
  page_.is_poisoned = true;
  poisoned_at_ = clock_.monotonic();
  (void)publish();  // readers keep what is below the watermark either way
}

// What a failed sync has left of a file cannot be known, and asking again on the same descriptor
// would only seem to succeed.  So the file ends at what was durable before, as a torn one does.
bool TopicWriter::heal() {
  const std::int64_t now = clock_.monotonic();
  if (now - poisoned_at_ < kHealPauseMicros) return false;
  poisoned_at_ = now;
  if (!is_verified_after_error_) verify_after_error();
  if (!is_verified_after_error_ || !roll(0)) return false;
  page_.is_poisoned = false;
  is_verified_after_error_ = false;
  if (!publish()) poison();
  return !page_.is_poisoned;
}

void TopicWriter::write(std::span<Pending> group) {
  const auto refuse = [](std::span<Pending> all, const Error& error) {
    for (Pending& each : all) each.outcome = fail(error);
  };
  while (!group.empty()) {
    if (page_.is_poisoned && !heal())
      return refuse(group, Error(ErrorKind::Unavailable, "the log's writer has failed"));
    if (const auto room = check_disk(); !room) return refuse(group, room.error());
    std::uint64_t bytes = 0;
    std::size_t count = 0;
    const std::uint64_t room = segments_.back().file_bytes - page_.durable_end;
    while (count < group.size() && bytes + stored_bytes(group[count].batch) <= room)
      bytes += stored_bytes(group[count++].batch);
    if (count == 0) {
      const auto rolled = roll(stored_bytes(group.front().batch));
      if (rolled) continue;
      // A full disk is no reason to give up the files that are in order.
      if (rolled.error().kind != ErrorKind::ResourceExhausted) poison();
      return refuse(group, rolled.error());
    }
    if (const auto done = commit(group.first(count)); !done) {
      poison();
      refuse(group.first(count), Error(ErrorKind::Indeterminate, done.error().what));
    }
    group = group.subspan(count);
  }
}

Result<void> TopicWriter::commit(std::span<Pending> group) {
  const std::uint64_t seed = seed_of(segments_.back().header, settings_.binding);
  last_time_ = std::max(last_time_, clock_.now());
  std::vector<PartitionEnd> ends = page_.partitions;
  std::string headers;
  headers.reserve(group.size() * kFrameHeaderBytes);
  std::uint64_t bytes = 0;
  for (Pending& each : group) {
    PartitionEnd& end = ends.at(each.partition);
    const FrameHeader frame{
        .payload_bytes = static_cast<std::uint32_t>(each.batch.size()),
        .payload_crc = payload_checksum(each.batch.bytes(), seed),
        .base_offset = end.end,
        .append_time = last_time_,
        .group = page_.durable_group + 1,
        .partition = each.partition,
        .records = each.batch.count(),
        .is_last_in_group = &each == &group.back(),
        .is_tick = is_tick(each.batch),
        .compression = each.batch.compression(),
        .plain_bytes = each.batch.compression() == Compression::None
                           ? 0
                           : static_cast<std::uint32_t>(each.batch.plain_size()),
    };
    const std::size_t header_at = headers.size();
    encode_frame_header(frame, seed, headers);
    // If the write fails, the index is made again from what the disk has.
    index_->add(frame, std::string_view(headers).substr(header_at), page_.durable_end + bytes);
    each.outcome = Appended{.first_offset = end.end, .append_time = last_time_};
    end.end += frame.records;
    end.last_append = last_time_;
    if (!frame.is_tick) {
      end.data_end = end.end;
      last_data_[each.partition] = last_time_;
    }
    bytes += frame.stored_bytes();
  }
  static constexpr std::array<char, kPageBytes> kZeros{};
  constexpr std::string_view kPadding(kZeros.data(), kZeros.size());
  std::vector<std::string_view> parts;
  parts.reserve(group.size() * 3 + 1);
  for (std::size_t i = 0; i < group.size(); ++i) {
    const std::size_t size = group[i].batch.size();
    parts.push_back(std::string_view(headers).substr(i * kFrameHeaderBytes, kFrameHeaderBytes));
    parts.push_back(group[i].batch.bytes());
    const std::size_t padding = (kFrameAlignment - size % kFrameAlignment) % kFrameAlignment;
    if (padding > 0) parts.push_back(kPadding.substr(0, padding));
  }
  // The kernel would have to read the last page of a file that was written long ago, to keep the
  // rest of it.
  const std::uint64_t end = page_.durable_end + bytes;
  const std::uint64_t rest = (kPageBytes - end % kPageBytes) % kPageBytes;
  if (end + rest <= segments_.back().file_bytes) parts.push_back(kPadding.substr(0, rest));
  FS_TRY(active_->write_at(page_.durable_end, parts));
  FS_CRASH_POINT("log.after_write_before_sync");
  FS_TRY(active_->sync());
  page_.durable_end += bytes;
  page_.durable_group += 1;
  page_.partitions = std::move(ends);
  FS_TRY(publish());
  FS_CRASH_POINT("log.after_sync_before_ack");
  return {};
}

std::vector<TopicWriter::Pending> TopicWriter::due_ticks() {
  std::vector<Pending> out;
  // Nobody misses a tick that would be refused, and it would count as a failed append.
  if (!settings_.options.ticks || page_.is_poisoned || !check_disk()) return out;
  const MicrosUtc now = std::max(last_time_, clock_.now());
  for (Partition p = 0; p < page_.partitions.size(); ++p) {
    const std::int64_t interval =
        now - last_data_[p] <= kMicrosPerMinute ? kMicrosPerSecond : 10 * kMicrosPerSecond;
    if (now - page_.partitions[p].last_append < interval) continue;
    Pending tick{.partition = p, .batch = {}};
    constexpr char kTick[] = {static_cast<char>(RecordKind::Tick), 1};
    tick.batch.add({std::string_view(kTick, sizeof kTick)});
    out.push_back(std::move(tick));
  }
  return out;
}

Result<void> TopicWriter::expire() {
  clock_watch_.look();
  while (!leftovers_.empty()) {
    const auto removed = files_.remove(leftovers_.back());
    if (!removed && removed.error().kind != ErrorKind::NotFound) return removed;
    leftovers_.pop_back();
  }
  const TopicOptions& options = settings_.options;
  const auto total_bytes = [&] {
    std::uint64_t total = 0;
    for (const Segment& each : segments_) total += each.file_bytes;
    return total;
  };
  const MicrosUtc now = clock_.now();
  while (segments_.size() > 1) {
    const bool is_old = !is_clock_doubted() && options.retention.count() > 0 &&
                        segments_[1].header.created < now - options.retention.count();
    const bool is_too_much = options.retention_bytes > 0 && total_bytes() > options.retention_bytes;
    if (!is_old && !is_too_much) return {};
    FS_TRY(give_up_first(Contents::MayStay));
    expired_segments_ += 1;
  }
  return {};
}

// The file goes to the pool, in which its contents may stay, or away.
Result<void> TopicWriter::give_up_first(Contents contents) {
  ControlPage told = page_;
  const SegmentHeader& next = segments_[1].header;
  page_.first_sequence = next.sequence;
  for (std::size_t p = 0; p < page_.partitions.size(); ++p)
    page_.partitions[p].begin = next.partitions[p].end;
  if (auto published = publish(); !published) {
    page_ = std::move(told);
    return published;
  }
  const Segment first = std::move(segments_.front());
  segments_.pop_front();
  const std::string path = segment_path(settings_.folder, first.header.sequence);
  leftovers_.push_back(path);
  // There may never have been one.
  (void)files_.remove(index_path(settings_.folder, first.header.sequence));
  const bool has_bad_blocks = first.has_failed || quarantine_.holds(first.header.sequence);
  quarantine_.forget_before(page_.first_sequence);
  if (contents == Contents::Vanish || pool_.size() >= pool_files_max() || has_bad_blocks ||
      first.file_bytes != settings_.segment_bytes) {
    FS_TRY(files_.remove(path));
    leftovers_.pop_back();
    FS_TRY(files_.sync_folder(settings_.folder));
  } else {
    const std::string ready = pool_.next_path();
    FS_TRY(files_.rename(path, ready));
    leftovers_.back() = ready;
    FS_CRASH_POINT("log.after_recycle");
    // Before that, a power loss could bring the old name back to what has been written anew.
    FS_TRY(files_.sync_folder(settings_.folder));
    leftovers_.pop_back();
    pool_.add(ready);
  }
  FS_CRASH_POINT("log.after_expire");
  return {};
}

Result<std::size_t> TopicWriter::forget(std::uint64_t keep_from) {
  std::size_t count = 0;
  for (; segments_.size() > 1 && segments_.front().header.sequence < keep_from; ++count)
    FS_TRY(give_up_first(Contents::Vanish));
  return count;
}

std::vector<SegmentExtent> TopicWriter::extents() const {
  std::vector<SegmentExtent> extents;
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    const Segment& each = segments_[i];
    std::uint64_t end = each.file_bytes;  // if the header that says it is lost
    if (i + 1 == segments_.size()) {
      end = page_.durable_end;
    } else if (!segments_[i + 1].header.log_id.is_zero()) {
      end = segments_[i + 1].header.previous_end;
    }
    extents.push_back({.header = each.header, .file_bytes = each.file_bytes, .end = end});
  }
  return extents;
}

}  // namespace flagstream::log
