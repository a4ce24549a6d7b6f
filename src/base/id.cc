#include "base/id.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <sys/random.h>

#include "base/assert.h"
#include "base/bytes.h"

namespace flagstream {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string to_hex_digits(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const auto b = static_cast<unsigned char>(c);
    out += kHexDigits[b >> 4];
    out += kHexDigits[b & 15];
  }
  return out;
}

}  // namespace

void random_bytes(void* out, std::size_t size) {
  auto* at = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t got = getrandom(at, size, 0);
    if (got < 0 && errno == EINTR) continue;
    FS_ASSERT(got > 0, "the kernel's random source must answer");
    at += got;
    size -= static_cast<std::size_t>(got);
  }
}

std::string random_hex(std::size_t digits) {
  std::string bytes((digits + 1) / 2, '\0');
  random_bytes(bytes.data(), bytes.size());
  return to_hex_digits(bytes).substr(0, digits);
}

std::string random_uuid() {
  std::string bytes(16, '\0');
  random_bytes(bytes.data(), bytes.size());
  bytes[6] = static_cast<char>((bytes[6] & 0x0f) | 0x40);  // version 4, RFC 9562 section 5.4
  bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);  // variant
  std::string text = to_hex_digits(bytes);
  for (const std::size_t at : {20, 16, 12, 8}) text.insert(at, 1, '-');
  return text;
}

// From the kernel for some of them at a time: each payload gets one.
Id128 Id128::random() {
  constexpr std::size_t kAtOnce = 32;
  thread_local std::array<Id128, kAtOnce> ready;
  thread_local std::size_t left = 0;
  if (left == 0) {
    random_bytes(ready.data(), sizeof ready);
    left = kAtOnce;
  }
  return ready[--left];
}

std::optional<Id128> Id128::from_hex(std::string_view text) {
  if (text.size() != 32) return std::nullopt;
  Id128 id;
  for (std::size_t i = 0; i < 32; ++i) {
    const int value = hex_value(text[i]);
    if (value < 0) return std::nullopt;
    std::uint64_t& half = i < 16 ? id.high : id.low;
    half = half << 4 | static_cast<std::uint64_t>(value);
  }
  return id;
}

std::optional<Id128> Id128::from_bytes(std::string_view bytes) {
  if (bytes.size() != 16) return std::nullopt;
  return Id128{get_be64(bytes.data()), get_be64(bytes.data() + 8)};
}

std::string Id128::to_bytes() const {
  std::string out;
  append_be64(out, high);
  append_be64(out, low);
  return out;
}

std::string Id128::to_hex() const { return to_hex_digits(to_bytes()); }

}  // namespace flagstream
