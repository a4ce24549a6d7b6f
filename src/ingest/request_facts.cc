#include "ingest/request_facts.h"

#include <algorithm>
#include <charconv>

#include <boost/asio/ip/address.hpp>
#include <fmt/format.h>

#include "base/hash.h"
#include "http/request_parser.h"

namespace flagstream::ingest {
namespace {

constexpr std::size_t kTextBytesMax = 512;
constexpr std::size_t kPayloadIdBytesMax = 128;
constexpr std::uint32_t kSchemaMax = 1'000;

bool is_printable(char c) { return c >= ' ' && c <= '~'; }

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::string printable(std::string_view text) {
  std::string out(text.substr(0, kTextBytesMax));
  std::replace_if(out.begin(), out.end(), [](char c) { return !is_printable(c); }, '?');
  return out;
}

std::string text_of(const http::Headers& headers, std::string_view name) {
  return printable(trimmed(headers.find(name).value_or("")));
}

// SDKs send a UUID.  Anything that a record could not hold as it is stands in by its hash: a repeat
// must give the same identity.
std::string payload_id_of(const http::Headers& headers) {
  const std::string_view id = trimmed(headers.find("X-LaunchDarkly-Payload-ID").value_or(""));
  if (id.size() <= kPayloadIdBytesMax && std::all_of(id.begin(), id.end(), is_printable))
    return std::string(id);
  return "sha256:" + sha256_hex(id);
}

std::uint32_t schema_of(const http::Headers& headers) {
  const std::string_view text = trimmed(headers.find("X-LaunchDarkly-Event-Schema").value_or(""));
  std::uint32_t schema = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), schema);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && schema > 0 && schema <= kSchemaMax ? schema : 1;
}

}  // namespace

void read_request_facts(const http::Request& request, events::proto::PayloadHeader& header) {
  const http::Headers& headers = request.headers;
  header.set_payload_id(payload_id_of(headers));
  header.set_schema(schema_of(headers));
  header.set_unsummarized(headers.find("X-LaunchDarkly-Unsummarized").has_value());
  // Browsers cannot set User-Agent, so their SDKs name themselves in a header of their own.
  const bool has_own = headers.find("X-LaunchDarkly-User-Agent").has_value();
  header.set_user_agent(text_of(headers, has_own ? "X-LaunchDarkly-User-Agent" : "User-Agent"));
  header.set_wrapper(text_of(headers, "X-LaunchDarkly-Wrapper"));
  header.set_tags(text_of(headers, "X-LaunchDarkly-Tags"));
  header.set_instance_id(text_of(headers, "X-LaunchDarkly-Instance-Id"));
  header.set_client_network(network_of(request.client_address));
}

std::string network_of(std::string_view address) {
  namespace ip = boost::asio::ip;
  boost::system::error_code error;
  ip::address parsed = ip::make_address(address, error);
  if (error) return {};
  if (parsed.is_v6() && parsed.to_v6().is_v4_mapped())
    parsed = ip::make_address_v4(ip::v4_mapped, parsed.to_v6());
  if (parsed.is_v4()) {
    const auto bytes = parsed.to_v4().to_bytes();
    return fmt::format("{}.{}.{}.0/24", bytes[0], bytes[1], bytes[2]);
  }
  auto bytes = parsed.to_v6().to_bytes();
  std::fill(bytes.begin() + 6, bytes.end(), static_cast<unsigned char>(0));
  return ip::address_v6(bytes).to_string() + "/48";
}

std::optional<ContentEncoding> content_encoding_of(const http::Headers& headers) {
  ContentEncoding encoding = ContentEncoding::Identity;
  for (const http::Header& header : headers.all()) {
    if (!http::equals_without_case(header.name, "Content-Encoding")) continue;
    for (std::string_view rest = header.value; !rest.empty();) {
      const std::string_view item = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), item.size() + 1));
      const std::string_view coding = trimmed(item);
      if (coding.empty() || http::equals_without_case(coding, "identity")) continue;
      const bool is_gzip =
          http::equals_without_case(coding, "gzip") || http::equals_without_case(coding, "x-gzip");
      if (!is_gzip || encoding == ContentEncoding::Gzip) return std::nullopt;
      encoding = ContentEncoding::Gzip;
    }
  }
  return encoding;
}

}  // namespace flagstream::ingest
