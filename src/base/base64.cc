#include "base/base64.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace flagstream {
namespace {

constexpr std::uint8_t kNone = 0xFF;

constexpr std::array<std::uint8_t, 256> digits() {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::array<std::uint8_t, 256> all{};
  all.fill(kNone);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i)
    all[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  all['+'] = 62;
  all['/'] = 63;
  return all;
}

constexpr std::array<std::uint8_t, 256> kDigits = digits();

}  // namespace

std::optional<std::string> decode_base64(std::string_view text) {
  for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string out;
  bool is_wrong = false;
  const auto decode = [&](char* to, std::size_t) {
    char* at = to;
    std::uint32_t bits = 0;
    int held = 0;
    for (const char c : text) {
      const std::uint8_t digit = kDigits[static_cast<unsigned char>(c)];
      is_wrong = is_wrong || digit == kNone;
      bits = bits << 6 | (digit & 63);
      held += 6;
      if (held < 8) continue;
      held -= 8;
      *at++ = static_cast<char>(bits >> held);
    }
    return static_cast<std::size_t>(at - to);
  };
  out.resize_and_overwrite(text.size() * 3 / 4 + 1, decode);
  if (is_wrong) return std::nullopt;
  return out;
}

}  // namespace flagstream
