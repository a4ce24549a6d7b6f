#include "flags/sha1.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/assert.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace flagstream::flags {
namespace {

constexpr std::size_t kBlockBytes = 64;
constexpr std::size_t kOneBlockMax = kBlockBytes - 9;  // room for the mark and the length

#if defined(__x86_64__)

bool detect_sha_instructions() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & (1u << 29)) != 0;
}

#define FS_SHA __attribute__((target("sha,sse4.1,ssse3"), always_inline)) inline

// Four rounds with the words of `message`; Function is 0 to 3 (Ch, Parity, Maj, Parity).
template <int Function>
FS_SHA void four_rounds(__m128i& abcd, __m128i& before, __m128i message) {
  const __m128i e = _mm_sha1nexte_epu32(before, message);
  before = abcd;
  abcd = _mm_sha1rnds4_epu32(abcd, e, Function);
}

FS_SHA __m128i next_message(__m128i m0, __m128i m1, __m128i m2, __m128i m3) {
  return _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32(m0, m1), m2), m3);
}

template <int Function>
FS_SHA void twenty_rounds(__m128i& abcd, __m128i& before, __m128i (&m)[4], int first) {
#pragma unroll
  for (int i = 0; i < 5; ++i) {
    const int now = (first + i) & 3;
    m[now] = next_message(m[now], m[(now + 1) & 3], m[(now + 2) & 3], m[(now + 3) & 3]);
    four_rounds<Function>(abcd, before, m[now]);
  }
}

FS_SHA __m128i big_endian_words(__m128i bytes) {
  return _mm_shuffle_epi8(bytes, _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f));
}

FS_SHA void load_block(__m128i (&m)[4], const unsigned char* block) {
  for (int i = 0; i < 4; ++i)
    m[i] = big_endian_words(_mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 16 * i)));
}

// `abcd` has A in its highest lane, `e` has E there and zeros below; `m` is the block.
FS_SHA void eighty_rounds(__m128i& abcd, __m128i& e, __m128i (&m)[4]) {
  const __m128i abcd_begin = abcd;
  const __m128i e_begin = e;
  // The first four rounds take E as it is, all others rotate it out of the A of four rounds before.
  __m128i before = abcd;
  abcd = _mm_sha1rnds4_epu32(abcd, _mm_add_epi32(e, m[0]), 0);
  four_rounds<0>(abcd, before, m[1]);
  four_rounds<0>(abcd, before, m[2]);
  four_rounds<0>(abcd, before, m[3]);
  m[0] = next_message(m[0], m[1], m[2], m[3]);
  four_rounds<0>(abcd, before, m[0]);
  twenty_rounds<1>(abcd, before, m, 5);
  twenty_rounds<2>(abcd, before, m, 10);
  twenty_rounds<3>(abcd, before, m, 15);
  e = _mm_sha1nexte_epu32(before, e_begin);
  abcd = _mm_add_epi32(abcd, abcd_begin);
}

FS_SHA std::uint64_t first_60_bits_of_block(__m128i (&m)[4]) {
  __m128i abcd = _mm_set_epi32(static_cast<int>(kSha1Begin[0]), static_cast<int>(kSha1Begin[1]),
                               static_cast<int>(kSha1Begin[2]), static_cast<int>(kSha1Begin[3]));
  __m128i e = _mm_set_epi32(static_cast<int>(kSha1Begin[4]), 0, 0, 0);
  eighty_rounds(abcd, e, m);
  return static_cast<std::uint64_t>(_mm_extract_epi64(abcd, 1)) >> 4;
}

__attribute__((target("sha,sse4.1,ssse3"))) std::uint64_t one_block_60_bits(
    const unsigned char* block) {
  __m128i m[4];
  load_block(m, block);
  return first_60_bits_of_block(m);
}

bool detect_avx512() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}

// The same with the value put behind its prefix in registers.  Through memory, the loads would span
// several stores that are still on their way, and so wait for the hash before to finish: twice the
// time.
__attribute__((target("avx512f,avx512bw,sha,sse4.1,ssse3"))) std::uint64_t spliced_60_bits(
    const unsigned char* prefix_block, std::size_t prefix_size, std::string_view value) {
  const std::size_t size = prefix_size + value.size();
  const __mmask64 value_lanes = ((std::uint64_t{1} << value.size()) - 1) << prefix_size;
  const auto lane_0 = reinterpret_cast<std::uintptr_t>(value.data()) - prefix_size;
  __m512i block = _mm512_load_si512(prefix_block);
  // Lanes outside the mask are not read.
  block = _mm512_mask_loadu_epi8(block, value_lanes, reinterpret_cast<const void*>(lane_0));
  block = _mm512_mask_mov_epi8(block, std::uint64_t{1} << size, _mm512_set1_epi8(-0x80));
  const auto bits = std::byteswap(static_cast<std::uint16_t>(size * 8));
  block = _mm512_mask_set1_epi16(block, 1u << 31, static_cast<short>(bits));
  __m128i m[4] = {big_endian_words(_mm512_castsi512_si128(block)),
                  big_endian_words(_mm512_extracti32x4_epi32(block, 1)),
                  big_endian_words(_mm512_extracti32x4_epi32(block, 2)),
                  big_endian_words(_mm512_extracti32x4_epi32(block, 3))};
  return first_60_bits_of_block(m);
}

#else

bool detect_sha_instructions() { return false; }
std::uint64_t one_block_60_bits(const unsigned char*) {
  FS_ASSERT(false, "only called where has_sha_instructions()");
  return 0;
}
bool detect_avx512() { return false; }
std::uint64_t spliced_60_bits(const unsigned char*, std::size_t, std::string_view) {
  FS_ASSERT(false, "only called where kCanSplice");
  return 0;
}

