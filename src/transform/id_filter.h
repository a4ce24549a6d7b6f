// A set of 128-bit hashes that can only say "certainly not in it": a Bloom filter whose bits for
// one id lie in one cache line.  Layout: docs/formats/stage-store.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/id.h"

namespace flagstream::transform {

// Not thread-safe.
class IdFilter {
 public:
  // About one in 200 ids that are not in it looks as if it were, once `capacity` are.
  explicit IdFilter(std::size_t capacity);

  // `id` is uniformly distributed: a hash.
  void insert(const Id128& id);
  bool may_contain(const Id128& id) const;
  std::size_t bytes() const { return words_.size() * sizeof(std::uint64_t); }

  std::string encode() const;
  // DataLoss: not what encode() made.  InvalidArgument: written by a newer release.
  static Result<IdFilter> decode(std::string_view bytes);

 private:
  IdFilter() = default;
  std::size_t first_word(const Id128& id) const;

  std::vector<std::uint64_t> words_;  // 8 a block
};

}  // namespace flagstream::transform
