// Damaged ranges of a topic's segment files, recorded in its file `quarantine`: what was found once
// is still known after a restart, until retention has removed the file that it is in.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "io/file_system.h"
#include "log/segment_scan.h"

namespace flagstream::log {

struct QuarantinedRange {
  std::uint64_t sequence = 0;  // of the segment file
  DamagedRange range;
  MicrosUtc found = 0;
};

// Sealed, ordered by file and position.
std::string encode_quarantine(std::span<const QuarantinedRange> ranges);
// nullopt: damaged, of a newer release, or empty.
std::optional<std::vector<QuarantinedRange>> decode_quarantine(std::string_view bytes);

std::string quarantine_path(const std::string& folder);
// What the topic's writer has recorded; empty if that is nothing, or cannot be read.
std::vector<QuarantinedRange> read_quarantine(io::FileSystem& files, const std::string& folder);

// The writer's process keeps one for each topic.  Thread-safe.
class Quarantine {
 public:
  // `files` must outlive it.
  Quarantine(io::FileSystem& files, std::string folder);

  // Returns how many of these bytes are new.  They count from now on even if the file cannot be
  // written; then save() tries again.
  std::uint64_t add(std::uint64_t sequence, std::span<const DamagedRange> ranges, MicrosUtc now);
  // Retention has removed the files before `first_sequence`.
  void forget_before(std::uint64_t first_sequence);
  // Makes what has changed durable.
  Result<void> save();

  std::uint64_t bytes() const;
  bool holds(std::uint64_t sequence) const;

 private:
  io::FileSystem& files_;
  const std::string folder_;
  mutable std::mutex mutex_;
  std::vector<QuarantinedRange> ranges_;
  bool is_changed_ = false;
};

}  // namespace flagstream::log
