// Rollouts: which variation a share of all contexts gets.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "flags/attribute_reference.h"
#include "flags/context.h"
#include "flags/document.h"
#include "flags/key_set.h"
#include "flags/sha1.h"

namespace flagstream::flags {

// A place in [0, 1), as 60 bits: its value is bits / 2^60.
struct Bucket {
  std::uint64_t bits = 0;
  bool has_context = true;  // false: the context has no member of the kind, so the bucket is 0
};

// How contexts are put into buckets.  Does not own the characters of its kind.
class Bucketing {
 public:
  // Hashes "<seed>.<attribute>" with a seed, else "<key>.<salt>.<attribute>".  `by` empty: the key.
  struct Options {
    std::string_view context_kind;  // empty: user, and `by` is a name, not a path
    std::string_view by;
    std::string_view key;
    std::string_view salt;
    std::optional<std::int64_t> seed;
  };
  explicit Bucketing(const Options& options);

  // The attribute's reference can be read; otherwise the flag is malformed.
  bool is_valid() const { return is_by_key_ || by_.is_valid(); }
  // An attribute that is absent or neither text nor a whole number gives bucket 0.
  Bucket bucket(const Context& context) const {
    const IndividualContext* individual = context.find(kind_);
    if (individual == nullptr) return {.bits = 0, .has_context = false};
    return {.bits = is_by_key_ ? hash_.first_60_bits(individual->key) : bits_by(*individual)};
  }

 private:
  std::uint64_t bits_by(const IndividualContext& individual) const;

  Name kind_;
  bool is_by_key_;
  AttributeReference by_;
  PrefixedSha1 hash_;
};

// The lowest bucket that is no longer below `share` (1 is everything).
std::uint64_t bucket_limit(double share);

struct Rollout {
  struct Entry {
    std::uint64_t limit = 0;  // buckets below it, and not below the one before; never falls
    std::int64_t variation = -1;
    bool is_untracked = false;
  };
  // Small enough for two registers.
  struct Choice {
    std::int64_t variation = -1;  // negative: the flag is malformed
    bool is_in_experiment = false;
  };

  bool is_experiment = false;
  Bucketing bucketing;
  std::vector<Entry> entries;

  Choice choose(const Context& context) const {
    if (entries.empty() || !bucketing.is_valid()) return {};
    const Bucket bucket = bucketing.bucket(context);
    // Counted without a branch: no processor can foresee where a hash falls.  The last entry gets
    // the rest where the shares are less than everything; as in SDKs, whoever gets the rest is in
    // the experiment, even without a context of its kind (where all shares are nothing).
    std::size_t index = 0;
    for (const Entry& entry : entries) index += bucket.bits >= entry.limit ? 1 : 0;
    const Entry& chosen = entries[std::min(index, entries.size() - 1)];
    const bool takes_part = bucket.has_context || index == entries.size();
    return {.variation = chosen.variation,
            .is_in_experiment = is_experiment && takes_part && !chosen.is_untracked};
  }
};

// `node` is an object whose members have the types they should have; key and salt are the flag's.
Rollout read_rollout(const Node& node, std::string_view key, std::string_view salt);

// Whole numbers may be written with a fraction of zeros; anything else is -1, which no list has.
std::int64_t index_of(const Node& number);

}  // namespace flagstream::flags
