// Named places where a test may kill the process, to prove that a crash there loses nothing.
//
//     FS_CRASH_POINT("log.after_write_before_sync");
//
// Costs one relaxed load when nothing is armed.  The environment variable FLAGSTREAM_CRASH_POINTS
// arms them in the real binary: "name:3,other:1" sends SIGKILL to the process at the third passage
// of `name` or the first of `other`, whichever comes first.  FLAGSTREAM_CRASH_LOG names a file to
// which the name of the point that fired is appended first, so that a run can report what it
// covered.
#pragma once

#include <atomic>
#include <string_view>

namespace flagstream::io {

// Reads the environment; called once by main before threads start.  Unknown text is ignored.
void arm_crash_points_from_environment();

namespace detail {
extern std::atomic<bool> any_crash_point_armed;
void pass_crash_point(std::string_view name);
}  // namespace detail

}  // namespace flagstream::io

#define FS_CRASH_POINT(name)                                                             \
  do {                                                                                   \
    if (::flagstream::io::detail::any_crash_point_armed.load(std::memory_order_relaxed)) \
        [[unlikely]]                                                                     \
      ::flagstream::io::detail::pass_crash_point(name);                                  \
  } while (false)
