// Files of a topic that are ready to become segments: made ahead, or given up by retention.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "io/file_system.h"

namespace flagstream::log {

// A file of zeros that is whole and durable, or not there.  What has been written once can be
// written again without allocating blocks, which is what makes a sync cheap.  It is written and
// synced MiB by MiB with a pause after each, so that the syncs of others wait for one of them, not
// for the whole file.
Result<void> make_ready_file(io::FileSystem& files, const std::string& path, std::uint64_t bytes,
                             std::chrono::microseconds pause = {});

// Not thread-safe.
class SegmentPool {
 public:
  SegmentPool(std::string folder, std::uint64_t segment_bytes, io::FileSystem& files)
      : folder_(std::move(folder)), segment_bytes_(segment_bytes), files_(files) {}

  // By its name within the folder.  What a stop has left is of no use: a crash may have cut it
  // short.
  static bool is_pool_file(std::string_view name);

  // Where one more may be made; never the same twice.
  std::string next_path();
  // A whole file of the size of a segment.
  void add(std::string path) { paths_.push_back(std::move(path)); }
  std::size_t size() const { return paths_.size(); }
  // The path of a file of at least so many bytes, which leaves the pool; one is made at once where
  // none will do.
  Result<std::string> take(std::uint64_t bytes);

 private:
  const std::string folder_;
  const std::uint64_t segment_bytes_;
  io::FileSystem& files_;
  std::vector<std::string> paths_;
  std::uint64_t names_ = 0;
};

}  // namespace flagstream::log
