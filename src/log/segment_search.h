// Finds places in a topic by offset or by time, from what any process can read: headers, indexes
// and, at most, some 64 KiB of frames.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "io/file_system.h"
#include "log/log.h"
#include "log/segment_format.h"
#include "log/segment_index.h"

namespace flagstream::log {

// The last file for which `is_early` holds, where it holds for all before it; the first file if
// there is none.  A header that cannot be read counts as one that is not early.
std::uint64_t find_segment(io::FileSystem& files, const std::string& folder,
                           const ControlPage& page,
                           const std::function<bool(const SegmentHeader&)>& is_early);

// Where the frames of the file before `page.last_sequence` end, and its index, if that is whole and
// of this file.
struct SealedEnd {
  std::optional<std::uint64_t> end;  // none: header and index that say so are damaged
  std::optional<SegmentIndex> index;
};
SealedEnd find_sealed_end(io::FileSystem& files, const std::string& folder,
                          const SegmentHeader& header);

// The first offset of the partition whose append time is at or after `time`; the end if there is
// none.
Result<Offset> find_time(io::FileSystem& files, const std::string& folder, const ControlPage& page,
                         Partition partition, MicrosUtc time);

}  // namespace flagstream::log
