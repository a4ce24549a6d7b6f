#include "io/give_way.h"

#include <algorithm>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

namespace flagstream::io {
namespace {

std::vector<int> usable_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  EXPECT_EQ(::sched_getaffinity(0, sizeof cores, &cores), 0);
  std::vector<int> out;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &cores)) out.push_back(core);
  }
  return out;
}

TEST(GiveWay, IsNicerAndLeavesTheFirstCoreAsDoesWhatItStarts) {
  std::vector<int> before, after, started;
  int niceness_before = 0, niceness = 0;
  std::thread([&] {
    before = usable_cores();
    niceness_before = ::nice(0);
    give_way();
    after = usable_cores();
    std::thread([&] {
      started = usable_cores();
      niceness = ::nice(0);
    }).join();
  }).join();
  if (before.size() > 1) before.erase(before.begin());
  EXPECT_EQ(after, before);
  EXPECT_EQ(started, before);
  EXPECT_EQ(niceness, std::min(niceness_before + 10, 19));
}

TEST(GiveWay, KeepsTheOnlyCore) {
  std::thread([] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(usable_cores().back(), &one);
    ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
    give_way();
    EXPECT_EQ(usable_cores().size(), 1u);
  }).join();
}

}  // namespace
}  // namespace flagstream::io
