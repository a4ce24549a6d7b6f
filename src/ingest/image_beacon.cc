#include "ingest/image_beacon.h"

#include <algorithm>
#include <array>

#include "base/base64.h"

namespace flagstream::ingest {
namespace {

constexpr std::string_view kExtension = ".gif";

// GIF89a, 1 x 1, a palette of two colours of which the first is transparent.
constexpr std::array<unsigned char, 43> kPixel = {
    'G',  'I',  'F',  '8',  '9',  'a',               // signature
    1,    0,    1,    0,    0x80, 0,    0,           // size; palette
    0,    0,    0,    0xff, 0xff, 0xff,              // black, white
    0x21, 0xf9, 4,    1,    0,    0,    0, 0,        // colour 0 is transparent
    0x2c, 0,    0,    0,    0,    1,    0, 1, 0, 0,  // the image: place, size
    2,    2,    0x44, 1,    0,                       // its data: clear, 0, end
    0x3b};

}  // namespace

std::string_view environment_of_image(std::string_view name) {
  if (!name.ends_with(kExtension)) return {};
  return name.substr(0, name.size() - kExtension.size());
}

Result<std::string> events_of_image(const http::Request& request) {
  auto data = request.query_value("d");
  if (!data || data->empty())
    return fail(ErrorKind::InvalidArgument, "the query parameter d holds no events");
  std::ranges::replace(*data, ' ', '+');  // a query turns one into the other
  auto json = decode_base64(*data);
  if (!json) return fail(ErrorKind::InvalidArgument, "the query parameter d is not base64");
  return *std::move(json);
}

http::Response image_response() {
  http::Response response;
  response.headers.add("Content-Type", "image/gif");
  response.headers.add("Cache-Control", "no-store");
  response.body.assign(kPixel.begin(), kPixel.end());
  return response;
}

}  // namespace flagstream::ingest
