// What stands in a topic's files, byte by byte: docs/formats/log.md.  Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "log/log.h"

namespace flagstream::log {

// How a frame is told from the rests of a recycled file's former life: its checksums are bound to
// the segment id, and groups and offsets only rise.  Unbound exists for the test that shows why:
// there a frame is whatever has a checksum that fits.
enum class Binding { Bound, Unbound };

inline constexpr std::size_t kPageBytes = 4096;
inline constexpr std::size_t kFrameHeaderBytes = 64;
inline constexpr std::size_t kFrameAlignment = 8;
inline constexpr std::size_t kBatchBytesMax = 64u << 20;

// The first page (or pages, with very many partitions) of a segment file.
struct SegmentHeader {
  Id128 log_id;
  std::uint64_t segment_id = 0;    // random, of this life of the file
  std::uint64_t sequence = 0;      // of the file in the topic, from 1
  std::uint64_t previous_end = 0;  // where the frames of the file before end, in bytes
  MicrosUtc created = 0;           // not before the last append to the file before
  std::uint64_t first_group = 0;
  // Per partition, as they were when the file was begun: `end` is the first offset that can stand
  // in it.
  struct Partition {
    Offset end = 0;
    Offset data_end = 0;
    MicrosUtc last_append = 0;
  };
  std::vector<Partition> partitions;
};

// What begins every file of a topic: magic, version, checksum of the rest, size of the rest.
std::string sealed(std::uint32_t magic, const std::string& rest);
// DataLoss: damaged, or with another magic.  InvalidArgument: written by a newer release.
Result<std::string_view> unsealed(std::uint32_t magic, std::string_view bytes,
                                  std::string_view what);

std::size_t segment_header_bytes(std::size_t partitions);
std::string encode_segment_header(const SegmentHeader& header);
// DataLoss: damaged, or not a segment file.  InvalidArgument: written by a newer release.
Result<SegmentHeader> decode_segment_header(std::string_view bytes);

// One batch of one partition.
struct FrameHeader {
  std::uint32_t payload_bytes = 0;
  std::uint32_t payload_crc = 0;
  Offset base_offset = 0;
  MicrosUtc append_time = 0;
  std::uint64_t group = 0;  // frames of one write have one number, dense from 1
  Partition partition = 0;
  std::uint32_t records = 0;
  bool is_last_in_group = false;
  bool is_tick = false;

  std::size_t stored_bytes() const;  // header, payload and padding
};

void encode_frame_header(const FrameHeader& frame, std::uint64_t seed, std::string& out);
// nullopt: no frame of that segment begins here (the end of what was written, or damage).
std::optional<FrameHeader> decode_frame_header(std::string_view bytes, std::uint64_t seed);
std::uint32_t payload_checksum(std::string_view payload, std::uint64_t seed);
// The whole frame at the front of `bytes`, its payload checked; nullopt as above, or if it does not
// end in them.
std::optional<FrameHeader> decode_frame(std::string_view bytes, std::uint64_t seed);

std::uint64_t seed_of(const SegmentHeader& header, Binding binding);

// Splits a frame's payload into records; false: it does not hold exactly `count`.
bool split_records(std::string_view payload, std::uint32_t count,
                   std::vector<std::string_view>& out);

struct PartitionEnd {
  Offset begin = 0;
  Offset end = 0;
  Offset data_end = 0;
  MicrosUtc last_append = 0;
};

// What the writer tells readers in other processes: the file `control` of a topic, rewritten after
// each sync. Everything in it was durable before it was written.
struct ControlPage {
  Id128 log_id;
  std::uint64_t first_sequence = 0;
  std::uint64_t last_sequence = 0;
  std::uint64_t durable_end = 0;  // bytes of the last file
  std::uint64_t durable_group = 0;
  bool is_poisoned = false;
  std::vector<PartitionEnd> partitions;
};

// Where its checksum stands in the file: the word that is another one after each change.
inline constexpr std::uint64_t kControlChecksumOffset = 8;

std::string encode_control_page(const ControlPage& page);
// nullopt: torn, damaged or empty.
std::optional<ControlPage> decode_control_page(std::string_view bytes);

// The file `topic`: written once, when the topic is made.
struct TopicIdentity {
  Id128 log_id;
  Partition partitions = 0;
};
std::string encode_topic_identity(const TopicIdentity& identity);
Result<TopicIdentity> decode_topic_identity(std::string_view bytes);

}  // namespace flagstream::log
