#include "http/address_counts.h"

#include <cstring>
#include <string>

#include <arpa/inet.h>

namespace flagstream::http {
namespace {

constexpr std::uint64_t kIpv4 = 0xffff;  // its high bits belong to no /64 that is routed

std::uint64_t key_of(std::string_view address) {
  const std::string text(address);
  in6_addr six{};
  in_addr four{};
  if (::inet_pton(AF_INET, text.c_str(), &four) == 1) return kIpv4 << 32 | ntohl(four.s_addr);
  if (::inet_pton(AF_INET6, text.c_str(), &six) != 1) return 0;
  if (IN6_IS_ADDR_V4MAPPED(&six)) {
    std::uint32_t low = 0;
    std::memcpy(&low, &six.s6_addr[12], sizeof low);
    return kIpv4 << 32 | ntohl(low);
  }
  std::uint64_t network = 0;
  std::memcpy(&network, six.s6_addr, sizeof network);
  return network;
}

}  // namespace

AddressCounts::Part& AddressCounts::part_of(std::uint64_t key) {
  constexpr std::uint64_t kMix = 0x9e3779b97f4a7c15;
  return parts_[key * kMix >> 60];
}

std::optional<AddressCounts::Place> AddressCounts::take(std::string_view address,
                                                        std::size_t most) {
  const std::uint64_t key = key_of(address);
  Part& part = part_of(key);
  const std::lock_guard lock(part.mutex);
  const auto at = part.counts.try_emplace(key, 0).first;
  if (at->second >= most) return std::nullopt;
  ++at->second;
  return std::optional<Place>(std::in_place, *this, key);
}

AddressCounts::Place::~Place() {
  if (counts_ == nullptr) return;
  Part& part = counts_->part_of(key_);
  const std::lock_guard lock(part.mutex);
  const auto at = part.counts.find(key_);
  if (--at->second == 0) part.counts.erase(at);
}

}  // namespace flagstream::http
