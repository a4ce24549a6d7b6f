// Reads every byte of a topic that readers may see and checks it.  Read-only, in any process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/file_system.h"
#include "log/log.h"

namespace flagstream::log {

// Bytes of a segment file that are not what was written, or offsets that no file holds.
struct Damage {
  std::string file;         // name
  std::uint64_t at = 0;     // byte
  std::uint64_t bytes = 0;  // 0: only offsets are missing there
  std::string what;
};
struct MissingOffsets {
  Partition partition = 0;
  Offset begin = 0;
  Offset end = 0;    // one past the last
  std::string file;  // in which that shows
};

struct Verified {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t frames = 0;
  std::uint64_t records = 0;
  std::vector<Damage> damages;
  std::vector<MissingOffsets> missing;

  bool is_whole() const { return damages.empty() && missing.empty(); }
};

// From the disk, not from the page cache, as far as the system allows.  Files that retention takes
// meanwhile are left out.  An error: the topic cannot be read at all.
Result<Verified> verify_topic(io::FileSystem& files, const std::string& folder);

}  // namespace flagstream::log
