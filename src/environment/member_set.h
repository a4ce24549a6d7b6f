// A set of 128-bit hashes in memory: 16 bytes a member at a load of 3/8 to 3/4, so 21 to 43 bytes.
#pragma once

#include <array>
#include <cstddef>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "base/id.h"

namespace flagstream::environment {

// Open addressing with linear probing, in stripes of their own locks, so that one grows while the
// others are read.  Members are uniformly distributed (hashes).  Thread-safe.
class MemberSet {
 public:
  void insert(const Id128& member);
  void erase(const Id128& member);
  bool contains(const Id128& member) const;
  std::size_t size() const;

 private:
  static constexpr std::size_t kStripes = 16;
  static constexpr std::size_t kSlotsMin = 8;

  struct Stripe {
    mutable std::shared_mutex mutex;
    std::vector<Id128> slots;  // a power of two, or none; a zero is an empty one
    std::size_t used = 0;
    bool has_zero = false;  // the one member that no slot can hold

    std::size_t slot_of(const Id128& member) const;
    void place(const Id128& member);
    void grow();
  };

  Stripe& stripe_of(const Id128& member) { return stripes_[member.low % kStripes]; }
  const Stripe& stripe_of(const Id128& member) const { return stripes_[member.low % kStripes]; }

  std::array<Stripe, kStripes> stripes_;
};

}  // namespace flagstream::environment
