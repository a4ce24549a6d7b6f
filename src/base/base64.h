// Base64 as senders write it (RFC 4648): the standard alphabet or the one for URLs, mixed even,
// with or without padding.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace flagstream {

// nullopt: it holds anything else, or a length that no text encodes to.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace flagstream
