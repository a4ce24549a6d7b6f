// GET /a/{env}.gif?d=...: how browser SDKs of long ago send events, as the address of an image.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/message.h"

namespace flagstream::ingest {

// Of its events: an image carries no headers that could say another.
inline constexpr std::uint32_t kImageSchema = 3;

// The client-side id in "ID.gif"; empty where that is not what it is.
std::string_view environment_of_image(std::string_view name);

// The JSON in the query parameter d: base64 of either alphabet, padded or not.  InvalidArgument:
// there is none, or it is no base64.
Result<std::string> events_of_image(const http::Request& request);

// One transparent pixel, not to be kept by caches.
http::Response image_response();

}  // namespace flagstream::ingest
