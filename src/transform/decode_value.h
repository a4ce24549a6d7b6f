// Reading single members with simdjson's On-Demand front end.  Only for this folder's decode*.cc.
//
// On-Demand walks the text once and forward: a value is read at most once (strings are unescaped
// into a buffer of the parser that holds each string one time).  What it skips it does not check.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <memory_resource>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include <simdjson.h>

#include "transform/decode_number.h"
#include "transform/decode_reason.h"

namespace flagstream::transform {

namespace ondemand = simdjson::ondemand;

// Nesting that a member may have; deeper events are rejected for the sake of whoever parses them
// later.
inline constexpr std::size_t kDepthMax = 64;

// Keys of flags, contexts and custom events, context kinds.
inline constexpr std::size_t kNameBytesMax = 64 * 1024;

inline constexpr RejectReason kMalformed = RejectReason::MalformedJson;

// What text that has no place in the body is copied to, unescaped: lives as long as the payload.
using Arena = std::pmr::memory_resource;

// A copy of `items` in the arena.
template <class Item>
std::span<const Item> kept(std::span<const Item> items, Arena& arena) {
  static_assert(std::is_trivially_copyable_v<Item>);
  if (items.empty()) return {};
  void* const copy = arena.allocate(items.size_bytes(), alignof(Item));
  std::memcpy(copy, items.data(), items.size_bytes());
  return {static_cast<const Item*>(copy), items.size()};
}

constexpr bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

constexpr std::string_view without_blanks(std::string_view text) {
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  return text;
}

// The first quote or backslash from `at` on, sixteen bytes at a time: most texts are shorter.
// Precondition: there is one, and fifteen readable bytes behind it (the body's padding).
inline const char* quote_or_backslash(const char* at) {
  using Bytes = unsigned char __attribute__((vector_size(16)));
  for (;; at += sizeof(Bytes)) {
    Bytes bytes;
    std::memcpy(&bytes, at, sizeof bytes);
    const auto marks = (bytes == '"') | (bytes == '\\');
#ifdef __SSE2__
    const auto bits = static_cast<unsigned>(_mm_movemask_epi8(reinterpret_cast<__m128i>(marks)));
    if (bits != 0) return at + std::countr_zero(bits);
#else
    std::uint64_t halves[2];
    std::memcpy(halves, &marks, sizeof halves);
    if (halves[0] != 0) return at + std::countr_zero(halves[0]) / 8;
    if (halves[1] != 0) return at + 8 + std::countr_zero(halves[1]) / 8;
#endif
  }
}

Fault read_escaped_name(ondemand::field& field, Arena& arena, std::string_view& out);

// The member's name.  Escapes, which no SDK uses in names that matter here, are undone.
inline Fault read_name(ondemand::field& field, Arena& arena, std::string_view& out) {
  const char* const begin = field.key().raw();
  const char* const end = quote_or_backslash(begin);  // the first stage found a closing quote
  if (*end != '"') return read_escaped_name(field, arena, out);
  out = {begin, static_cast<std::size_t>(end - begin)};
  return {};
}

// The text of a scalar, or the first bracket; without blanks.  Does not consume the value.
inline std::string_view token_of(ondemand::value& value) {
  return without_blanks(value.raw_json_token());
}

// "absent" below: the value is null, and `out` stays as it is.

// A string, unescaped; absent for null.
Fault read_string(ondemand::value& value, Arena& arena, std::optional<std::string_view>& out);

// As above, into a member of a record; TooLarge over kNameBytesMax.
Fault read_name_value(ondemand::value& value, Arena& arena, std::string_view& out);

// true or false; absent for null.
Fault read_bool(ondemand::value& value, std::optional<bool>& out);

// A whole number from `least` to `most`; absent for null.
Fault read_whole(ondemand::value& value, std::int64_t least, std::int64_t most,
                 std::optional<std::int64_t>& out);

// Milliseconds as microseconds; absent for whatever is not a number, because a bad date alone must
// not cost the event.
Fault read_date(ondemand::value& value, std::optional<std::int64_t>& out);

// Any value as the text it has; absent for null.  TooDeep beyond kDepthMax.
Fault read_raw(ondemand::value& value, std::optional<std::string_view>& out);
Fault read_raw(ondemand::value& value, std::string_view& out);

// TooDeep if `json` is nested beyond kDepthMax.
Fault check_depth(std::string_view json);

}  // namespace flagstream::transform
