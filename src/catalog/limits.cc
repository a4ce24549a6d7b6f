#include "catalog/limits.h"

#include <algorithm>

namespace flagstream::catalog {
namespace {

constexpr std::size_t kColorDigits = 6;

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

std::unexpected<Error> invalid(std::string what) {
  return fail(ErrorKind::InvalidArgument, std::move(what));
}

std::unexpected<Error> too_long(std::string_view what, std::size_t bytes_max) {
  return invalid(std::string(what) + " has at most " + std::to_string(bytes_max) + " bytes");
}

}  // namespace

bool is_key(std::string_view text) {
  if (text.empty() || text.size() > kKeyBytesMax || !is_letter_or_digit(text.front())) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-';
  });
}

Result<void> check_key(std::string_view what, std::string_view key) {
  if (is_key(key)) return {};
  return invalid(
      "the key of " + std::string(what) +
      " must be 1 to 256 letters, digits, '.', '_' or '-', beginning with a letter or digit");
}

Result<void> check_name(std::string_view what, std::string_view name) {
  if (name.empty()) return invalid(std::string(what) + " needs a name");
  if (name.size() > kNameBytesMax)
    return too_long("the name of " + std::string(what), kNameBytesMax);
  return {};
}

Result<void> check_text(std::string_view what, std::string_view text) {
  if (text.size() > kTextBytesMax) return too_long(what, kTextBytesMax);
  return {};
}

Result<void> check_tags(const std::vector<std::string>& tags) {
  if (tags.size() > kTagsMax)
    return invalid("there are at most " + std::to_string(kTagsMax) + " tags");
  for (const std::string& tag : tags) {
    if (tag.empty()) return invalid("a tag must not be empty");
    if (tag.size() > kTagBytesMax) return too_long("a tag", kTagBytesMax);
  }
  return {};
}

Result<void> check_context_key(std::string_view key) {
  if (key.empty()) return invalid("the key of a context must not be empty");
  if (key.size() > kContextKeyBytesMax)
    return too_long("the key of a context", kContextKeyBytesMax);
  return {};
}

Result<void> check_color(std::string_view color) {
  const bool is_hex =
      color.size() == kColorDigits && std::all_of(color.begin(), color.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
      });
  if (!is_hex) return invalid("color must be six hexadecimal digits");
  return {};
}

}  // namespace flagstream::catalog
