// The sidecar of a sealed segment file, `NNN.idx`: a copy of its header, its footer and a sparse
// index (docs/formats/log.md).  All of it can be computed again from the segment file, so it is
// never synced, and one that is missing, torn or of another life of the file only costs time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "io/file_system.h"
#include "log/log.h"
#include "log/segment_format.h"

namespace flagstream::log {

// What a sealed file holds.
struct SegmentFooter {
  std::uint64_t end = 0;  // where the frames end, in bytes
  std::uint64_t frames = 0;
  std::uint64_t records = 0;
  std::uint64_t last_group = 0;
  MicrosUtc first_append = 0;  // 0: no frame
  MicrosUtc last_append = 0;
  // CRC-32C of all frame headers one after the other: each holds the checksum of its payload.
  std::uint32_t frames_crc = 0;
  std::vector<Offset> ends;  // per partition: the first offset that cannot stand in the file
};

// Grows with the file while that is written; not thread-safe.
class SegmentIndex {
 public:
  static constexpr std::uint64_t kEntryBytes = 64 << 10;  // of frames for each entry

  explicit SegmentIndex(SegmentHeader header);

  // The next frame of the file, which stands at `position`; `bytes`: its header, encoded.
  void add(const FrameHeader& frame, std::string_view bytes, std::uint64_t position);

  // The file is sealed: its frames end at `end`, its offsets at `ends`.
  void seal(std::uint64_t end, std::vector<Offset> ends);

  const SegmentHeader& header() const { return header_; }
  const SegmentFooter& footer() const { return footer_; }

  // Where reading must begin so that nothing from the offsets of `wanted` on is missed: the end of
  // the header, or the last entry before which everything is older.
  std::uint64_t position_before(std::span<const Start> wanted) const;

  // What has to be looked through for the first frame of `partition` appended at or after `time`.
  // If none is between `begin` and `end`, the answer is `next`: the partition's first offset from
  // `end` on.
  struct Range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    Offset next = 0;
  };
  Range around(Partition partition, MicrosUtc time) const;

  std::string encode() const;
  // nullopt: damaged, of a newer release, or no index.
  static std::optional<SegmentIndex> decode(std::string_view bytes);

 private:
  struct Entry {
    std::uint64_t position = 0;
    MicrosUtc append_time = 0;   // of the frame there
    std::span<const char> ends;  // (partition u32, next offset u64) of those since the last entry
  };
  // Entries in order, until `take` returns false.
  template <class Take>
  void walk(Take take) const;

  SegmentHeader header_;
  SegmentFooter footer_;
  std::string entries_;  // encoded
  std::uint64_t next_entry_ = 0;
  std::vector<Offset> told_;  // per partition: its end in the entries so far
};

std::string index_path(const std::string& folder, std::uint64_t sequence);
// Of the file `sequence`, if it is there and whole.
std::optional<SegmentIndex> read_index(io::FileSystem& files, const std::string& folder,
                                       std::uint64_t sequence);
Result<void> write_index(io::FileSystem& files, const std::string& folder,
                         const SegmentIndex& index);

}  // namespace flagstream::log
