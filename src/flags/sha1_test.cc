#include "flags/sha1.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

namespace flagstream::flags {

class PrefixedSha1Test : public testing::Test {
 protected:
  static std::uint64_t one_block(const PrefixedSha1& hash, std::string_view value,
                                 bool uses_instructions) {
    return hash.one_block(value, uses_instructions);
  }
  static std::uint64_t many_blocks(const PrefixedSha1& hash, std::string_view value,
                                   bool uses_instructions) {
    return hash.many_blocks(value, uses_instructions);
  }
};

namespace {

Sha1State openssl_sha1(const std::string& text) {
  unsigned char digest[20];
  EXPECT_EQ(EVP_Digest(text.data(), text.size(), digest, nullptr, EVP_sha1(), nullptr), 1);
  Sha1State state{};
  for (std::size_t i = 0; i < 20; ++i) state[i / 4] = state[i / 4] << 8 | digest[i];
  return state;
}

std::uint64_t openssl_first_60_bits(const std::string& text) {
  const Sha1State state = openssl_sha1(text);
  return (std::uint64_t{state[0]} << 32 | state[1]) >> 4;
}

// "abc" of FIPS 180-4 as its one block.
std::array<unsigned char, 64> abc_block() {
  std::array<unsigned char, 64> block{'a', 'b', 'c', 0x80};
  block[63] = 24;
  return block;
}
constexpr Sha1State kAbc = {0xA9993E36, 0x4706816A, 0xBA3E2571, 0x7850C26C, 0x9CD0D89D};

TEST(Sha1, PortableBlockGivesThePublishedDigest) {
  Sha1State state = kSha1Begin;
  sha1_block_portable(state, abc_block().data());
  EXPECT_EQ(state, kAbc);
}

TEST(Sha1, InstructionsGiveThePublishedDigest) {
  if (!has_sha_instructions()) GTEST_SKIP() << "this processor has none";
  Sha1State state = kSha1Begin;
  sha1_block_sha_instructions(state, abc_block().data());
  EXPECT_EQ(state, kAbc);
}

TEST(Sha1, InstructionsAndPortableBlocksAgreeFromEveryState) {
  if (!has_sha_instructions()) GTEST_SKIP() << "this processor has none";
  Sha1State a = kSha1Begin;
  Sha1State b = kSha1Begin;
  std::array<unsigned char, 64> block{};
  for (int round = 0; round < 1000; ++round) {
    for (std::size_t i = 0; i < block.size(); ++i)
      block[i] = static_cast<unsigned char>(block[i] * 31 + a[i % 5] + i);
    sha1_block_portable(a, block.data());
    sha1_block_sha_instructions(b, block.data());
    ASSERT_EQ(a, b) << round;
  }
}

TEST(Sha1, EverySizeAndCutAgreesWithOpenSsl) {
  std::string text;
  for (std::size_t size = 0; size <= 200; ++size) {
    for (const std::size_t cut : {std::size_t{0}, size / 3, size / 2, size}) {
      EXPECT_EQ(PrefixedSha1(text.substr(0, cut)).first_60_bits(text.substr(cut)),
                openssl_first_60_bits(text))
          << size << " cut at " << cut;
    }
    text += static_cast<char>('!' + size % 90);
  }
}

TEST_F(PrefixedSha1Test, ManyBlocksAgreeWithOpenSslOnEveryProcessor) {
  std::string text;
  for (std::size_t size = 0; size <= 200; ++size) {
    for (const bool uses_instructions : {false, has_sha_instructions()}) {
      const PrefixedSha1 hash(text.substr(0, size / 3));
      EXPECT_EQ(many_blocks(hash, text.substr(size / 3), uses_instructions),
                openssl_first_60_bits(text))
          << size;
    }
    text += static_cast<char>('!' + size % 90);
  }
}

TEST_F(PrefixedSha1Test, OneBlockThroughMemoryAgreesWithOpenSslOnEveryProcessor) {
  for (std::size_t size = 0; size <= 55; ++size) {
    const std::string text =
        std::string("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRS").substr(0, size);
    for (const std::size_t cut : {std::size_t{0}, size / 2, size}) {
      for (const bool uses_instructions : {false, has_sha_instructions()}) {
        EXPECT_EQ(one_block(PrefixedSha1(text.substr(0, cut)), text.substr(cut), uses_instructions),
                  openssl_first_60_bits(text))
            << size << " cut at " << cut;
      }
    }
  }
}

}  // namespace
}  // namespace flagstream::flags
