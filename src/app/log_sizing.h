// How much disk the log of events needs, as far as what it holds can tell.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "io/file_system.h"
#include "log/log.h"

namespace flagstream::app {

struct LogSizing {
  double bytes_per_second = 0;     // on average over what is held; 0: that is too little to tell
  std::uint64_t held_bytes = 0;    // files of both topics
  std::uint64_t needed_bytes = 0;  // at that rate, once retention deletes as much as comes
  std::uint64_t free_bytes = 0;    // of the disk

  bool fits() const { return needed_bytes <= held_bytes + free_bytes; }
};

// Of the topics that retention rules, `payloads` and `events`, in `folder`; a topic that is not
// there yet counts as nothing.
Result<LogSizing> size_log(log::Log& log, io::FileSystem& files, const std::string& folder,
                           std::chrono::microseconds retention, std::uint64_t retention_bytes);
// Tells it: a warning if the disk is too small.
void tell_sizing(const LogSizing& sizing, std::chrono::microseconds retention);

}  // namespace flagstream::app
