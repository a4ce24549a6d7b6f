// Hashes: XXH3-128 for identities and placement (not secret), SHA-256 and HMAC for credentials.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/id.h"

namespace flagstream {

// XXH3-128 with seed 0.  Stable: results are stored.
Id128 xxh3_128(std::string_view bytes);

// 32 bytes.
std::string sha256(std::string_view bytes);
// 64 lower-case digits.
std::string sha256_hex(std::string_view bytes);
// Lower-case hex of HMAC-SHA256.
std::string hmac_sha256_hex(std::string_view key, std::string_view message);
// What computes HMAC-SHA256 with a key without being that key: SHA-256's chaining values after the
// block key^ipad and after key^opad (RFC 2104, section 4), as 32 bytes each.
inline constexpr std::size_t kHmacSha256StateBytes = 64;
std::string hmac_sha256_state(std::string_view key);
// hmac_sha256_hex() with the key of the state.  Precondition: `state` has its size.
std::string hmac_sha256_hex_from(std::string_view state, std::string_view message);
// Takes the same time whatever differs; false at once when the sizes differ.
bool equal_constant_time(std::string_view a, std::string_view b);

// Standard alphabet with padding (RFC 4648 section 4).
std::string base64_encode(std::string_view bytes);

}  // namespace flagstream
