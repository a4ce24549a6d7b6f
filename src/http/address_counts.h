// How many connections each client address has.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace flagstream::http {

// Thread-safe.  An IPv4 address is a client, and so is a /64 of IPv6, of which one client has all.
class AddressCounts {
 public:
  // One connection's; given back on destruction.  The counts must outlive it.
  class Place {
   public:
    Place() = default;  // of nobody who is counted
    Place(AddressCounts& counts, std::uint64_t key) : counts_(&counts), key_(key) {}
    Place(Place&& other) noexcept
        : counts_(std::exchange(other.counts_, nullptr)), key_(other.key_) {}
    Place& operator=(Place&&) = delete;
    ~Place();

   private:
    AddressCounts* counts_ = nullptr;
    std::uint64_t key_ = 0;
  };

  // nullopt: the address has `most` already.
  std::optional<Place> take(std::string_view address, std::size_t most);

 private:
  static constexpr std::size_t kParts = 16;
  struct Part {
    std::mutex mutex;
    std::unordered_map<std::uint64_t, std::size_t> counts;
  };
  Part& part_of(std::uint64_t key);

  std::array<Part, kParts> parts_;
};

}  // namespace flagstream::http
