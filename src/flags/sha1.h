// The part of SHA-1 (FIPS 180-4) that bucketing needs: the first 15 hexadecimal digits of a hash,
// of an input whose beginning is known long before.  Not for anything secret.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace flagstream::flags {

// Hashes `prefix` + value for many values.  Immutable, thread-safe; never allocates after its
// making.
class PrefixedSha1 {
 public:
  explicit PrefixedSha1(std::string prefix);

  // The first 60 bits of SHA-1(prefix + value).
  std::uint64_t first_60_bits(std::string_view value) const;

 private:
  friend class PrefixedSha1Test;
  // Without AVX-512; with SHA instructions only where the processor has them.
  std::uint64_t one_block(std::string_view value, bool uses_instructions) const;
  std::uint64_t many_blocks(std::string_view value, bool uses_instructions) const;

  alignas(64) std::array<unsigned char, 64> block_{};  // the prefix, if it fits, then zeros
  std::string prefix_;
};

// The two ways to do one block, for tests: both update `state` alike.
using Sha1State = std::array<std::uint32_t, 5>;
inline constexpr Sha1State kSha1Begin = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476,
                                         0xC3D2E1F0};
void sha1_block_portable(Sha1State& state, const unsigned char* block);
// Whether this processor has the SHA instructions that the other one needs.
bool has_sha_instructions();
void sha1_block_sha_instructions(Sha1State& state, const unsigned char* block);

}  // namespace flagstream::flags