#endif

const bool kHasShaInstructions = detect_sha_instructions();
const bool kCanSplice = kHasShaInstructions && detect_avx512();

std::uint32_t load_big_endian(const unsigned char* p) {
  std::uint32_t word;
  std::memcpy(&word, p, sizeof word);
  return std::byteswap(word);
}

void put_bit_size(unsigned char* block, std::size_t bytes) {
  const std::uint64_t bits = std::byteswap(std::uint64_t{bytes} * 8);
  std::memcpy(block + kBlockBytes - 8, &bits, 8);
}

std::uint64_t first_60_bits_of(const Sha1State& state) {
  return (std::uint64_t{state[0]} << 32 | state[1]) >> 4;
}

void do_block(Sha1State& state, const unsigned char* block, bool uses_instructions) {
  if (uses_instructions) return sha1_block_sha_instructions(state, block);
  sha1_block_portable(state, block);
}

}  // namespace

static_assert(std::endian::native == std::endian::little);

bool has_sha_instructions() { return kHasShaInstructions; }

void sha1_block_portable(Sha1State& state, const unsigned char* block) {
  std::uint32_t w[80];
  for (int i = 0; i < 16; ++i) w[i] = load_big_endian(block + 4 * i);
  for (int i = 16; i < 80; ++i) w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  auto [a, b, c, d, e] = state;
  for (int i = 0; i < 80; ++i) {
    std::uint32_t mixed = 0;
    if (i < 20) {
      mixed = ((b & c) | (~b & d)) + 0x5A827999;
    } else if (i < 40) {
      mixed = (b ^ c ^ d) + 0x6ED9EBA1;
    } else if (i < 60) {
      mixed = ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC;
    } else {
      mixed = (b ^ c ^ d) + 0xCA62C1D6;
    }
    const std::uint32_t next = std::rotl(a, 5) + mixed + e + w[i];
    e = d;
    d = c;
    c = std::rotl(b, 30);
    b = a;
    a = next;
  }
  state = {state[0] + a, state[1] + b, state[2] + c, state[3] + d, state[4] + e};
}

#if defined(__x86_64__)
__attribute__((target("sha,sse4.1,ssse3"))) void sha1_block_sha_instructions(
    Sha1State& state, const unsigned char* block) {
  __m128i abcd = _mm_set_epi32(static_cast<int>(state[0]), static_cast<int>(state[1]),
                               static_cast<int>(state[2]), static_cast<int>(state[3]));
  __m128i e = _mm_set_epi32(static_cast<int>(state[4]), 0, 0, 0);
  __m128i m[4];
  load_block(m, block);
  eighty_rounds(abcd, e, m);
  state = {static_cast<std::uint32_t>(_mm_extract_epi32(abcd, 3)),
           static_cast<std::uint32_t>(_mm_extract_epi32(abcd, 2)),
           static_cast<std::uint32_t>(_mm_extract_epi32(abcd, 1)),
           static_cast<std::uint32_t>(_mm_extract_epi32(abcd, 0)),
           static_cast<std::uint32_t>(_mm_extract_epi32(e, 3))};
}
#else
void sha1_block_sha_instructions(Sha1State& state, const unsigned char* block) {
  sha1_block_portable(state, block);
}
#endif

PrefixedSha1::PrefixedSha1(std::string prefix) : prefix_(std::move(prefix)) {
  if (prefix_.size() <= kOneBlockMax) std::memcpy(block_.data(), prefix_.data(), prefix_.size());
}

std::uint64_t PrefixedSha1::first_60_bits(std::string_view value) const {
  const std::size_t size = prefix_.size() + value.size();
  if (size > kOneBlockMax) return many_blocks(value, kHasShaInstructions);
  if (kCanSplice) return spliced_60_bits(block_.data(), prefix_.size(), value);
  return one_block(value, kHasShaInstructions);
}

std::uint64_t PrefixedSha1::one_block(std::string_view value, bool uses_instructions) const {
  const std::size_t size = prefix_.size() + value.size();
  alignas(16) std::array<unsigned char, kBlockBytes> block = block_;
  std::copy_n(value.data(), value.size(), block.data() + prefix_.size());
  block[size] = 0x80;
  put_bit_size(block.data(), size);
  if (uses_instructions) return one_block_60_bits(block.data());
  Sha1State state = kSha1Begin;
  sha1_block_portable(state, block.data());
  return first_60_bits_of(state);
}

std::uint64_t PrefixedSha1::many_blocks(std::string_view value, bool uses_instructions) const {
  Sha1State state = kSha1Begin;
  std::array<unsigned char, kBlockBytes> block{};
  std::size_t filled = 0;
  for (std::string_view part : {std::string_view(prefix_), value}) {
    while (!part.empty()) {
      const std::size_t size = std::min(part.size(), kBlockBytes - filled);
      std::memcpy(block.data() + filled, part.data(), size);
      part.remove_prefix(size);
      filled += size;
      if (filled < kBlockBytes) break;
      do_block(state, block.data(), uses_instructions);
      filled = 0;
    }
  }
  block[filled++] = 0x80;
  std::memset(block.data() + filled, 0, kBlockBytes - filled);
  if (filled > kBlockBytes - 8) {
    do_block(state, block.data(), uses_instructions);
    block.fill(0);
  }
  put_bit_size(block.data(), prefix_.size() + value.size());
  do_block(state, block.data(), uses_instructions);
  return first_60_bits_of(state);
}

}  // namespace flagstream::flags
