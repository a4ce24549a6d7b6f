// Counts distinct keys: exactly up to kExactMax, beyond that by HyperLogLog with 4,096 registers
// (standard error 1.6 %).
//
// The state is a function of the set of hashes alone: neither the order of add(), nor repeats, nor
// how the set was divided among counters that are merged can change one byte of it, and estimate()
// is a function of the state.
//
// Format, docs/formats/results-db.md:
//
//     version:u8=1  form:u8  (0: hash:u64be*, ascending; 1: register:u8[4096])
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace flagstream::analytics {

class DistinctKeys {
 public:
  static constexpr std::size_t kExactMax = 512;
  static constexpr std::size_t kRegisters = 4096;

  // `hash`: uniform 64 bits of the key.  True: the state has changed.
  bool add(std::uint64_t hash);
  void merge(const DistinctKeys& other);
  // Exact up to kExactMax keys.
  std::uint64_t estimate() const;

  std::string encode() const;
  std::size_t encoded_bytes() const;
  // DataLoss: not what encode() made.  InvalidArgument: written by a newer release.
  static Result<DistinctKeys> decode(std::string_view bytes);

  friend bool operator==(const DistinctKeys&, const DistinctKeys&) = default;

 private:
  bool raise_register(std::uint64_t hash);
  void make_registers();

  std::vector<std::uint64_t> hashes_;    // ascending; empty once there are registers
  std::vector<std::uint8_t> registers_;  // kRegisters, or empty
};

}  // namespace flagstream::analytics
