// What the `flagstream` command exits with.  Scripts rely on them: docs/reference/cli.md.
#pragma once

namespace flagstream::app {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNotFound = 3;
inline constexpr int kExitConflict = 4;
// Cannot start as configured: EX_CONFIG of sysexits.h.
inline constexpr int kExitConfig = 78;

}  // namespace flagstream::app
