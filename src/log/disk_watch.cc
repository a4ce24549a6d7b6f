#include "log/disk_watch.h"

#include <algorithm>

namespace flagstream::log {
namespace {

constexpr std::uint64_t kReserveOfDisk = 20;  // the reserve is at least one part in so many
constexpr std::uint64_t kCriticalBytes = 256ull << 20;
constexpr std::int64_t kLookMicros = kMicrosPerSecond;

}  // namespace

std::uint64_t critical_bytes(std::uint64_t segment_bytes) {
  return 2 * segment_bytes + kCriticalBytes;
}

DiskMark DiskMarks::mark_of(const io::DiskSpace& disk) const {
  if (reserve_bytes == 0) return DiskMark::None;
  const std::uint64_t reserve = std::max(reserve_bytes, disk.total / kReserveOfDisk);
  if (disk.free < std::min(critical_bytes, reserve / 2)) return DiskMark::Critical;
  if (disk.free < reserve) return DiskMark::Reserve;
  return disk.free / 2 < reserve ? DiskMark::Low : DiskMark::None;
}

DiskMark DiskWatch::mark() {
  const std::int64_t now = clock_.monotonic();
  std::int64_t looked = looked_.load();
  if ((looked == 0 || now - looked >= kLookMicros) &&
      looked_.compare_exchange_strong(looked, now)) {
    if (const auto disk = files_.disk_space(folder_)) mark_ = marks_.mark_of(*disk);
  }
  return mark_;
}

}  // namespace flagstream::log
