#include "log/local_reader.h"

#include <algorithm>
#include <thread>

#include "base/bytes.h"
#include "log/caretaker.h"
#include "log/segment_scan.h"
#include "log/segment_search.h"
#include "log/topic_writer.h"

namespace flagstream::log {
namespace {

constexpr std::size_t kReadBytes = 1 << 20;
// A wake-up can be missed: on a file system whose files other machines write.
constexpr std::chrono::microseconds kLookAgain = std::chrono::milliseconds(100);

std::size_t control_bytes_max(std::size_t partitions) { return kPageBytes + partitions * 64; }

struct PageRead {
  ControlPage page;
  std::uint32_t checksum = 0;
};

// A page that is being rewritten is read again.
Result<PageRead> read_page(const io::File& file, std::size_t bytes_max) {
  constexpr int kTries = 100;
  std::string bytes(bytes_max, '\0');
  for (int i = 0; i < kTries; ++i) {
    FS_TRY(const std::size_t got, file.read_at(0, bytes));
    if (auto page = decode_control_page(std::string_view(bytes).substr(0, got))) {
      return PageRead{.page = *std::move(page),
                      .checksum = get_u32(bytes.data() + kControlChecksumOffset)};
    }
    std::this_thread::yield();
  }
  return fail(ErrorKind::NotFound, "the topic has not been opened by its writer yet");
}

}  // namespace

Result<ControlPage> read_control_page(io::FileSystem& files, const std::string& folder) {
  FS_TRY(const std::string identity, files.read_file(topic_path(folder)));
  FS_TRY(const TopicIdentity topic, decode_topic_identity(identity));
  auto file = files.open(control_path(folder), io::OpenMode::Read);
  if (!file) return fail(ErrorKind::NotFound, "the topic is being made");
  FS_TRY(PageRead read, read_page(**file, control_bytes_max(topic.partitions)));
  return std::move(read.page);
}

Result<std::unique_ptr<LocalReader>> LocalReader::open(io::FileSystem& files, std::string folder,
                                                       Id128 log_id, std::span<const Start> starts,
                                                       Binding binding) {
  std::unique_ptr<LocalReader> reader(new LocalReader(files, std::move(folder), binding));
  FS_TRY(const std::string identity, files.read_file(topic_path(reader->folder_)));
  FS_TRY(const TopicIdentity topic, decode_topic_identity(identity));
  if (!log_id.is_zero() && log_id != topic.log_id)
    return fail(ErrorKind::Conflict, "the topic has another log id than the position");
  reader->log_id_ = topic.log_id;
  reader->partitions_ = topic.partitions;
  for (const Start& start : starts) {
    if (start.partition >= topic.partitions)
      return fail(ErrorKind::InvalidArgument, "the topic has no such partition");
    reader->wanted_[start.partition].next = start.offset;
  }
  FS_TRY(reader->control_, files.open(control_path(reader->folder_), io::OpenMode::Read));
  reader->changes_ = files.open_signal(control_path(reader->folder_), kControlChecksumOffset);
  return reader;
}

Result<ControlPage> LocalReader::control() {
  FS_TRY(PageRead read, read_page(*control_, control_bytes_max(partitions_)));
  seen_ = read.checksum;
  return std::move(read.page);
}

void LocalReader::skip_to(Partition partition, Offset offset) {
  wanted_.at(partition) = {.next = offset, .is_blocked = false};
  place_.reset();
}

Result<Fetched> LocalReader::next(std::size_t bytes_max, std::chrono::milliseconds deadline) {
  frame_count_ = 0;
  for (std::chrono::microseconds left = deadline;;) {
    if (changes_->take_interrupt()) return Fetched{};
    FS_TRY(auto fetched, look(std::max(bytes_max, kFrameHeaderBytes)));
    if (fetched) return *fetched;
    if (left.count() <= 0) return Fetched{};
    left -=
        std::max(changes_->wait(seen_, std::min(left, kLookAgain)), std::chrono::microseconds(1));
  }
}

std::optional<Fetched> LocalReader::out_of_range(const ControlPage& page) {
  for (auto& [partition, wanted] : wanted_) {
    const Offset begin = page.partitions[partition].begin;
    if (wanted.is_blocked || wanted.next >= begin) continue;
    wanted.is_blocked = true;
    return Fetched{.status = Fetched::Status::OutOfRange,
                   .frames = {},
                   .partition = partition,
                   .next_offset = begin};
  }
  return std::nullopt;
}

std::optional<Fetched> LocalReader::gap(Partition partition, Wanted& wanted, Offset found) {
  if (wanted.is_blocked || found <= wanted.next) return std::nullopt;
  wanted.is_blocked = true;
  if (place_) note_suspect(files_, folder_, place_->header.sequence);
  return Fetched{.status = Fetched::Status::Quarantined,
                 .frames = {},
                 .partition = partition,
                 .next_offset = found};
}

// The last file in which nothing wanted comes too late, and there the last place of its index.
Result<void> LocalReader::locate(const ControlPage& page) {
  std::vector<Start> starts;
  for (const auto& [partition, wanted] : wanted_) {
    if (!wanted.is_blocked) starts.push_back({partition, wanted.next});
  }
  const std::uint64_t sequence =
      find_segment(files_, folder_, page, [&](const SegmentHeader& header) {
        return std::ranges::all_of(starts, [&](const Start& each) {
          return header.partitions[each.partition].end <= each.offset;
        });
      });
  FS_TRY(const bool is_there, enter(page, sequence));
  if (!is_there || place_->header.sequence == page.last_sequence) return {};
  const SealedEnd sealed = find_sealed_end(files_, folder_, place_->header);
  if (sealed.index) place_->at = sealed.index->position_before(starts);
  return {};
}

// Files that cannot be read are stepped over; what is missing shows in what comes next.
Result<bool> LocalReader::enter(const ControlPage& page, std::uint64_t sequence) {
  for (;; ++sequence) {
    auto file = files_.open(segment_path(folder_, sequence), io::OpenMode::Read);
    auto header = file ? read_segment_header(files_, folder_, sequence, partitions_, **file)
                       : Result<SegmentHeader>(fail(file.error()));
    if (header) {
      if (header->log_id != page.log_id) return false;
      const std::uint64_t begin = segment_header_bytes(partitions_);
      place_ =
          Place{.header = *std::move(header), .file = *std::move(file), .at = begin, .end = {}};
      return true;
    }
    const Error& error = header.error();
    const bool is_lost = error.kind == ErrorKind::DataLoss || error.kind == ErrorKind::NotFound;
    FS_TRY(const ControlPage now, control());
    if (now.first_sequence > sequence) return false;
    if (!is_lost || sequence >= now.last_sequence) return fail(error);
  }
}

Result<std::uint64_t> LocalReader::limit(const ControlPage& page) {
  if (place_->header.sequence == page.last_sequence) return page.durable_end;
  // Behind an unknown end may stand what was never acknowledged: then nothing more is read.
  if (!place_->end)
    place_->end = find_sealed_end(files_, folder_, place_->header).end.value_or(place_->at);
  return *place_->end;
}

Result<std::optional<Fetched>> LocalReader::look(std::size_t bytes_max) {
  constexpr int kMovesMax = 1'000'000;
  for (int moves = 0; moves < kMovesMax; ++moves) {
    FS_TRY(const ControlPage page, control());
    if (auto report = out_of_range(page)) return report;
    if (place_ && place_->header.sequence < page.first_sequence) place_.reset();
    const auto step = [&]() -> Result<std::optional<Fetched>> {
      if (!place_) FS_TRY(locate(page));
      if (!place_) return std::optional<Fetched>();
      FS_TRY(const std::uint64_t end, limit(page));
      if (place_->at < end) return read_frames(end, bytes_max);
      return std::optional<Fetched>();
    };
    auto stepped = step();
    if (!stepped) {
      // Retention may have taken the file from under us; then the next look says so.
      FS_TRY(const ControlPage now, control());
      const bool has_moved = now.first_sequence != page.first_sequence;
      place_.reset();
      if (has_moved) continue;
      return fail(std::move(stepped).error());
    }
    if (*stepped) return *stepped;
    if (!place_) continue;
    FS_TRY(const std::uint64_t end, limit(page));
    if (place_->at < end) continue;  // nothing wanted was in what was read
    if (place_->header.sequence < page.last_sequence) {
      FS_TRY(const bool is_there, enter(page, place_->header.sequence + 1));
      if (!is_there) place_.reset();
      if (!place_) continue;
      for (auto& [partition, wanted] : wanted_) {
        auto report = gap(partition, wanted, place_->header.partitions[partition].end);
        if (!report) continue;
        note_suspect(files_, folder_, place_->header.sequence - 1);
        return report;
      }
      continue;
    }
    for (auto& [partition, wanted] : wanted_) {
      if (auto report = gap(partition, wanted, page.partitions[partition].end)) return report;
    }
    return std::optional<Fetched>();
  }
  return fail(ErrorKind::Unavailable, "the topic moves faster than it can be read");
}

Result<std::string_view> LocalReader::fill(std::uint64_t at, std::size_t bytes) {
  buffer_.resize(bytes);
  FS_TRY(const std::size_t got, place_->file->read_at(at, buffer_));
  return std::string_view(buffer_).substr(0, got);
}

Result<std::optional<Fetched>> LocalReader::read_frames(std::uint64_t limit,
                                                        std::size_t bytes_max) {
  const std::uint64_t seed = seed_of(place_->header, binding_);
  const auto wish = std::clamp(bytes_max, kPageBytes, std::max(kReadBytes, kPageBytes));
  FS_TRY(std::string_view bytes,
         fill(place_->at, std::min<std::uint64_t>(wish, limit - place_->at)));
  frame_count_ = 0;
  plain_total_ = 0;
  std::size_t used = 0;
  while (used + kFrameHeaderBytes <= bytes.size()) {
    const auto frame = decode_frame_header(bytes.substr(used), seed);
    if (!frame) {
      used +=
          kFrameAlignment;  // damage: on to whatever frame comes next; what is missing shows there
      continue;
    }
    const std::size_t stored = frame->stored_bytes();
    if (stored > bytes.size() - used) {
      if (place_->at + used + stored > limit) {
        used += kFrameAlignment;
        continue;
      }
      if (frame_count_ > 0) break;  // views into the buffer must stay
      place_->at += used;
      used = 0;
      FS_TRY(bytes, fill(place_->at, stored));
      if (bytes.size() < stored) break;
      continue;
    }
    const std::string_view payload = bytes.substr(used + kFrameHeaderBytes, frame->payload_bytes);
    const auto wanted = wanted_.find(frame->partition);
    const bool is_wanted = wanted != wanted_.end() && !wanted->second.is_blocked &&
                           frame->base_offset + frame->records > wanted->second.next;
    if (is_wanted && payload_checksum(payload, seed) == frame->payload_crc) {
      if (frame->base_offset > wanted->second.next && frame_count_ > 0)
        break;  // first what is there
      // A block can stand for 255 times its size.
      if (frame_count_ > 0 && plain_total_ + frame->plain_bytes > wish) break;
      if (auto report = take(*frame, payload)) {
        place_->at += used;
        return report;
      }
    }
    used += stored;
  }
  const bool is_rest_too_short =
      used + kFrameHeaderBytes > bytes.size() && place_->at + bytes.size() >= limit;
  place_->at = is_rest_too_short && frame_count_ == 0 ? limit : place_->at + used;
  if (frame_count_ == 0) return std::optional<Fetched>();
  return std::optional(
      Fetched{.status = Fetched::Status::Frames, .frames = std::span(frames_).first(frame_count_)});
}

std::optional<Fetched> LocalReader::take(const FrameHeader& frame, std::string_view payload) {
  Wanted& wanted = wanted_.at(frame.partition);
  if (auto report = gap(frame.partition, wanted, frame.base_offset)) return report;
  if (frames_.size() == frame_count_) frames_.emplace_back();
  Frame& out = frames_[frame_count_];
  if (frame.compression != Compression::None) {
    while (plain_.size() <= frame_count_) plain_.emplace_back();  // views into others must stay
    std::string& plain = plain_[frame_count_];
    if (!decompress(frame.compression, payload, frame.plain_bytes, plain)) return std::nullopt;
    plain_total_ += plain.size();
    payload = plain;
  }
  if (!split_records(payload, frame.records, out.records)) return std::nullopt;
  out.partition = frame.partition;
  out.base_offset = frame.base_offset;
  out.append_time = frame.append_time;
  out.stored_bytes = frame.stored_bytes();
  if (wanted.next > frame.base_offset) {
    out.records.erase(
        out.records.begin(),
        out.records.begin() + static_cast<std::ptrdiff_t>(wanted.next - frame.base_offset));
    out.base_offset = wanted.next;
  }
  wanted.next = out.end_offset();
  ++frame_count_;
  return std::nullopt;
}

}  // namespace flagstream::log
