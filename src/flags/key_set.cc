#include "flags/key_set.h"

#include <bit>

namespace flagstream::flags {
namespace {

// Never 0, which is an empty slot's.
std::uint32_t tag_of(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32) | 1; }

}  // namespace

KeySet::KeySet(std::vector<std::string_view> keys) {
  if (keys.size() <= kScannedMax) {
    slots_ = std::move(keys);
    return;
  }
  const std::size_t slots = std::bit_ceil(keys.size() * 2);
  slots_.resize(slots);
  tags_.resize(slots);
  for (const std::string_view key : keys) {
    const std::uint64_t hash = hash_of(key);
    std::size_t at = hash & (slots - 1);
    while (tags_[at] != 0 && slots_[at] != key) at = (at + 1) & (slots - 1);
    slots_[at] = key;
    tags_[at] = tag_of(hash);
  }
}

bool KeySet::contains_hashed(std::string_view key, std::uint64_t hash) const {
  const std::size_t mask = tags_.size() - 1;
  const std::uint32_t tag = tag_of(hash);
  for (std::size_t at = hash & mask; tags_[at] != 0; at = (at + 1) & mask) {
    if (tags_[at] == tag && is_same(slots_[at], key)) return true;
  }
  return false;
}

}  // namespace flagstream::flags
