#include "http/trusted_proxies.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <boost/asio/ip/address.hpp>
#include <fmt/format.h>

#include "http/request_parser.h"

namespace flagstream::http {
namespace {

namespace ip = boost::asio::ip;

constexpr std::size_t kNetworksMax = 64;
constexpr std::string_view kBetween = ", \t";
constexpr unsigned kV4Offset = 96;  // bits before an IPv4 address in its IPv6 form

std::optional<ip::address_v6> address_of(std::string_view text) {
  boost::system::error_code failed;
  const ip::address address = ip::make_address(text, failed);
  if (failed || text.find('%') != std::string_view::npos) return std::nullopt;
  return address.is_v6() ? address.to_v6() : ip::make_address_v6(ip::v4_mapped, address.to_v4());
}

std::string text_of(const ip::address_v6& address) {
  return address.is_v4_mapped() ? ip::make_address_v4(ip::v4_mapped, address).to_string()
                                : address.to_string();
}

bool is_within(const ip::address_v6::bytes_type& address, const std::array<std::uint8_t, 16>& of,
               unsigned bits) {
  for (unsigned i = 0; i < 16 && bits > 8 * i; ++i) {
    const unsigned left = bits - 8 * i;
    const auto mask = static_cast<std::uint8_t>(left >= 8 ? 0xff : 0xff << (8 - left));
    if (((address[i] ^ of[i]) & mask) != 0) return false;
  }
  return true;
}

// "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80"
std::string_view without_port(std::string_view text) {
  if (text.starts_with('[')) return text.substr(1, std::max<std::size_t>(text.find(']'), 1) - 1);
  const std::size_t colon = text.find(':');
  const bool is_one = colon != std::string_view::npos && text.find(':', colon + 1) == text.npos;
  return is_one ? text.substr(0, colon) : text;
}

// Takes the last element off a list with commas.
std::string_view take_last(std::string_view& list) {
  const std::size_t comma = list.rfind(',');
  std::string_view last = list.substr(comma == list.npos ? 0 : comma + 1);
  list = comma == list.npos ? std::string_view() : list.substr(0, comma);
  while (last.starts_with(' ') || last.starts_with('\t')) last.remove_prefix(1);
  while (last.ends_with(' ') || last.ends_with('\t')) last.remove_suffix(1);
  return last;
}

}  // namespace

Result<TrustedProxies> TrustedProxies::parse(std::string_view text) {
  TrustedProxies out;
  for (std::size_t at = 0; (at = text.find_first_not_of(kBetween, at)) != text.npos;) {
    const std::size_t end = std::min(text.find_first_of(kBetween, at), text.size());
    const std::string_view each = text.substr(at, end - at);
    at = end;
    const auto refuse = [&](std::string_view why) {
      return fail(ErrorKind::InvalidArgument, fmt::format("'{}' {}", each, why));
    };
    const std::size_t slash = std::min(each.find('/'), each.size());
    const auto address = address_of(each.substr(0, slash));
    if (!address) return refuse("is no address or network like 10.0.0.0/8 or ::1");
    const unsigned offset = address->is_v4_mapped() ? kV4Offset : 0;
    unsigned bits = 128 - offset;
    if (slash < each.size()) {
      const char* last = each.data() + each.size();
      const auto parsed = std::from_chars(each.data() + slash + 1, last, bits);
      if (parsed.ec != std::errc() || parsed.ptr != last || bits > 128 - offset) {
        return refuse(fmt::format("has no prefix length within 0 and {}", 128 - offset));
      }
    }
    const Network network{.address = address->to_bytes(), .bits = bits + offset};
    for (unsigned bit = network.bits; bit < 128; ++bit) {
      if ((network.address[bit / 8] >> (7 - bit % 8) & 1) != 0) {
        return refuse("has bits set behind its prefix length");
      }
    }
    if (out.networks_.size() == kNetworksMax) return refuse("is the 65th; 64 are taken");
    out.networks_.push_back(network);
  }
  return out;
}

bool TrustedProxies::contains(std::string_view address) const {
  if (networks_.empty()) return false;
  const auto parsed = address_of(address);
  return parsed && std::ranges::any_of(networks_, [&](const Network& network) {
           return is_within(parsed->to_bytes(), network.address, network.bits);
         });
}

std::string TrustedProxies::client_of(std::string_view peer, const Headers& headers) const {
  std::string client(peer);
  const std::vector<Header>& all = headers.all();
  for (auto header = all.rbegin(); header != all.rend(); ++header) {
    if (!equals_without_case(header->name, "x-forwarded-for")) continue;
    for (std::string_view list = header->value; !list.empty();) {
      const auto address = address_of(without_port(take_last(list)));
      if (!address) return client;
      client = text_of(*address);
      if (!contains(client)) return client;
    }
  }
  return client;
}

}  // namespace flagstream::http
