// FS_ASSERT(condition, "why it must hold"): for bugs of ours, always on.  Never for outside input.
#pragma once

#include <source_location>
#include <string_view>

namespace flagstream {

// Prints condition, reason and place to stderr and aborts.
[[noreturn]] void assertion_failed(std::string_view condition, std::string_view why,
                                   std::source_location where = std::source_location::current());

}  // namespace flagstream

#define FS_ASSERT(condition, why)                      \
  do {                                                 \
    if (!(condition)) [[unlikely]]                     \
      ::flagstream::assertion_failed(#condition, why); \
  } while (false)
