#include "log/topic_writer.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/assert.h"
#include "io/crash_point.h"

namespace flagstream::log {
namespace {

constexpr std::string_view kSegmentSuffix = ".seg";
constexpr std::string_view kPoolPrefix = "pool-";
constexpr std::size_t kSequenceDigits = 16;
constexpr std::size_t kZeroBytes = 1 << 20;
constexpr std::uint64_t kReserveOfDisk = 20;  // the reserve is at least one part in so many
constexpr std::int64_t kReserveCheckMicros = kMicrosPerSecond;
constexpr std::int64_t kHealPauseMicros = kMicrosPerSecond;
constexpr std::int64_t kJumpMicros = kMicrosPerHour;  // of a clock that is not believed at once

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
  FS_TRY(control_, files_.open(control_path(settings_.folder), io::OpenMode::Create));
  FS_TRY(const std::string control_bytes, files_.read_file(control_path(settings_.folder)));
  std::optional<ControlPage> known = decode_control_page(control_bytes);
  if (known &&
      (known->log_id != page_.log_id || known->partitions.size() != settings_.options.partitions))
    known.reset();

  page_.partitions.resize(settings_.options.partitions);
  last_data_.resize(settings_.options.partitions);
  FS_TRY(read_segments());
  bool needs_roll = segments_.empty();
  if (!segments_.empty()) {
    FS_TRY(const Scan scan, scan_last(known));
    page_.durable_end = scan.end;
    // An old release must not take what it does not know for damage.
    const bool is_too_old = settings_.takes_compressed && segments_.back().header.version < 2;
    needs_roll = !scan.is_clean || is_too_old;
  }
  if (known) {
    page_.durable_group = std::max(page_.durable_group, known->durable_group);
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
  seen_time_ = last_time_ > 0 ? last_time_ : clock_.now();
  seen_at_ = clock_.monotonic();
  // What follows a torn group is never overwritten: a rest of it could pass for part of a new one.
  if (needs_roll) FS_TRY(roll(0));
  for (std::size_t p = 0; p < page_.partitions.size(); ++p)
    page_.partitions[p].begin = segments_.front().header.partitions[p].end;
  return publish();
}

Result<void> TopicWriter::read_identity() {
  const std::string path = topic_path(settings_.folder);
  if (!files_.exists(path)) {
    FS_ASSERT(settings_.options.partitions > 0, "a topic has partitions");
    page_.log_id = Id128::random();
    return files_.replace_file(
        path, encode_topic_identity(
                  {.log_id = page_.log_id, .partitions = settings_.options.partitions}));
  }
  FS_TRY(const std::string bytes, files_.read_file(path));
  FS_TRY(const TopicIdentity identity, decode_topic_identity(bytes));
  if (identity.partitions != settings_.options.partitions) {
    return fail(ErrorKind::InvalidArgument,
                fmt::format("has {} partitions for life, {} are configured", identity.partitions,
                            settings_.options.partitions));
  }
  page_.log_id = identity.log_id;
  return {};
}

Result<void> TopicWriter::read_segments() {
  FS_TRY(const auto names, files_.list(settings_.folder));
  for (const std::string& name : names) {
    const std::string path = settings_.folder + "/" + name;
    if (name.starts_with(kPoolPrefix)) {
      // Its size is not trusted: a crash may have cut it short.
      FS_TRY(files_.remove(path));
      continue;
    }
    if (!is_segment_name(name)) continue;
    FS_TRY(const auto file, files_.open(path, io::OpenMode::Read));
    std::string bytes(segment_header_bytes(settings_.options.partitions), '\0');
    FS_TRY(const std::size_t got, file->read_at(0, bytes));
    auto header = decode_segment_header(std::string_view(bytes).substr(0, got));
    if (!header) return fail(std::move(header).error().in(name));
    if (header->log_id != page_.log_id || header->partitions.size() != page_.partitions.size() ||
        segment_path(settings_.folder, header->sequence) != path)
      return fail(ErrorKind::DataLoss, name + " belongs elsewhere");
    FS_TRY(const std::uint64_t file_bytes, file->size());
    segments_.push_back({.header = *std::move(header), .file_bytes = file_bytes});
  }
  if (segments_.empty()) return {};
  page_.first_sequence = segments_.front().header.sequence;
  page_.last_sequence = segments_.back().header.sequence;
  FS_TRY(active_,
         files_.open(segment_path(settings_.folder, page_.last_sequence), io::OpenMode::ReadWrite));
  return {};
}

Result<TopicWriter::Scan> TopicWriter::scan_last(const std::optional<ControlPage>& known) {
  const Segment& last = segments_.back();
  const std::uint64_t seed = seed_of(last.header, settings_.binding);
  // What a process wrote and did not sync must not be believed before it is on the disk.
  FS_TRY(active_->sync());
  std::string bytes(last.file_bytes, '\0');
  FS_TRY(const std::size_t got, active_->read_at(0, bytes));
  const std::string_view all = std::string_view(bytes).substr(0, got);

  std::uint64_t group = last.header.first_group - 1;
  for (std::size_t p = 0; p < page_.partitions.size(); ++p) {
    const SegmentHeader::Partition& from = last.header.partitions[p];
    page_.partitions[p] = {
        .begin = 0, .end = from.end, .data_end = from.data_end, .last_append = from.last_append};
  }
  std::vector<PartitionEnd> ahead = page_.partitions;  // with the frames of a group not yet whole
  bool is_within_group = false;
  Scan scan{.end = segment_header_bytes(page_.partitions.size())};
  std::uint64_t at = scan.end;
  const auto find_frame = [&](std::uint64_t from, std::uint64_t above_group) {
    for (; from + kFrameHeaderBytes <= all.size(); from += kFrameAlignment) {
      const auto frame = decode_frame(all.substr(from), seed);
      if (frame && frame->group > above_group) return std::optional(from);
    }
    return std::optional<std::uint64_t>();
  };
  while (at + kFrameHeaderBytes <= all.size()) {
    const auto frame = decode_frame(all.substr(at), seed);
    const bool is_in_order =
        frame && frame->partition < ahead.size() &&
        (settings_.binding == Binding::Unbound ||
         (frame->group >= group && frame->base_offset >= ahead[frame->partition].end));
    if (!is_in_order) {
      // One group is on its way at a time.  So a later group proves that this one was whole and has
      // been damaged.
      const std::uint64_t torn_group = is_within_group ? group : group + 1;
      const auto next = find_frame(at + kFrameAlignment, torn_group);
      if (!next) break;
      quarantined_bytes_ += *next - at;
      page_.partitions = ahead;
      is_within_group = false;
      at = *next;
      continue;
    }
    PartitionEnd& end = ahead[frame->partition];
    end.end = frame->base_offset + frame->records;
    if (!frame->is_tick) end.data_end = end.end;
    end.last_append = frame->append_time;
    group = frame->group;
    at += frame->stored_bytes();
    is_within_group = !frame->is_last_in_group;
    if (is_within_group) continue;
    page_.partitions = ahead;
    page_.durable_group = group;
    scan.end = at;
  }
  const std::uint64_t promised =
      known && known->last_sequence == last.header.sequence ? known->durable_end : 0;
  if (scan.end < promised) {
    quarantined_bytes_ += promised - scan.end;
    scan.end = promised;
    scan.is_clean = false;
    return scan;
  }
  scan.is_clean = !find_frame(scan.end, 0);
  return scan;
}

namespace {

// At once, where the file system can: appends wait for it.  Syncs of what is written into it first
// take a little longer than in a ready file.
Result<void> allocate_file(io::FileSystem& files, const std::string& path, std::uint64_t bytes) {
  FS_TRY(const auto file, files.open(path, io::OpenMode::Create));
  const auto allocated = file->allocate(bytes);
  if (allocated) return file->sync();
  if (allocated.error().kind == ErrorKind::Unavailable) return make_ready_file(files, path, bytes);
  (void)files.remove(path);
  return fail(allocated.error());
}

}  // namespace

Result<void> make_ready_file(io::FileSystem& files, const std::string& path, std::uint64_t bytes) {
  const auto write = [&]() -> Result<void> {
    FS_TRY(const auto file, files.open(path, io::OpenMode::Create));
    const std::string zeros(std::min<std::uint64_t>(kZeroBytes, bytes), '\0');
    for (std::uint64_t at = 0; at < bytes; at += zeros.size()) {
      const std::string_view parts[] = {
          std::string_view(zeros).substr(0, std::min<std::uint64_t>(zeros.size(), bytes - at))};
      FS_TRY(file->write_at(at, parts));
    }
    return file->sync();
  };
  auto written = write();
  if (!written) (void)files.remove(path);
  return written;
}

std::string TopicWriter::next_ready_path() {
  return fmt::format("{}/{}{:08x}{}", settings_.folder, kPoolPrefix, ++pool_names_, kSegmentSuffix);
}

std::optional<std::string> TopicWriter::wanted_ready_file() {
  if (pool_.size() >= settings_.pool_segments || is_below_reserve_) return std::nullopt;
  return next_ready_path();
}

void TopicWriter::add_ready_file(std::string path) { pool_.push_back(std::move(path)); }

Result<std::string> TopicWriter::take_ready_file(std::uint64_t bytes) {
  if (bytes <= settings_.segment_bytes && !pool_.empty()) {
    std::string path = std::move(pool_.back());
    pool_.pop_back();
    return path;
  }
  const std::string path = next_ready_path();
  FS_TRY(allocate_file(files_, path, std::max(bytes, settings_.segment_bytes)));
  return path;
}

// Header and name are durable before the first frame is written.
Result<void> TopicWriter::roll(std::uint64_t frame_bytes) {
  const std::uint64_t header_bytes = segment_header_bytes(page_.partitions.size());
  FS_TRY(const std::string ready, take_ready_file(header_bytes + frame_bytes));
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
  FS_TRY(auto file, files_.open(ready, io::OpenMode::ReadWrite));
  const std::string encoded = encode_segment_header(header);
  const std::string_view parts[] = {encoded};
  FS_TRY(file->write_at(0, parts));
  FS_TRY(file->sync());
  FS_CRASH_POINT("log.after_roll_header");
  FS_TRY(files_.rename(ready, segment_path(settings_.folder, header.sequence)));
  FS_TRY(files_.sync_folder(settings_.folder));
  FS_TRY(const std::uint64_t file_bytes, file->size());
  active_ = std::move(file);
  page_.last_sequence = header.sequence;
  if (segments_.empty()) page_.first_sequence = header.sequence;
  page_.durable_end = header_bytes;
  segments_.push_back({.header = std::move(header), .file_bytes = file_bytes});
  return {};
}

Result<void> TopicWriter::publish() {
  const std::string bytes = encode_control_page(page_);
  const std::string_view parts[] = {bytes};
  return control_->write_at(0, parts);
}

Result<void> TopicWriter::check_reserve() {
  if (settings_.options.leave_reserve && settings_.reserve_bytes > 0) {
    const std::int64_t now = clock_.monotonic();
    if (reserve_checked_ == 0 || now - reserve_checked_ >= kReserveCheckMicros) {
      reserve_checked_ = now;
      FS_TRY(const io::DiskSpace disk, files_.disk_space(settings_.folder));
      is_below_reserve_ =
          disk.free < std::max(settings_.reserve_bytes, disk.total / kReserveOfDisk);
    }
  }
  if (is_below_reserve_)
    return fail(ErrorKind::ResourceExhausted, "the disk is down to its reserve");
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
  if (!roll(0)) return false;
  page_.is_poisoned = false;
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
    if (const auto room = check_reserve(); !room) return refuse(group, room.error());
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
    encode_frame_header(frame, seed, headers);
    each.outcome = Appended{.first_offset = end.end, .append_time = last_time_};
    end.end += frame.records;
    end.last_append = last_time_;
    if (!frame.is_tick) {
      end.data_end = end.end;
      last_data_[each.partition] = last_time_;
    }
    bytes += frame.stored_bytes();
  }
  constexpr std::string_view kPadding("\0\0\0\0\0\0\0", kFrameAlignment - 1);
  std::vector<std::string_view> parts;
  parts.reserve(group.size() * 3);
  for (std::size_t i = 0; i < group.size(); ++i) {
    const std::size_t size = group[i].batch.size();
    parts.push_back(std::string_view(headers).substr(i * kFrameHeaderBytes, kFrameHeaderBytes));
    parts.push_back(group[i].batch.bytes());
    const std::size_t padding = (kFrameAlignment - size % kFrameAlignment) % kFrameAlignment;
    if (padding > 0) parts.push_back(kPadding.substr(0, padding));
  }
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
  if (!settings_.options.ticks || page_.is_poisoned) return out;
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

// Compares the progress of the time of day with that of a clock that nobody sets.  After a start
// the last append stands for the last look: a long pause is doubted, too, which only keeps files
// longer.
void TopicWriter::watch_clock() {
  const MicrosUtc time = clock_.now();
  const std::int64_t at = clock_.monotonic();
  const std::int64_t jump = (time - seen_time_) - (at - seen_at_);
  if (jump > kJumpMicros) {
    doubted_until_ = at + kJumpMicros;
    doubted_jump_ = jump;
  } else if (doubted_until_ != 0 && (at >= doubted_until_ || jump <= kJumpMicros - doubted_jump_)) {
    doubted_until_ = 0;
  }
  seen_time_ = time;
  seen_at_ = at;
}

Result<void> TopicWriter::expire() {
  watch_clock();
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
    const Segment first = std::move(segments_.front());
    segments_.pop_front();
    page_.first_sequence = segments_.front().header.sequence;
    for (std::size_t p = 0; p < page_.partitions.size(); ++p)
      page_.partitions[p].begin = segments_.front().header.partitions[p].end;
    FS_TRY(publish());
    expired_segments_ += 1;
    const std::string path = segment_path(settings_.folder, first.header.sequence);
    if (pool_.size() < settings_.pool_segments && first.file_bytes == settings_.segment_bytes) {
      const std::string ready = next_ready_path();
      FS_TRY(files_.rename(path, ready));
      pool_.push_back(ready);
    } else {
      FS_TRY(files_.remove(path));
    }
    FS_TRY(files_.sync_folder(settings_.folder));
    FS_CRASH_POINT("log.after_expire");
  }
  return {};
}

}  // namespace flagstream::log
