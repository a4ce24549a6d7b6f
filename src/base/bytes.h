// Little-endian integers in byte buffers, as every format of ours writes them.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

namespace flagstream {

static_assert(std::endian::native == std::endian::little, "formats are written in native order");

template <class T>
T get_le(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
inline std::uint16_t get_u16(const void* at) { return get_le<std::uint16_t>(at); }
inline std::uint32_t get_u32(const void* at) { return get_le<std::uint32_t>(at); }
inline std::uint64_t get_u64(const void* at) { return get_le<std::uint64_t>(at); }

template <class T>
void set_le(void* at, T value) {
  std::memcpy(at, &value, sizeof value);
}
template <class T>
void append_le(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// Big-endian, for keys that must sort as their numbers do.
inline void append_be64(std::string& out, std::uint64_t value) {
  append_le(out, __builtin_bswap64(value));
}
inline void append_be32(std::string& out, std::uint32_t value) {
  append_le(out, __builtin_bswap32(value));
}
inline void append_be16(std::string& out, std::uint16_t value) {
  append_le(out, __builtin_bswap16(value));
}
inline std::uint64_t get_be64(const void* at) { return __builtin_bswap64(get_u64(at)); }
inline std::uint32_t get_be32(const void* at) { return __builtin_bswap32(get_u32(at)); }
inline std::uint16_t get_be16(const void* at) { return __builtin_bswap16(get_u16(at)); }

}  // namespace flagstream
