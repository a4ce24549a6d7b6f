#include "delivery/client_context.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace flagstream::delivery {
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

std::unexpected<Error> no_base64() {
  return fail(ErrorKind::InvalidArgument, "the context in the path is not base64");
}

}  // namespace

Result<std::string> decode_context_segment(std::string_view segment) {
  for (int padding = 0; padding < 2 && segment.ends_with('='); ++padding) segment.remove_suffix(1);
  if (segment.size() % 4 == 1) return no_base64();
  std::string out;
  bool is_wrong = false;
  const auto decode = [&](char* to, std::size_t) {
    char* at = to;
    std::uint32_t bits = 0;
    int held = 0;
    for (const char c : segment) {
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
  out.resize_and_overwrite(segment.size() * 3 / 4 + 1, decode);
  if (is_wrong) return no_base64();
  return out;
}

Result<flags::Context> parse_context(std::string_view json) {
  FS_TRY(flags::Context context, flags::Context::parse(json));
  const auto has_no_key = [](const auto& each) { return each.key.empty(); };
  if (std::ranges::any_of(context.individuals(), has_no_key))
    return fail(ErrorKind::InvalidArgument, "invalid context: the key is empty");
  return context;
}

}  // namespace flagstream::delivery
