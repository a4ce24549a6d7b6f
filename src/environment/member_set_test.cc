#include "environment/member_set.h"

#include <random>
#include <set>
#include <thread>

#include <gtest/gtest.h>

namespace flagstream::environment {
namespace {

TEST(MemberSet, HoldsWhatASetHolds) {
  std::mt19937_64 random(7);
  MemberSet members;
  std::set<Id128> expected;
  // Few different values, many of them with the same home, so that chains form and break.
  const auto any = [&] { return Id128{random() % 64 << 3, random() % 40}; };
  for (int i = 0; i < 200'000; ++i) {
    const Id128 member = any();
    if (random() % 2 == 0) {
      members.insert(member);
      expected.insert(member);
    } else {
      members.erase(member);
      expected.erase(member);
    }
    const Id128 other = any();
    ASSERT_EQ(members.contains(other), expected.contains(other)) << i;
  }
  EXPECT_EQ(members.size(), expected.size());
}

TEST(MemberSet, GrowsWhileItIsRead) {
  MemberSet members;
  std::atomic<std::uint64_t> inserted{0};
  constexpr std::uint64_t kMembers = 200'000;
  const auto member = [](std::uint64_t i) {
    return Id128{i * 0x9e3779b97f4a7c15ULL, i * 0xc2b2ae3d27d4eb4fULL};
  };
  std::thread reader([&] {
    while (inserted.load() < kMembers) {
      const std::uint64_t last = inserted.load();
      if (last != 0) EXPECT_TRUE(members.contains(member(last)));
    }
  });
  for (std::uint64_t i = 1; i <= kMembers; ++i) {
    members.insert(member(i));
    inserted.store(i);
  }
  reader.join();
  EXPECT_EQ(members.size(), kMembers);
}

}  // namespace
}  // namespace flagstream::environment
