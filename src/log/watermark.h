// A topic's file `watermark`: its control page as it was a moment ago, made durable about once a
// second, so that recovery knows what had been durable even if a power loss tore `control`.  Below
// it whatever cannot be read is damaged; above it may be a torn tail.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "io/file_system.h"
#include "log/segment_format.h"

namespace flagstream::log {

// Two slots, written in turn: a power loss can tear only one of them.  Not thread-safe.
class Watermark {
 public:
  // `files` need not outlive it.
  static Result<Watermark> open(io::FileSystem& files, const std::string& folder,
                                std::size_t partitions);

  // The newest page that is whole.
  const std::optional<ControlPage>& page() const { return page_; }
  // Writes over the older slot and syncs.
  Result<void> write(const ControlPage& page);

 private:
  Watermark(std::unique_ptr<io::File> file, std::uint64_t slot_bytes)
      : file_(std::move(file)), slot_bytes_(slot_bytes) {}

  std::unique_ptr<io::File> file_;
  std::uint64_t slot_bytes_;
  std::uint64_t next_slot_ = 0;
  std::optional<ControlPage> page_;
};

std::string watermark_path(const std::string& folder);
// Whether `a` was written after `b`.
bool is_newer(const ControlPage& a, const ControlPage& b);

}  // namespace flagstream::log
