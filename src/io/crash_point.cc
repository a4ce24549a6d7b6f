#include "io/crash_point.h"

#include <charconv>
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

namespace flagstream::io {
namespace detail {

std::atomic<bool> any_crash_point_armed{false};

namespace {

struct Armed {
  std::string name;
  unsigned passages_left;
};
std::mutex mutex;
std::vector<Armed> armed;
std::string crash_log_path;

[[noreturn]] void kill_now(std::string_view name) {
  if (!crash_log_path.empty()) {
    const int file =
        ::open(crash_log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    const std::string line = std::string(name) + "\n";
    if (file >= 0) [[maybe_unused]]
      const auto written = ::write(file, line.data(), line.size());
  }
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();  // the signal is on its way
}

}  // namespace

void pass_crash_point(std::string_view name) {
  const std::lock_guard lock(mutex);
  for (Armed& point : armed) {
    if (point.name == name && --point.passages_left == 0) kill_now(name);
  }
}

}  // namespace detail

void arm_crash_points_from_environment() {
  const char* text = std::getenv("FLAGSTREAM_CRASH_POINTS");
  if (text == nullptr) return;
  if (const char* path = std::getenv("FLAGSTREAM_CRASH_LOG")) detail::crash_log_path = path;
  std::string_view rest(text);
  while (!rest.empty()) {
    const std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), item.size() + 1));
    const std::size_t colon = item.rfind(':');
    if (colon == std::string_view::npos) continue;
    unsigned passages = 0;
    std::from_chars(item.data() + colon + 1, item.data() + item.size(), passages);
    if (passages > 0) detail::armed.push_back({std::string(item.substr(0, colon)), passages});
  }
  detail::any_crash_point_armed = !detail::armed.empty();
}

}  // namespace flagstream::io
