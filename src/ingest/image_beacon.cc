#include "ingest/image_beacon.h"

#include <array>
#include <cstdint>
#include <optional>

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

// The six bits that a character stands for.  A query turns '+' into a blank on its way.
std::optional<std::uint32_t> bits_of(char c) {
  if (c >= 'A' && c <= 'Z') return static_cast<std::uint32_t>(c - 'A');
  if (c >= 'a' && c <= 'z') return static_cast<std::uint32_t>(c - 'a' + 26);
  if (c >= '0' && c <= '9') return static_cast<std::uint32_t>(c - '0' + 52);
  if (c == '+' || c == '-' || c == ' ') return 62;
  if (c == '/' || c == '_') return 63;
  return std::nullopt;
}

std::optional<std::string> decode_base64(std::string_view text) {
  for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string out;
  out.reserve(text.size() * 3 / 4);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const auto more = bits_of(c);
    if (!more) return std::nullopt;
    bits = bits << 6 | *more;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out.push_back(static_cast<char>(bits >> count & 0xff));
  }
  return out;
}

}  // namespace

std::string_view environment_of_image(std::string_view name) {
  if (!name.ends_with(kExtension)) return {};
  return name.substr(0, name.size() - kExtension.size());
}

Result<std::string> events_of_image(const http::Request& request) {
  const auto data = request.query_value("d");
  if (!data || data->empty())
    return fail(ErrorKind::InvalidArgument, "the query parameter d holds no events");
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
