// SipHash-1-3 under a key that each process draws for itself: keys of hash tables come from the
// network, and whoever could make them collide could make every look-up slow.  Never stored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace flagstream::analytics {

struct SipKey {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
};

// SipHash-c-d (Aumasson, Bernstein 2012).
std::uint64_t sip_hash(const SipKey& key, int rounds, int final_rounds, std::string_view bytes);

// For unordered containers of strings that are looked up by views.
struct KeyedHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view bytes) const;
};

}  // namespace flagstream::analytics
