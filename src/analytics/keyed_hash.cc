#include "analytics/keyed_hash.h"

#include <bit>
#include <cstring>

#include "base/bytes.h"
#include "base/id.h"

namespace flagstream::analytics {
namespace {

struct State {
  std::uint64_t a, b, c, d;

  void round() {
    a += b;
    b = std::rotl(b, 13) ^ a;
    a = std::rotl(a, 32);
    c += d;
    d = std::rotl(d, 16) ^ c;
    a += d;
    d = std::rotl(d, 21) ^ a;
    c += b;
    b = std::rotl(b, 17) ^ c;
    c = std::rotl(c, 32);
  }
  void take(std::uint64_t word, int rounds) {
    d ^= word;
    for (int i = 0; i < rounds; ++i) round();
    a ^= word;
  }
};

SipKey draw_key() {
  SipKey key;
  random_bytes(&key, sizeof key);
  return key;
}

}  // namespace

std::uint64_t sip_hash(const SipKey& key, int rounds, int final_rounds, std::string_view bytes) {
  State state{key.low ^ 0x736f6d6570736575, key.high ^ 0x646f72616e646f6d,
              key.low ^ 0x6c7967656e657261, key.high ^ 0x7465646279746573};
  std::uint64_t last = static_cast<std::uint64_t>(bytes.size()) << 56;
  while (bytes.size() >= 8) {
    state.take(get_u64(bytes.data()), rounds);
    bytes.remove_prefix(8);
  }
  std::uint64_t rest = 0;
  if (!bytes.empty()) std::memcpy(&rest, bytes.data(), bytes.size());
  state.take(last | rest, rounds);
  state.c ^= 0xff;
  for (int i = 0; i < final_rounds; ++i) state.round();
  return state.a ^ state.b ^ state.c ^ state.d;
}

std::size_t KeyedHash::operator()(std::string_view bytes) const {
  static const SipKey key = draw_key();
  return sip_hash(key, 1, 3, bytes);
}

}  // namespace flagstream::analytics
