#include "io/give_way.h"

#include <sched.h>
#include <unistd.h>

namespace flagstream::io {
namespace {

constexpr int kNiceness = 10;

}  // namespace

void give_way() {
  (void)!::nice(kNiceness);
  cpu_set_t cores;
  if (::sched_getaffinity(0, sizeof cores, &cores) != 0 || CPU_COUNT(&cores) < 2) return;
  int first = 0;
  while (!CPU_ISSET(first, &cores)) ++first;
  CPU_CLR(first, &cores);
  (void)::sched_setaffinity(0, sizeof cores, &cores);
}

}  // namespace flagstream::io
