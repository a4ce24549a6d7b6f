// Credentials that were found to be unknown a moment ago.  Bounded: a new entry takes the place of
// the oldest of the few that share its set.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "environment/environments.h"

namespace flagstream::delivery {

// Thread-safe.
class NegativeCache {
 public:
  static constexpr std::size_t kSets = 2'048;
  static constexpr std::size_t kWays = 4;  // entries of a set

  struct Unknown {
    bool is_expired = false;  // it opened something once
  };

  // `version`: Environments::credentials_version() from before it was found to be unknown.  Holds
  // until `until` (monotonic).
  void add(const environment::Credential& credential, Unknown unknown, std::uint64_t version,
           std::int64_t until);
  // nullopt: nothing is known of it.  `version` is today's.
  std::optional<Unknown> find(const environment::Credential& credential, std::uint64_t version,
                              std::int64_t now) const;

 private:
  using Digest = std::array<char, 32>;
  static Digest digest_of(const environment::Credential& credential);

  struct Entry {
    Digest digest{};
    std::uint64_t version = 0;
    std::int64_t until = 0;  // 0: empty
    Unknown unknown;
  };
  using Set = std::array<Entry, kWays>;
  static std::size_t index_of(const Digest& digest);

  mutable std::mutex mutex_;
  std::vector<Set> sets_{kSets};
};

}  // namespace flagstream::delivery
