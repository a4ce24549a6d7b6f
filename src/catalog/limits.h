// What people may type into the catalog: forms and sizes, each refused with InvalidArgument in the
// words of the REST API.  `what` names the thing: "a flag".
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace flagstream::catalog {

inline constexpr std::size_t kKeyBytesMax = 256;
inline constexpr std::size_t kNameBytesMax = 256;
inline constexpr std::size_t kTextBytesMax = 8 << 10;  // a description or a comment
inline constexpr std::size_t kTagsMax = 100;
inline constexpr std::size_t kTagBytesMax = 256;
inline constexpr std::size_t kVariationsMax = 100;
inline constexpr std::size_t kContextKeyBytesMax = 4 << 10;
inline constexpr int kTtlMinutesMax = 60;
inline constexpr std::size_t kExpiringKeysMax = 10;  // of one kind in one environment
inline constexpr int kExpiryYearsMax = 10;

// Letters, digits, '.', '_' and '-', beginning with a letter or digit, at most kKeyBytesMax.
bool is_key(std::string_view text);

Result<void> check_key(std::string_view what, std::string_view key);
// Not empty.
Result<void> check_name(std::string_view what, std::string_view name);
Result<void> check_text(std::string_view what, std::string_view text);
Result<void> check_tags(const std::vector<std::string>& tags);
// Of a context that a list names: not empty, not over-long.
Result<void> check_context_key(std::string_view key);
// Six hex digits.
Result<void> check_color(std::string_view color);

}  // namespace flagstream::catalog
