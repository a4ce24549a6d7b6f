// What the tests of this module share: a folder of their own, and rows in one line each.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "analytics/results_schema.h"
#include "base/id.h"

namespace flagstream::analytics {

class TempFolder {
 public:
  TempFolder()
      : path_(std::filesystem::temp_directory_path() / ("fs_analytics_" + random_hex(12))) {
    std::filesystem::create_directory(path_);
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::string file(std::string_view name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline constexpr Id128 kEventsLog{0x1111, 0x2222};
inline constexpr Id128 kOtherEventsLog{0x1111, 0x3333};
inline constexpr Id128 kPayloadsLog{0xaaaa, 0xbbbb};
// 2026-11-23 10:00 UTC.
inline constexpr MicrosUtc kTen = 1'795'428'000ll * kMicrosPerSecond;
constexpr MicrosUtc minutes_after_ten(int minutes) { return kTen + minutes * kMicrosPerMinute; }

}  // namespace flagstream::analytics
