#include "http/conditional.h"

#include <algorithm>

#include "http/request_parser.h"

namespace flagstream::http {
namespace {

constexpr std::size_t kKeyBytesMax = 512;

std::string_view without_blanks(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// Takes the part up to `separator` off the front of `rest`.
std::string_view take_part(std::string_view& rest, char separator) {
  const std::string_view part = rest.substr(0, rest.find(separator));
  rest.remove_prefix(std::min(rest.size(), part.size() + 1));
  return without_blanks(part);
}

// Tags may hold commas, so they are read one after the other.
bool lists_tag(std::string_view list, std::string_view etag) {
  list = without_blanks(list);
  if (list == "*") return true;
  while (!list.empty()) {
    if (list.front() == ',' || list.front() == ' ' || list.front() == '\t') {
      list.remove_prefix(1);
      continue;
    }
    if (list.starts_with("W/")) list.remove_prefix(2);
    const std::size_t end = list.starts_with('"') ? list.find('"', 1) : std::string_view::npos;
    if (end == std::string_view::npos) return false;
    if (list.substr(0, end + 1) == etag) return true;
    list.remove_prefix(end + 1);
  }
  return false;
}

// "0", "0.", "0.000"; anything unreadable counts as taken.
bool is_weight_zero(std::string_view weight) {
  return weight.starts_with('0') &&
         std::ranges::all_of(weight.substr(1), [](char c) { return c == '0' || c == '.'; });
}

// nullopt: the coding is not named.
std::optional<bool> takes_coding(const Headers& headers, std::string_view coding) {
  std::optional<bool> takes;
  for (const Header& header : headers.all()) {
    if (!equals_without_case(header.name, "accept-encoding")) continue;
    for (std::string_view rest = header.value; !rest.empty();) {
      std::string_view item = take_part(rest, ',');
      if (!equals_without_case(take_part(item, ';'), coding)) continue;
      takes = true;
      while (!item.empty()) {
        std::string_view parameter = take_part(item, ';');
        if (!equals_without_case(take_part(parameter, '='), "q")) continue;
        takes = !is_weight_zero(without_blanks(parameter));
      }
    }
  }
  return takes;
}

// What follows the word, in any case, at the front; all of `value` where it is not there.
std::string_view after_word(std::string_view value, std::string_view word) {
  value = without_blanks(value);
  const bool has_word = equals_without_case(value.substr(0, word.size()), word) &&
                        (value.size() == word.size() || value[word.size()] == ' ');
  return has_word ? without_blanks(value.substr(word.size())) : value;
}

std::optional<std::string_view> as_key(std::string_view value) {
  const bool is_key = !value.empty() && value.size() <= kKeyBytesMax &&
                      std::ranges::all_of(value, [](char c) { return c > ' ' && c <= '~'; });
  return is_key ? std::optional(value) : std::nullopt;
}

}  // namespace

bool matches_if_none_match(const Headers& headers, std::string_view etag) {
  return std::ranges::any_of(headers.all(), [&](const Header& header) {
    return equals_without_case(header.name, "if-none-match") && lists_tag(header.value, etag);
  });
}

bool accepts_gzip(const Headers& headers) {
  for (const std::string_view coding : {"gzip", "x-gzip", "*"}) {
    if (const auto takes = takes_coding(headers, coding)) return *takes;
  }
  return false;
}

std::optional<std::string_view> authorization_key(const Headers& headers) {
  return as_key(after_word(headers.find("Authorization").value_or(""), "api_key"));
}

std::optional<std::string_view> bearer_or_api_key(const Headers& headers) {
  const std::string_view authorization = headers.find("Authorization").value_or("");
  if (const auto key = as_key(after_word(authorization, "Bearer"))) return key;
  return as_key(without_blanks(headers.find("X-API-Key").value_or("")));
}

}  // namespace flagstream::http
