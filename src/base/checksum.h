// CRC-32C (Castagnoli, RFC 3720 B.4), hardware-accelerated through ISA-L.
#pragma once

#include <cstdint>
#include <string_view>

namespace flagstream {

// crc32c(0, "123456789") == 0xe3069283.  A non-zero seed continues from, or binds the sum to, that
// value: crc32c(crc32c(0, a), b) == crc32c(0, a + b).
std::uint32_t crc32c(std::uint32_t seed, std::string_view bytes);

}  // namespace flagstream
