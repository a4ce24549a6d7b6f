#include "app/log_sizing.h"

#include <algorithm>
#include <vector>

#include "telemetry/tell.h"

namespace flagstream::app {
namespace {

constexpr std::size_t kFirstBytes = 1 << 16;
// Less says nothing about a day.
constexpr std::int64_t kSpanLeast = 10 * kMicrosPerMinute;

struct Held {
  std::uint64_t bytes = 0;
  std::uint64_t full_bytes = 0;  // without the newest file, which is made in its full size
  std::int64_t span = 0;         // microseconds from its first record to its last
};

Result<Held> held_by(log::Log& log, io::FileSystem& files, const std::string& folder,
                     const std::string& topic) {
  Held held;
  const auto info = log.info(topic);
  if (!info) {
    if (info.error().kind == ErrorKind::NotFound) return held;
    return fail(info.error());
  }
  std::vector<log::Start> starts;
  MicrosUtc last = 0;
  for (log::Partition p = 0; p < info->partitions.size(); ++p) {
    starts.push_back({.partition = p, .offset = info->partitions[p].begin});
    last = std::max(last, info->partitions[p].last_append);
  }
  FS_TRY(const auto names, files.list(folder + "/" + topic));
  std::uint64_t newest = 0;
  for (const std::string& name : names) {
    if (!name.ends_with(".seg") || name.starts_with("pool-")) continue;
    FS_TRY(const auto file, files.open(folder + "/" + topic + "/" + name, io::OpenMode::Read));
    FS_TRY(newest, file->size());
    held.bytes += newest;
  }
  held.full_bytes = held.bytes - newest;
  FS_TRY(const auto reader, log.open_reader(topic, info->log_id, starts));
  FS_TRY(const log::Fetched first, reader->next(kFirstBytes, std::chrono::milliseconds(0)));
  if (first.status == log::Fetched::Status::Frames)
    held.span = last - first.frames.front().append_time;
  return held;
}

}  // namespace

Result<LogSizing> size_log(log::Log& log, io::FileSystem& files, const std::string& folder,
                           std::chrono::microseconds retention, std::uint64_t retention_bytes) {
  LogSizing sizing;
  for (const char* topic : {"payloads", "events"}) {
    FS_TRY(const Held held, held_by(log, files, folder, topic));
    sizing.held_bytes += held.bytes;
    if (held.span < kSpanLeast) continue;
    const double rate = static_cast<double>(held.full_bytes) / static_cast<double>(held.span);
    sizing.bytes_per_second += rate * kMicrosPerSecond;
    const auto needed = static_cast<std::uint64_t>(rate * static_cast<double>(retention.count()));
    sizing.needed_bytes += retention_bytes > 0 ? std::min(needed, retention_bytes) : needed;
  }
  FS_TRY(const io::DiskSpace disk, files.disk_space(folder));
  sizing.free_bytes = disk.free;
  return sizing;
}

void tell_sizing(const LogSizing& sizing, std::chrono::microseconds retention) {
  telemetry::tell(
      sizing.fits() ? telemetry::Level::Info : telemetry::Level::Warn,
      sizing.fits() ? "what the log needs of the disk" : "the disk is too small for the log",
      {{"bytes_per_second", sizing.bytes_per_second},
       {"retention_seconds", retention.count() / kMicrosPerSecond},
       {"needed_bytes", sizing.needed_bytes},
       {"held_bytes", sizing.held_bytes},
       {"free_bytes", sizing.free_bytes},
       {"durability", "synced before it is acknowledged"}});
}

}  // namespace flagstream::app
