#include "base/checksum.h"

#include <algorithm>

#include <isa-l/crc.h>

namespace flagstream {

std::uint32_t crc32c(std::uint32_t seed, std::string_view bytes) {
  constexpr std::size_t kStepMax = 1u << 30;  // the library takes an int
  std::uint32_t crc = ~seed;
  auto* at = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data()));  // it only reads
  for (std::size_t left = bytes.size(); left > 0;) {
    const std::size_t step = std::min(left, kStepMax);
    crc = crc32_iscsi(at, static_cast<int>(step), crc);
    at += step;
    left -= step;
  }
  return ~crc;
}

}  // namespace flagstream
