#include "log/segment_scan.h"

#include <algorithm>

#include "log/topic_writer.h"

namespace flagstream::log {
namespace {

constexpr std::size_t kReadBytes = 1 << 20;
constexpr int kReadTries = 4;  // an error that passes is no damage

template <class Read>
Result<std::size_t> read_with_patience(Read read) {
  auto got = read();
  for (int tries = 1; !got && tries < kReadTries; ++tries) got = read();
  return got;
}

}  // namespace

std::size_t read_as_found(const io::File& file, std::uint64_t offset, std::span<char> out,
                          std::uint64_t& unreadable_bytes) {
  if (const auto got = file.read_from_disk(offset, out)) return *got;
  const auto size = file.size();
  const std::size_t there =
      !size || *size <= offset ? 0 : std::min<std::uint64_t>(out.size(), *size - offset);
  for (std::size_t done = 0; done < there;) {
    const std::size_t page = std::min(kPageBytes - (offset + done) % kPageBytes, there - done);
    if (!read_with_patience(
            [&] { return file.read_from_disk(offset + done, out.subspan(done, page)); })) {
      std::ranges::fill(out.subspan(done, page), '\0');
      unreadable_bytes += page;
    }
    done += page;
  }
  return there;
}

SegmentScan::SegmentScan(SegmentHeader header, Kind kind, std::uint64_t limit, Binding binding)
    : kind_(kind), limit_(limit), binding_(binding), index_(std::move(header)) {
  const SegmentHeader& from = index_.header();
  at_ = end_ = buffer_at_ = segment_header_bytes(from.partitions.size());
  group_ = from.first_group - 1;
  for (const SegmentHeader::Partition& each : from.partitions) {
    partitions_.push_back(
        {.begin = 0, .end = each.end, .data_end = each.data_end, .last_append = each.last_append});
  }
  ahead_ = partitions_;
}

void SegmentScan::run(const io::File& file) {
  while (!step(file, kReadBytes)) {
  }
}

std::string_view SegmentScan::rest() const {
  return std::string_view(buffer_).substr(at_ - buffer_at_);
}

bool SegmentScan::fill(const io::File& file, std::size_t bytes) {
  if (buffer_at_ + buffer_.size() >= at_ + bytes) return true;
  if (at_ + bytes > limit_) return false;
  buffer_.erase(0, at_ - buffer_at_);
  buffer_at_ = at_;
  const std::size_t had = buffer_.size();
  const std::uint64_t wish =
      std::min<std::uint64_t>(limit_ - at_, std::max(bytes, had + kReadBytes));
  buffer_.resize(wish);
  const std::size_t got =
      read_as_found(file, at_ + had, std::span(buffer_).subspan(had), unreadable_bytes_);
  buffer_.resize(had + got);
  return buffer_.size() >= bytes;
}

bool SegmentScan::is_in_order(const FrameHeader& frame) const {
  if (frame.partition >= ahead_.size()) return false;
  // One group is on its way at a time.  So a later group proves that what lies before it was whole.
  if (hole_ && kind_ == Kind::Active && frame.group <= (is_within_group_ ? group_ : group_ + 1))
    return false;
  if (binding_ == Binding::Unbound) return true;
  return (frame.group > group_ || (frame.group == group_ && (is_within_group_ || hole_))) &&
         frame.base_offset >= ahead_[frame.partition].end;
}

bool SegmentScan::is_doubtful(const FrameHeader& frame) const {
  if (!hole_ || kind_ != Kind::Active || binding_ == Binding::Unbound) return false;
  if (frame.partition >= ahead_.size()) return false;
  if (frame.group != (is_within_group_ ? group_ : group_ + 1)) return false;
  Offset end = ahead_[frame.partition].end;
  for (const Found& each : doubtful_) {
    if (each.frame.partition == frame.partition) end = each.frame.base_offset + each.frame.records;
  }
  return frame.base_offset >= end;
}

SegmentScan::Found SegmentScan::found_here(const FrameHeader& frame) const {
  Found found{.frame = frame, .header = {}, .position = at_};
  std::ranges::copy(rest().substr(0, kFrameHeaderBytes), found.header.begin());
  return found;
}

void SegmentScan::note(const Found& found) {
  const FrameHeader& frame = found.frame;
  PartitionEnd& end = ahead_[frame.partition];
  end.end = frame.base_offset + frame.records;
  if (!frame.is_tick) end.data_end = end.end;
  end.last_append = frame.append_time;
  group_ = frame.group;
  pending_.push_back(found);
}

// A later group has shown that what the hole has broken was whole once.
void SegmentScan::fill_hole() {
  std::uint64_t from = *hole_;
  for (const Found& each : doubtful_) {
    if (from < each.position) damaged_.push_back({from, each.position});
    from = each.position + each.frame.stored_bytes();
    note(each);
  }
  if (from < at_) damaged_.push_back({from, at_});
  doubtful_.clear();
  hole_.reset();
  is_clean_ = true;
  close_group();
}

void SegmentScan::take(const FrameHeader& frame) {
  if (hole_) fill_hole();
  note(found_here(frame));
  at_ += frame.stored_bytes();
  is_within_group_ = !frame.is_last_in_group;
  if (is_within_group_) return;
  close_group();
  end_ = at_;
}

void SegmentScan::close_group() {
  for (const Found& each : pending_)
    index_.add(each.frame, {each.header.data(), each.header.size()}, each.position);
  pending_.clear();
  partitions_ = ahead_;
}

bool SegmentScan::step(const io::File& file, std::size_t bytes) {
  const std::uint64_t seed = seed_of(index_.header(), binding_);
  const std::uint64_t until = at_ + bytes;
  while (!is_done_) {
    if (at_ >= until) return false;
    if (!fill(file, kFrameHeaderBytes)) break;
    auto frame = decode_frame_header(rest(), seed);
    if (frame) {
      const std::uint64_t room = limit_ - at_;
      const bool is_there = kFrameHeaderBytes + frame->payload_bytes <= room &&
                            fill(file, std::min<std::uint64_t>(frame->stored_bytes(), room));
      frame = is_there ? decode_frame(rest(), seed) : std::nullopt;
    }
    if (frame && is_in_order(*frame)) {
      const bool is_cut = frame->stored_bytes() > limit_ - at_;  // within its padding
      take(*frame);
      if (is_cut) is_clean_ = false;
      continue;
    }
    if (!hole_) hole_ = at_;
    if (frame) is_clean_ = false;
    if (frame && is_doubtful(*frame)) {
      doubtful_.push_back(found_here(*frame));
      at_ += frame->stored_bytes();
      continue;
    }
    at_ += kFrameAlignment;
  }
  if (!is_done_) finish();
  return true;
}

void SegmentScan::finish() {
  is_done_ = true;
  if (kind_ == Kind::Sealed) {
    const std::uint64_t begin = hole_.value_or(at_);
    close_group();
    if (begin < limit_) damaged_.push_back({begin, limit_});
    end_ = limit_;
    return;
  }
  if (!pending_.empty() || unreadable_bytes_ > 0) is_clean_ = false;
  pending_.clear();
}

void SegmentScan::keep_promise(std::uint64_t promised) {
  if (end_ >= promised) return;
  damaged_.push_back({end_, promised});
  end_ = promised;
  is_clean_ = false;
}

Result<SegmentHeader> read_segment_header(io::FileSystem& files, const std::string& folder,
                                          std::uint64_t sequence, std::size_t partitions,
                                          const io::File& file) {
  std::string bytes(segment_header_bytes(partitions), '\0');
  // What cannot be read is as good as damaged.
  const std::size_t got = read_with_patience([&] { return file.read_at(0, bytes); }).value_or(0);
  auto header = decode_segment_header(std::string_view(bytes).substr(0, got));
  if (header && header->sequence != sequence)
    return fail(ErrorKind::DataLoss, "the segment header is another file's");
  if (header) return header;
  const auto index = read_index(files, folder, sequence);
  return index ? Result<SegmentHeader>(index->header()) : header;
}

Result<SegmentHeader> read_segment_header(io::FileSystem& files, const std::string& folder,
                                          std::uint64_t sequence, std::size_t partitions) {
  FS_TRY(const auto file, files.open(segment_path(folder, sequence), io::OpenMode::Read));
  return read_segment_header(files, folder, sequence, partitions, *file);
}

}  // namespace flagstream::log
