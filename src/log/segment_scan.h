// Checks a segment file frame by frame, as the disk has it (File::read_from_disk), in pieces.
// Recovery, what follows an I/O error and the scrub all see damage through here.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "io/file_system.h"
#include "log/segment_format.h"
#include "log/segment_index.h"

namespace flagstream::log {

// Bytes `begin` up to `end` of a segment file that hold no frame and should.
struct DamagedRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool operator==(const DamagedRange&) const = default;
};

// Not thread-safe.
class SegmentScan {
 public:
  enum class Kind {
    Sealed,  // frames fill the file up to `limit`: what holds none is damaged
    Active,  // frames end somewhere before `limit`, the size of the file
  };
  SegmentScan(SegmentHeader header, Kind kind, std::uint64_t limit,
              Binding binding = Binding::Bound);

  // Reads about `bytes` more; true: that was all.  Pages that cannot be read count as zeros.
  bool step(const io::File& file, std::size_t bytes);
  void run(const io::File& file);

  std::uint64_t position() const { return at_; }  // up to which it has come

  // All of these once it is done.  Below `promised` everything had been durable, so that what
  // cannot be found there is damaged, too.
  void keep_promise(std::uint64_t promised);
  std::uint64_t end() const { return end_; }  // behind the last whole group
  // Nothing but unwritten space follows the end: writing can go on there.
  bool is_clean() const { return is_clean_; }
  const std::vector<DamagedRange>& damaged() const { return damaged_; }
  const std::vector<PartitionEnd>& partitions() const { return partitions_; }  // begin stays 0
  std::uint64_t unreadable_bytes() const { return unreadable_bytes_; }
  const SegmentIndex& index() const { return index_; }

 private:
  struct Found {
    FrameHeader frame;
    std::array<char, kFrameHeaderBytes> header;  // encoded
    std::uint64_t position = 0;
  };

  // Makes `bytes` from `at_` on stand in the buffer; false: the file is shorter.
  bool fill(const io::File& file, std::size_t bytes);
  std::string_view rest() const;
  bool is_in_order(const FrameHeader& frame) const;
  // Of the group that the hole has broken: there if a later group proves that it was whole once.
  bool is_doubtful(const FrameHeader& frame) const;
  Found found_here(const FrameHeader& frame) const;
  void note(const Found& found);
  void fill_hole();
  void take(const FrameHeader& frame);
  void close_group();
  void finish();

  Kind kind_;
  std::uint64_t limit_;
  Binding binding_;
  SegmentIndex index_;
  std::string buffer_;
  std::uint64_t buffer_at_ = 0;
  std::uint64_t at_ = 0;
  std::uint64_t group_;
  bool is_within_group_ = false;
  std::optional<std::uint64_t> hole_;  // where what holds no frame in order begins
  std::vector<PartitionEnd> ahead_;    // with the frames of a group not yet whole
  std::vector<Found> pending_;         // these frames
  std::vector<Found> doubtful_;        // behind the beginning of the hole
  std::vector<PartitionEnd> partitions_;
  std::vector<DamagedRange> damaged_;
  std::uint64_t end_;
  std::uint64_t unreadable_bytes_ = 0;
  bool is_clean_ = true;
  bool is_done_ = false;
};

// Reads from the disk, past the page cache; fewer than out.size() bytes only at the end of the
// file. A page that cannot be read is left as zeros, and counted in `unreadable_bytes`.
std::size_t read_as_found(const io::File& file, std::uint64_t offset, std::span<char> out,
                          std::uint64_t& unreadable_bytes);

// What stands at the beginning of segment file `sequence`, open as `file`; if that is damaged, the
// copy in its index.  DataLoss: both are, or the file has become another one.
Result<SegmentHeader> read_segment_header(io::FileSystem& files, const std::string& folder,
                                          std::uint64_t sequence, std::size_t partitions,
                                          const io::File& file);
Result<SegmentHeader> read_segment_header(io::FileSystem& files, const std::string& folder,
                                          std::uint64_t sequence, std::size_t partitions);

}  // namespace flagstream::log
