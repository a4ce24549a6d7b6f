// How full the disk is that the log lies on, in marks.  Within retention nothing is ever deleted to
// make room: what a mark changes is who may still write.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/clock.h"
#include "io/file_system.h"
#include "log/log.h"

namespace flagstream::log {

struct DiskMarks {
  std::uint64_t reserve_bytes = 0;  // log.reserve; 0: there are no marks
  std::uint64_t critical_bytes = 0;

  // Low: less than twice the reserve is free, which is reserve_bytes or 5 % of the disk, if more.
  // Critical: less than critical_bytes or half of the reserve, if less, so that stages have the
  // other half to work on.
  DiskMark mark_of(const io::DiskSpace& disk) const;
};

// Two segment files and 256 MiB: what config, checkpoints and the control pages may still take.
std::uint64_t critical_bytes(std::uint64_t segment_bytes);

// Looks at most once a second.  Thread-safe.
class DiskWatch {
 public:
  // `files` and `clock` must outlive it.
  DiskWatch(DiskMarks marks, std::string folder, io::FileSystem& files, const Clock& clock)
      : marks_(marks), folder_(std::move(folder)), files_(files), clock_(clock) {}

  // As it was when last looked at; what cannot be looked at is as before.
  DiskMark mark();

 private:
  const DiskMarks marks_;
  const std::string folder_;
  io::FileSystem& files_;
  const Clock& clock_;
  std::atomic<std::int64_t> looked_{0};
  std::atomic<DiskMark> mark_{DiskMark::None};
};

}  // namespace flagstream::log
