#include "log/segment_format.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/checksum.h"

namespace flagstream::log {
namespace {

constexpr std::uint32_t kSegmentMagic = 0x47455346;  // "FSEG"
constexpr std::uint32_t kControlMagic = 0x4c544346;  // "FCTL"
constexpr std::uint32_t kTopicMagic = 0x504f5446;    // "FTOP"
constexpr std::uint32_t kFrameMagic = 0x4d524646;    // "FFRM"
constexpr std::uint32_t kSegmentVersion = 2;
constexpr std::size_t kSegmentFixedBytes = 72;
constexpr std::size_t kHeaderPartitionBytes = 24;
constexpr std::size_t kPartitionEndBytes = 32;
constexpr std::size_t kControlFixedBytes = 72;
constexpr std::size_t kTopicBytes = 32;
constexpr std::uint32_t kLastInGroup = 1;
constexpr std::uint32_t kTickFrame = 2;
constexpr std::uint32_t kLz4Frame = 4;
constexpr std::uint32_t kZstdFrame = 8;
constexpr std::uint32_t kKnownFlags = kLastInGroup | kTickFrame | kLz4Frame | kZstdFrame;

std::uint32_t flag_of(Compression compression) {
  switch (compression) {
    case Compression::None:
      return 0;
    case Compression::Lz4:
      return kLz4Frame;
    case Compression::Zstd:
      return kZstdFrame;
  }
  std::unreachable();
}

std::uint32_t seeded(std::uint64_t seed, std::string_view bytes) {
  char text[8];
  set_le(text, seed);
  return crc32c(crc32c(0, {text, sizeof text}), bytes);
}

Id128 id_at(std::string_view bytes) { return *Id128::from_bytes(bytes.substr(0, 16)); }

}  // namespace

std::string sealed(std::uint32_t magic, const std::string& contents, std::uint32_t version) {
  std::string out;
  append_le(out, magic);
  append_le(out, version);
  append_le(out, crc32c(0, contents));
  append_le(out, static_cast<std::uint32_t>(contents.size()));
  return out + contents;
}

Result<std::string_view> unsealed(std::uint32_t magic, std::string_view bytes,
                                  std::string_view what, std::uint32_t version_max) {
  const auto damaged = [&] { return fail(ErrorKind::DataLoss, std::string(what) + " is damaged"); };
  if (bytes.size() < kSealBytes || get_u32(bytes.data()) != magic) return damaged();
  const std::uint32_t version = get_u32(bytes.data() + 4);
  if (version > version_max) {
    return fail(ErrorKind::InvalidArgument,
                std::string(what) + " has version " + std::to_string(version) +
                    ", this release reads up to " + std::to_string(version_max));
  }
  const std::uint32_t size = get_u32(bytes.data() + 12);
  if (size > bytes.size() - kSealBytes) return damaged();
  const std::string_view rest = bytes.substr(kSealBytes, size);
  if (crc32c(0, rest) != get_u32(bytes.data() + 8)) return damaged();
  return rest;
}

std::size_t segment_header_bytes(std::size_t partitions) {
  const std::size_t bytes = kSealBytes + kSegmentFixedBytes + partitions * kHeaderPartitionBytes;
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

std::string encode_segment_header(const SegmentHeader& header) {
  std::string rest = header.log_id.to_bytes();
  append_le(rest, header.segment_id);
  append_le(rest, header.sequence);
  append_le(rest, header.previous_end);
  append_le(rest, header.created);
  append_le(rest, header.first_group);
  append_le(rest, static_cast<std::uint64_t>(header.partitions.size()));
  rest.append(8, '\0');  // reserved
  for (const SegmentHeader::Partition& each : header.partitions) {
    append_le(rest, each.end);
    append_le(rest, each.data_end);
    append_le(rest, each.last_append);
  }
  std::string out = sealed(kSegmentMagic, rest, header.version);
  out.resize(segment_header_bytes(header.partitions.size()));
  return out;
}

Result<SegmentHeader> decode_segment_header(std::string_view bytes) {
  FS_TRY(const std::string_view rest,
         unsealed(kSegmentMagic, bytes, "segment header", kSegmentVersion));
  if (rest.size() < kSegmentFixedBytes)
    return fail(ErrorKind::DataLoss, "segment header is too short");
  SegmentHeader header;
  header.version = get_u32(bytes.data() + 4);
  header.log_id = id_at(rest);
  header.segment_id = get_u64(rest.data() + 16);
  header.sequence = get_u64(rest.data() + 24);
  header.previous_end = get_u64(rest.data() + 32);
  header.created = get_le<MicrosUtc>(rest.data() + 40);
  header.first_group = get_u64(rest.data() + 48);
  const std::uint64_t partitions = get_u64(rest.data() + 56);
  if (partitions != (rest.size() - kSegmentFixedBytes) / kHeaderPartitionBytes)
    return fail(ErrorKind::DataLoss, "segment header has another size than it says");
  for (std::size_t i = 0; i < partitions; ++i) {
    const char* at = rest.data() + kSegmentFixedBytes + i * kHeaderPartitionBytes;
    header.partitions.push_back({get_u64(at), get_u64(at + 8), get_le<MicrosUtc>(at + 16)});
  }
  return header;
}

std::size_t FrameHeader::stored_bytes() const {
  return (kFrameHeaderBytes + payload_bytes + kFrameAlignment - 1) / kFrameAlignment *
         kFrameAlignment;
}

void encode_frame_header(const FrameHeader& frame, std::uint64_t seed, std::string& out) {
  const std::size_t begin = out.size();
  append_le(out, kFrameMagic);
  append_le(out, std::uint32_t{0});
  append_le(out, frame.payload_bytes);
  append_le(out, frame.payload_crc);
  append_le(out, frame.base_offset);
  append_le(out, frame.append_time);
  append_le(out, frame.group);
  append_le(out, frame.partition);
  append_le(out, frame.records);
  append_le(out, (frame.is_last_in_group ? kLastInGroup : 0) | (frame.is_tick ? kTickFrame : 0) |
                     flag_of(frame.compression));
  append_le(out, frame.plain_bytes);
  out.resize(begin + kFrameHeaderBytes);
  set_le(out.data() + begin + 4,
         seeded(seed, std::string_view(out).substr(begin + 8, kFrameHeaderBytes - 8)));
}

std::optional<FrameHeader> decode_frame_header(std::string_view bytes, std::uint64_t seed) {
  if (bytes.size() < kFrameHeaderBytes || get_u32(bytes.data()) != kFrameMagic) return std::nullopt;
  if (seeded(seed, bytes.substr(8, kFrameHeaderBytes - 8)) != get_u32(bytes.data() + 4))
    return std::nullopt;
  FrameHeader frame;
  frame.payload_bytes = get_u32(bytes.data() + 8);
  frame.payload_crc = get_u32(bytes.data() + 12);
  frame.base_offset = get_u64(bytes.data() + 16);
  frame.append_time = get_le<MicrosUtc>(bytes.data() + 24);
  frame.group = get_u64(bytes.data() + 32);
  frame.partition = get_u32(bytes.data() + 40);
  frame.records = get_u32(bytes.data() + 44);
  const std::uint32_t flags = get_u32(bytes.data() + 48);
  frame.is_last_in_group = (flags & kLastInGroup) != 0;
  frame.is_tick = (flags & kTickFrame) != 0;
  if (frame.payload_bytes > kBatchBytesMax || (flags & ~kKnownFlags) != 0) return std::nullopt;
  if (const std::uint32_t how = flags & (kLz4Frame | kZstdFrame); how != 0) {
    if (how == (kLz4Frame | kZstdFrame)) return std::nullopt;
    frame.compression = how == kLz4Frame ? Compression::Lz4 : Compression::Zstd;
    frame.plain_bytes = get_u32(bytes.data() + 52);
    if (frame.plain_bytes > kBatchBytesMax) return std::nullopt;
  }
  return frame;
}

std::uint32_t payload_checksum(std::string_view payload, std::uint64_t seed) {
  return seeded(seed, payload);
}

std::optional<FrameHeader> decode_frame(std::string_view bytes, std::uint64_t seed) {
  const auto frame = decode_frame_header(bytes, seed);
  if (!frame || frame->payload_bytes > bytes.size() - kFrameHeaderBytes) return std::nullopt;
  if (payload_checksum(bytes.substr(kFrameHeaderBytes, frame->payload_bytes), seed) !=
      frame->payload_crc)
    return std::nullopt;
  return frame;
}

std::uint64_t seed_of(const SegmentHeader& header, Binding binding) {
  return binding == Binding::Bound ? header.segment_id : 0;
}

bool split_records(std::string_view payload, std::uint32_t count,
                   std::vector<std::string_view>& out) {
  constexpr std::size_t kLengthBytes = 4;
  out.clear();
  out.reserve(std::min<std::size_t>(count, payload.size() / kLengthBytes));  // not what it says
  while (!payload.empty()) {
    if (payload.size() < kLengthBytes) return false;
    const std::uint32_t size = get_u32(payload.data());
    if (size > payload.size() - kLengthBytes) return false;
    out.push_back(payload.substr(kLengthBytes, size));
    payload.remove_prefix(kLengthBytes + size);
  }
  return out.size() == count;
}

std::string encode_control_page(const ControlPage& page) {
  std::string rest = page.log_id.to_bytes();
  append_le(rest, page.first_sequence);
  append_le(rest, page.last_sequence);
  append_le(rest, page.durable_end);
  append_le(rest, page.durable_group);
  append_le(rest, std::uint64_t{page.is_poisoned});
  append_le(rest, static_cast<std::uint64_t>(page.partitions.size()));
  rest.append(8, '\0');  // reserved
  for (const PartitionEnd& each : page.partitions) {
    append_le(rest, each.begin);
    append_le(rest, each.end);
    append_le(rest, each.data_end);
    append_le(rest, each.last_append);
  }
  return sealed(kControlMagic, rest);
}

std::optional<ControlPage> decode_control_page(std::string_view bytes) {
  const auto rest = unsealed(kControlMagic, bytes, "control page");
  if (!rest || rest->size() < kControlFixedBytes) return std::nullopt;
  ControlPage page;
  page.log_id = id_at(*rest);
  page.first_sequence = get_u64(rest->data() + 16);
  page.last_sequence = get_u64(rest->data() + 24);
  page.durable_end = get_u64(rest->data() + 32);
  page.durable_group = get_u64(rest->data() + 40);
  page.is_poisoned = get_u64(rest->data() + 48) != 0;
  const std::uint64_t partitions = get_u64(rest->data() + 56);
  if (partitions != (rest->size() - kControlFixedBytes) / kPartitionEndBytes) return std::nullopt;
  for (std::size_t i = 0; i < partitions; ++i) {
    const char* at = rest->data() + kControlFixedBytes + i * kPartitionEndBytes;
    page.partitions.push_back(
        {get_u64(at), get_u64(at + 8), get_u64(at + 16), get_le<MicrosUtc>(at + 24)});
  }
  return page;
}

std::string encode_topic_identity(const TopicIdentity& identity) {
  std::string rest = identity.log_id.to_bytes();
  append_le(rest, std::uint64_t{identity.partitions});
  rest.resize(kTopicBytes, '\0');
  return sealed(kTopicMagic, rest);
}

Result<TopicIdentity> decode_topic_identity(std::string_view bytes) {
  FS_TRY(const std::string_view rest, unsealed(kTopicMagic, bytes, "topic file"));
  if (rest.size() < kTopicBytes) return fail(ErrorKind::DataLoss, "topic file is too short");
  return TopicIdentity{.log_id = id_at(rest),
                       .partitions = static_cast<Partition>(get_u64(rest.data() + 16))};
}

}  // namespace flagstream::log
