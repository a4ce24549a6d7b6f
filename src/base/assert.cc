#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace flagstream {

void assertion_failed(std::string_view condition, std::string_view why,
                      std::source_location where) {
  std::fprintf(stderr, "assertion failed: %.*s: %.*s (%s:%u)\n", static_cast<int>(condition.size()),
               condition.data(), static_cast<int>(why.size()), why.data(), where.file_name(),
               static_cast<unsigned>(where.line()));
  std::abort();
}

}  // namespace flagstream
