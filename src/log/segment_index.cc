#include "log/segment_index.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/checksum.h"

namespace flagstream::log {
namespace {

constexpr std::uint32_t kIndexMagic = 0x58444946;  // "FIDX"
constexpr std::size_t kFixedBytes = 56;
constexpr std::size_t kEntryFixedBytes = 20;
constexpr std::size_t kEntryEndBytes = 12;

Partition partition_at(const char* at) { return get_u32(at); }
Offset offset_at(const char* at) { return get_u64(at + 4); }

}  // namespace

SegmentIndex::SegmentIndex(SegmentHeader header)
    : header_(std::move(header)),
      next_entry_(segment_header_bytes(header_.partitions.size()) + kEntryBytes) {
  footer_.end = segment_header_bytes(header_.partitions.size());
  footer_.last_group = header_.first_group - 1;
  for (const SegmentHeader::Partition& each : header_.partitions) footer_.ends.push_back(each.end);
  told_ = footer_.ends;
}

void SegmentIndex::add(const FrameHeader& frame, std::string_view bytes, std::uint64_t position) {
  if (position >= next_entry_) {
    append_le(entries_, position);
    append_le(entries_, frame.append_time);
    const std::size_t count_at = entries_.size();
    append_le(entries_, std::uint32_t{0});
    std::uint32_t count = 0;
    for (Partition p = 0; p < told_.size(); ++p) {
      if (told_[p] == footer_.ends[p]) continue;
      told_[p] = footer_.ends[p];
      append_le(entries_, p);
      append_le(entries_, told_[p]);
      ++count;
    }
    set_le(entries_.data() + count_at, count);
    next_entry_ = position + kEntryBytes;
  }
  if (footer_.frames == 0) footer_.first_append = frame.append_time;
  footer_.last_append = frame.append_time;
  footer_.last_group = frame.group;
  footer_.frames += 1;
  footer_.records += frame.records;
  footer_.frames_crc = crc32c(footer_.frames_crc, bytes.substr(0, kFrameHeaderBytes));
  footer_.end = position + frame.stored_bytes();
  footer_.ends.at(frame.partition) = frame.base_offset + frame.records;
}

void SegmentIndex::seal(std::uint64_t end, std::vector<Offset> ends) {
  footer_.end = end;
  footer_.ends = std::move(ends);
}

template <class Take>
void SegmentIndex::walk(Take take) const {
  const std::string_view all = entries_;
  for (std::size_t at = 0; at < all.size();) {
    const char* const entry = all.data() + at;
    const std::size_t ends_bytes = get_u32(entry + 16) * kEntryEndBytes;
    if (!take(Entry{.position = get_u64(entry),
                    .append_time = get_le<MicrosUtc>(entry + 8),
                    .ends = std::span(entry + kEntryFixedBytes, ends_bytes)}))
      return;
    at += kEntryFixedBytes + ends_bytes;
  }
}

std::uint64_t SegmentIndex::position_before(std::span<const Start> wanted) const {
  std::uint64_t found = segment_header_bytes(header_.partitions.size());
  walk([&](const Entry& entry) {
    for (std::size_t i = 0; i < entry.ends.size(); i += kEntryEndBytes) {
      const Partition partition = partition_at(entry.ends.data() + i);
      const Offset end = offset_at(entry.ends.data() + i);
      for (const Start& each : wanted) {
        if (each.partition == partition && each.offset < end) return false;
      }
    }
    found = entry.position;
    return true;
  });
  return found;
}

SegmentIndex::Range SegmentIndex::around(Partition partition, MicrosUtc time) const {
  Range range{.begin = segment_header_bytes(header_.partitions.size()),
              .end = footer_.end,
              .next = footer_.ends.at(partition)};
  Offset next = header_.partitions.at(partition).end;
  walk([&](const Entry& entry) {
    for (std::size_t i = 0; i < entry.ends.size(); i += kEntryEndBytes) {
      if (partition_at(entry.ends.data() + i) == partition) next = offset_at(entry.ends.data() + i);
    }
    if (entry.append_time < time) {
      range.begin = entry.position;
      return true;
    }
    range.end = entry.position;
    range.next = next;
    return false;
  });
  return range;
}

std::string SegmentIndex::encode() const {
  std::string rest;
  append_le(rest, footer_.end);
  append_le(rest, footer_.frames);
  append_le(rest, footer_.records);
  append_le(rest, footer_.last_group);
  append_le(rest, footer_.first_append);
  append_le(rest, footer_.last_append);
  append_le(rest, footer_.frames_crc);
  append_le(rest, static_cast<std::uint32_t>(footer_.ends.size()));
  for (const Offset each : footer_.ends) append_le(rest, each);
  rest += entries_;
  std::string out = encode_segment_header(header_);
  out += sealed(kIndexMagic, rest);
  return out;
}

std::optional<SegmentIndex> SegmentIndex::decode(std::string_view bytes) {
  auto header = decode_segment_header(bytes);
  if (!header) return std::nullopt;
  const std::size_t partitions = header->partitions.size();
  const std::size_t header_bytes = segment_header_bytes(partitions);
  if (bytes.size() < header_bytes) return std::nullopt;
  const auto rest = unsealed(kIndexMagic, bytes.substr(header_bytes), "index");
  if (!rest || rest->size() < kFixedBytes) return std::nullopt;
  const char* const at = rest->data();
  if (get_u32(at + 52) != partitions || rest->size() < kFixedBytes + partitions * 8)
    return std::nullopt;
  SegmentIndex index(*std::move(header));
  SegmentFooter& footer = index.footer_;
  footer.end = get_u64(at);
  footer.frames = get_u64(at + 8);
  footer.records = get_u64(at + 16);
  footer.last_group = get_u64(at + 24);
  footer.first_append = get_le<MicrosUtc>(at + 32);
  footer.last_append = get_le<MicrosUtc>(at + 40);
  footer.frames_crc = get_u32(at + 48);
  for (std::size_t p = 0; p < partitions; ++p) footer.ends[p] = get_u64(at + kFixedBytes + p * 8);
  const std::string_view entries = rest->substr(kFixedBytes + partitions * 8);
  for (std::size_t i = 0; i < entries.size();) {
    if (entries.size() - i < kEntryFixedBytes) return std::nullopt;
    const std::uint64_t count = get_u32(entries.data() + i + 16);
    const std::uint64_t position = get_u64(entries.data() + i);
    if (position < header_bytes || position > footer.end) return std::nullopt;
    i += kEntryFixedBytes;
    if (count > partitions || entries.size() - i < count * kEntryEndBytes) return std::nullopt;
    i += count * kEntryEndBytes;
  }
  index.entries_ = entries;
  return index;
}

std::string index_path(const std::string& folder, std::uint64_t sequence) {
  return fmt::format("{}/{:016x}.idx", folder, sequence);
}

std::optional<SegmentIndex> read_index(io::FileSystem& files, const std::string& folder,
                                       std::uint64_t sequence) {
  const auto bytes = files.read_file(index_path(folder, sequence));
  if (!bytes) return std::nullopt;
  auto index = SegmentIndex::decode(*bytes);
  if (!index || index->header().sequence != sequence) return std::nullopt;
  return index;
}

Result<void> write_index(io::FileSystem& files, const std::string& folder,
                         const SegmentIndex& index) {
  FS_TRY(const auto file,
         files.open(index_path(folder, index.header().sequence), io::OpenMode::Create));
  const std::string bytes = index.encode();
  const std::string_view parts[] = {bytes};
  return file->write_at(0, parts);
}

}  // namespace flagstream::log
