#include "log/segment_pool.h"

#include <algorithm>
#include <thread>

#include <fmt/format.h>

#include "io/crash_point.h"

namespace flagstream::log {
namespace {

constexpr std::string_view kPrefix = "pool-";
constexpr std::size_t kZeroBytes = 1 << 20;

// At once, where the file system can: appends wait for it.  Syncs of what is written into it first
// take a little longer than in a ready file.
Result<void> allocate_file(io::FileSystem& files, const std::string& path, std::uint64_t bytes) {
  FS_TRY(const auto file, files.open(path, io::OpenMode::Create));
  const auto allocated = file->allocate(bytes);
  if (!allocated && allocated.error().kind == ErrorKind::Unavailable)
    return make_ready_file(files, path, bytes);
  auto done = allocated ? file->sync() : allocated;
  if (!done) (void)files.remove(path);  // or each attempt would leave one
  return done;
}

}  // namespace

Result<void> make_ready_file(io::FileSystem& files, const std::string& path, std::uint64_t bytes,
                             std::chrono::microseconds pause) {
  const auto write = [&]() -> Result<void> {
    FS_TRY(const auto file, files.open(path, io::OpenMode::Create));
    const std::string zeros(std::min<std::uint64_t>(kZeroBytes, bytes), '\0');
    for (std::uint64_t at = 0; at < bytes; at += zeros.size()) {
      const std::string_view parts[] = {
          std::string_view(zeros).substr(0, std::min<std::uint64_t>(zeros.size(), bytes - at))};
      FS_TRY(file->write_at(at, parts));
      FS_CRASH_POINT("log.pool.before_sync");
      FS_TRY(file->sync());
      if (pause.count() > 0) std::this_thread::sleep_for(pause);
    }
    return {};
  };
  auto written = write();
  if (!written) (void)files.remove(path);
  return written;
}

bool SegmentPool::is_pool_file(std::string_view name) { return name.starts_with(kPrefix); }

std::string SegmentPool::next_path() {
  return fmt::format("{}/{}{:08x}.seg", folder_, kPrefix, ++names_);
}

Result<std::string> SegmentPool::take(std::uint64_t bytes) {
  if (bytes <= segment_bytes_ && !paths_.empty()) {
    std::string path = std::move(paths_.back());
    paths_.pop_back();
    return path;
  }
  const std::string path = next_path();
  FS_TRY(allocate_file(files_, path, std::max(bytes, segment_bytes_)));
  return path;
}

}  // namespace flagstream::log
