// The local backend of the log: topics as folders of recycled segment files on this machine.
//
// One process writes a topic (file lock), any number read it, and they see only what is below its
// durable watermark.  Layout and recovery: docs/formats/log.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "io/file_system.h"
#include "log/log.h"
#include "telemetry/metrics.h"

namespace flagstream::log {

struct LocalLogSettings {
  std::string folder;                         // one folder per topic below it
  std::uint64_t segment_bytes = 64ull << 20;  // a larger frame gets a file of its own size
  std::uint32_t pool_segments = 4;  // pre-written files kept ready; filled in the background
  std::uint64_t reserve_bytes = 0;  // of free disk, for what the marks say (DiskMarks)
  // Each sealed file is read again from the disk and checked, one in about this time; 0: none.
  std::chrono::microseconds scrub_interval{0};
  std::size_t queue_bytes_max = 64u << 20;  // of one topic's appends that wait, as they are stored
  Compression compression = Compression::None;  // of batches, on the thread that appends them
};

// All four must outlive the log and what is opened from it.
std::unique_ptr<Log> open_local_log(LocalLogSettings settings, io::FileSystem& files,
                                    const Clock& clock, telemetry::Registry& registry);

}  // namespace flagstream::log
