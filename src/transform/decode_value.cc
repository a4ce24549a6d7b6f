#include "transform/decode_value.h"

#include <algorithm>
#include <cstring>

namespace flagstream::transform {
namespace {

// An upper bound of the depth, in a form that compilers turn into vector code: counts of one byte,
// in blocks too short to overflow them.
std::size_t opening_brackets(std::string_view json) {
  constexpr std::size_t kBlockBytes = 128;
  static_assert(('{' & ~0x20) == '[');
  std::size_t count = 0;
  for (; json.size() >= kBlockBytes; json.remove_prefix(kBlockBytes)) {
    std::uint8_t in_block = 0;
    for (std::size_t i = 0; i < kBlockBytes; ++i) in_block += (json[i] & ~0x20) == '[';
    count += in_block;
  }
  std::uint8_t in_rest = 0;
  for (const char c : json) in_rest += (c & ~0x20) == '[';
  return count + in_rest;
}

std::size_t depth_of(std::string_view json) {
  std::size_t depth = 0;
  std::size_t deepest = 0;
  bool in_string = false;
  for (std::size_t at = 0; at < json.size(); ++at) {
    const char c = json[at];
    if (in_string) {
      if (c == '\\') ++at;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '{' || c == '[') deepest = std::max(deepest, ++depth);
    if ((c == '}' || c == ']') && depth > 0) --depth;
  }
  return deepest;
}

bool is_null(std::string_view token) { return token == "null"; }

bool is_scalar_token(std::string_view token) {
  if (token.size() >= 2 && token.front() == '"') return token.back() == '"';
  if (token == "true" || token == "false") return true;
  return scaled_number(token, 0).has_value();
}

// The parser's own copy goes with the next document.
std::string_view kept_text(std::string_view text, Arena& arena) {
  const auto copy = kept<char>(text, arena);
  return {copy.data(), copy.size()};
}

}  // namespace

Fault read_escaped_name(ondemand::field& field, Arena& arena, std::string_view& out) {
  if (field.unescaped_key().get(out)) return kMalformed;
  out = kept_text(out, arena);
  return {};
}

Fault read_string(ondemand::value& value, Arena& arena, std::optional<std::string_view>& out) {
  const std::string_view token = token_of(value);
  if (is_null(token)) return {};
  if (token.empty() || token.front() != '"') return RejectReason::WrongType;
  const char* const begin = token.data() + 1;
  const char* const end = quote_or_backslash(begin);
  if (*end == '"') {
    ondemand::raw_json_string consumed;  // so that what follows it is looked at
    if (value.get_raw_json_string().get(consumed)) return kMalformed;
    out = std::string_view(begin, static_cast<std::size_t>(end - begin));
    return {};
  }
  std::string_view text;
  if (value.get_string().get(text)) return kMalformed;
  out = kept_text(text, arena);
  return {};
}

Fault read_name_value(ondemand::value& value, Arena& arena, std::string_view& out) {
  std::optional<std::string_view> text;
  if (const Fault fault = read_string(value, arena, text)) return fault;
  if (!text) return {};
  if (text->size() > kNameBytesMax) return RejectReason::TooLarge;
  out = *text;
  return {};
}

Fault read_bool(ondemand::value& value, std::optional<bool>& out) {
  const std::string_view token = token_of(value);
  if (is_null(token)) return {};
  if (token != "true" && token != "false") return RejectReason::WrongType;
  out = token == "true";
  return {};
}

Fault read_whole(ondemand::value& value, std::int64_t least, std::int64_t most,
                 std::optional<std::int64_t>& out) {
  const std::string_view token = token_of(value);
  if (is_null(token)) return {};
  const auto number = whole_number(token);
  if (!number || *number < least || *number > most) return RejectReason::WrongType;
  out = number;
  return {};
}

Fault read_date(ondemand::value& value, std::optional<std::int64_t>& out) {
  constexpr int kMillisToMicros = 3;
  out.reset();
  if (const auto date = scaled_number(token_of(value), kMillisToMicros)) out = date->value;
  return {};
}

Fault read_raw(ondemand::value& value, std::optional<std::string_view>& out) {
  std::string_view text = token_of(value);
  if (is_null(text)) return {};
  if (text.empty()) return kMalformed;
  if (text.front() == '{') {
    ondemand::object object;
    if (value.get_object().get(object) || object.raw_json().get(text)) return kMalformed;
  } else if (text.front() == '[') {
    ondemand::array array;
    if (value.get_array().get(array) || array.raw_json().get(text)) return kMalformed;
  } else if (!is_scalar_token(text)) {
    return kMalformed;
  }
  out = without_blanks(text);
  return check_depth(*out);
}

Fault read_raw(ondemand::value& value, std::string_view& out) {
  std::optional<std::string_view> text;
  if (const Fault fault = read_raw(value, text)) return fault;
  if (text) out = *text;
  return {};
}

Fault check_depth(std::string_view json) {
  if (json.size() <= 2 * kDepthMax || opening_brackets(json) <= kDepthMax) return {};
  if (depth_of(json) > kDepthMax) return RejectReason::TooDeep;
  return {};
}

}  // namespace flagstream::transform
