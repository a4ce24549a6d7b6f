#include "environment/member_set.h"

#include <utility>

namespace flagstream::environment {

// Where the member is, or the empty slot where it would be.
std::size_t MemberSet::Stripe::slot_of(const Id128& member) const {
  const std::size_t mask = slots.size() - 1;
  std::size_t at = member.high & mask;
  while (!slots[at].is_zero() && slots[at] != member) at = (at + 1) & mask;
  return at;
}

void MemberSet::Stripe::place(const Id128& member) { slots[slot_of(member)] = member; }

void MemberSet::Stripe::grow() {
  const std::vector<Id128> before =
      std::exchange(slots, std::vector<Id128>(slots.empty() ? kSlotsMin : slots.size() * 2));
  for (const Id128& each : before) {
    if (!each.is_zero()) place(each);
  }
}

void MemberSet::insert(const Id128& member) {
  Stripe& stripe = stripe_of(member);
  const std::unique_lock lock(stripe.mutex);
  if (member.is_zero()) {
    stripe.has_zero = true;
    return;
  }
  if ((stripe.used + 1) * 4 > stripe.slots.size() * 3) stripe.grow();
  Id128& slot = stripe.slots[stripe.slot_of(member)];
  if (slot == member) return;
  slot = member;
  stripe.used += 1;
}

void MemberSet::erase(const Id128& member) {
  Stripe& stripe = stripe_of(member);
  const std::unique_lock lock(stripe.mutex);
  if (member.is_zero()) {
    stripe.has_zero = false;
    return;
  }
  if (stripe.slots.empty()) return;
  std::size_t hole = stripe.slot_of(member);
  if (stripe.slots[hole].is_zero()) return;
  stripe.used -= 1;
  // What probed past the hole moves into it, so that no search ends too early (Knuth, volume 3,
  // 6.4, algorithm R).
  const std::size_t mask = stripe.slots.size() - 1;
  for (std::size_t at = (hole + 1) & mask; !stripe.slots[at].is_zero(); at = (at + 1) & mask) {
    const std::size_t home = stripe.slots[at].high & mask;
    if (((at - home) & mask) < ((at - hole) & mask)) continue;
    stripe.slots[hole] = stripe.slots[at];
    hole = at;
  }
  stripe.slots[hole] = Id128{};
}

bool MemberSet::contains(const Id128& member) const {
  const Stripe& stripe = stripe_of(member);
  const std::shared_lock lock(stripe.mutex);
  if (member.is_zero()) return stripe.has_zero;
  return !stripe.slots.empty() && !stripe.slots[stripe.slot_of(member)].is_zero();
}

std::size_t MemberSet::size() const {
  std::size_t total = 0;
  for (const Stripe& each : stripes_) {
    const std::shared_lock lock(each.mutex);
    total += each.used + (each.has_zero ? 1 : 0);
  }
  return total;
}

}  // namespace flagstream::environment
