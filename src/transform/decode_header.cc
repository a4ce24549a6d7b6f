#include "transform/decode_header.h"

#include <algorithm>
#include <cstddef>

namespace flagstream::transform {
namespace {

// They are repeated in every record of the payload.
constexpr std::size_t kNameBytesMax = 128;

// Does not end inside a UTF-8 sequence.
std::string_view cut(std::string_view text) {
  std::size_t size = std::min(text.size(), kNameBytesMax);
  while (size < text.size() && size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80)
    --size;
  return text.substr(0, size);
}

// Cuts the first word off the front of `text`.
std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(word.size());
  return word;
}

}  // namespace

Sender sender_of(std::string_view user_agent, std::string_view tags) {
  Sender sender;
  const std::string_view agent = take_word(user_agent);
  const std::size_t slash = agent.find('/');
  sender.sdk_name = cut(agent.substr(0, slash));
  if (slash != std::string_view::npos) sender.sdk_version = cut(agent.substr(slash + 1));

  while (true) {
    const std::string_view tag = take_word(tags);
    if (tag.empty()) return sender;
    const std::size_t split = tag.find('/');
    if (split == std::string_view::npos) continue;
    const std::string_view value = cut(tag.substr(split + 1));
    if (tag.substr(0, split) == "application-id") sender.application_id = value;
    if (tag.substr(0, split) == "application-version") sender.application_version = value;
  }
}

}  // namespace flagstream::transform
