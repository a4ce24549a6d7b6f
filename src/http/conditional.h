// What a request says about the answers that it takes (RFC 9110): conditional requests, content
// coding, the credential.
#pragma once

#include <optional>
#include <string_view>

#include "http/message.h"

namespace flagstream::http {

// Whether If-None-Match names this strong entity tag (`etag` with its quotes): a list, weak tags
// and
// "*" count, too (13.1.2).  What is no list of tags names nothing.
bool matches_if_none_match(const Headers& headers, std::string_view etag);

// Whether Accept-Encoding takes gzip (12.5.3): named itself or by "*", and not with a weight of 0.
// No such field: identity only, since that is what clients without it can read.
bool accepts_gzip(const Headers& headers);

// The key in an Authorization field: raw, or after the word api_key that older mobile SDKs write.
// nullopt: there is none, or what is there cannot be a key (blanks, not printable ASCII, over 512
// bytes).
std::optional<std::string_view> authorization_key(const Headers& headers);

// The key of clients that choose their own headers: in Authorization, raw or after the word Bearer,
// else in X-API-Key.  nullopt as above.
std::optional<std::string_view> bearer_or_api_key(const Headers& headers);

}  // namespace flagstream::http
