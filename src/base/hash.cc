#include "base/hash.h"

#include <iterator>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/bytes.h"

namespace flagstream {
namespace {

std::string to_hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

constexpr std::size_t kBlockBytes = SHA256_CBLOCK;

// The chaining value after one block.
void append_state_after(std::string& out, std::string_view block) {
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, block.data(), block.size());
  for (const std::uint32_t word : context.h) append_be32(out, word);
}

// SHA-256 of what comes after a first block with that chaining value.
std::string finish(std::string_view state, std::string_view rest) {
  SHA256_CTX context;
  SHA256_Init(&context);
  for (std::size_t i = 0; i < std::size(context.h); ++i)
    context.h[i] = __builtin_bswap32(get_u32(state.data() + 4 * i));
  context.Nl = 8 * kBlockBytes;  // bits that the state has taken
  SHA256_Update(&context, rest.data(), rest.size());
  std::string out(SHA256_DIGEST_LENGTH, '\0');
  SHA256_Final(reinterpret_cast<unsigned char*>(out.data()), &context);
  return out;
}

}  // namespace

Id128 xxh3_128(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

std::string sha256(std::string_view bytes) {
  // Not by EVP_Digest(), which looks the algorithm up and allocates each time: every request hashes
  // its credential.
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, bytes.data(), bytes.size());
  std::string out(SHA256_DIGEST_LENGTH, '\0');
  SHA256_Final(reinterpret_cast<unsigned char*>(out.data()), &context);
  return out;
}

std::string sha256_hex(std::string_view bytes) { return to_hex(sha256(bytes)); }

std::string hmac_sha256_hex(std::string_view key, std::string_view message) {
  std::string out(32, '\0');
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(message.data()), message.size(),
       reinterpret_cast<unsigned char*>(out.data()), &size);
  return to_hex(out);
}

std::string hmac_sha256_state(std::string_view key) {
  std::string block = key.size() > kBlockBytes ? sha256(key) : std::string(key);
  block.resize(kBlockBytes, '\0');
  std::string out;
  for (const char pad : {'\x36', '\x5c'}) {
    std::string padded = block;
    for (char& byte : padded) byte = static_cast<char>(byte ^ pad);
    append_state_after(out, padded);
  }
  return out;
}

std::string hmac_sha256_hex_from(std::string_view state, std::string_view message) {
  FS_ASSERT(state.size() == kHmacSha256StateBytes, "a state has 64 bytes");
  const std::string inner = finish(state.substr(0, 32), message);
  return to_hex(finish(state.substr(32), inner));
}

bool equal_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string base64_encode(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

}  // namespace flagstream
