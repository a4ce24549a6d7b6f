#include "log/segment_search.h"

#include <algorithm>

#include "log/segment_scan.h"
#include "log/topic_writer.h"

namespace flagstream::log {
namespace {

constexpr std::uint64_t kReadBytes = 64 << 10;

}  // namespace

std::uint64_t find_segment(io::FileSystem& files, const std::string& folder,
                           const ControlPage& page,
                           const std::function<bool(const SegmentHeader&)>& is_early) {
  const auto is_known_early = [&](std::uint64_t sequence) -> std::optional<bool> {
    const auto header = read_segment_header(files, folder, sequence, page.partitions.size());
    return header ? std::optional(is_early(*header)) : std::nullopt;
  };
  std::uint64_t low = page.first_sequence;
  std::uint64_t high = page.last_sequence;
  while (low < high) {
    const std::uint64_t middle = high - (high - low) / 2;
    std::uint64_t probe = middle;
    std::optional<bool> early = is_known_early(probe);
    while (!early && --probe > low) early = is_known_early(probe);
    if (early.value_or(false)) {
      low = probe;
    } else {
      high = (early ? probe : middle) - 1;
    }
  }
  return low;
}

SealedEnd find_sealed_end(io::FileSystem& files, const std::string& folder,
                          const SegmentHeader& header) {
  SealedEnd out{.end = {}, .index = read_index(files, folder, header.sequence)};
  if (out.index && out.index->header().segment_id != header.segment_id) out.index.reset();
  const auto after =
      read_segment_header(files, folder, header.sequence + 1, header.partitions.size());
  if (after) {
    out.end = after->previous_end;
    if (out.index && out.index->footer().end != *out.end) out.index.reset();
  } else if (out.index) {
    out.end = out.index->footer().end;
  }
  return out;
}

Result<Offset> find_time(io::FileSystem& files, const std::string& folder, const ControlPage& page,
                         Partition partition, MicrosUtc time) {
  if (partition >= page.partitions.size())
    return fail(ErrorKind::InvalidArgument, "the topic has no such partition");
  const std::uint64_t sequence = find_segment(
      files, folder, page, [&](const SegmentHeader& header) { return header.created < time; });
  const std::size_t partitions = page.partitions.size();
  SegmentIndex::Range range{.begin = segment_header_bytes(partitions),
                            .end = page.durable_end,
                            .next = page.partitions[partition].end};
  FS_TRY(const SegmentHeader header, read_segment_header(files, folder, sequence, partitions));
  if (sequence < page.last_sequence) {
    const SealedEnd sealed = find_sealed_end(files, folder, header);
    range.end = sealed.end.value_or(range.begin);
    const auto after = read_segment_header(files, folder, sequence + 1, partitions);
    if (after) range.next = after->partitions.at(partition).end;
    if (sealed.index) range = sealed.index->around(partition, time);
  }
  FS_TRY(const auto file, files.open(segment_path(folder, sequence), io::OpenMode::Read));
  const std::uint64_t seed = seed_of(header, Binding::Bound);
  std::string buffer;
  std::uint64_t buffer_at = range.begin;
  for (std::uint64_t at = range.begin; at + kFrameHeaderBytes <= range.end;) {
    if (at + kFrameHeaderBytes > buffer_at + buffer.size()) {
      buffer.resize(std::min<std::uint64_t>(kReadBytes, range.end - at));
      buffer_at = at;
      FS_TRY(const std::size_t got, file->read_at(at, buffer));
      buffer.resize(got);
      if (got < kFrameHeaderBytes) break;
    }
    const auto frame = decode_frame_header(std::string_view(buffer).substr(at - buffer_at), seed);
    if (frame && frame->partition == partition && frame->append_time >= time)
      return std::max(frame->base_offset, page.partitions[partition].begin);
    at += frame ? frame->stored_bytes() : kFrameAlignment;
  }
  return std::max(range.next, page.partitions[partition].begin);
}

}  // namespace flagstream::log
