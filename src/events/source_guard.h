// Drops what a reader of `events` or `rejects.*` has already taken: a stage that restarts repeats
// the outputs since its last checkpoint, in the same order as before.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/id.h"

namespace flagstream::events {

// Where a record was made from, within one source log.
struct SourcePosition {
  std::uint64_t offset = 0;
  std::uint32_t index = 0;
  std::uint32_t part = 0;
  friend auto operator<=>(const SourcePosition&, const SourcePosition&) = default;
};

// The highest source taken from one input partition, by source log id.  Not thread-safe.
class SourceGuard {
 public:
  // Whether a record made from `position` is new, which it then is no longer.
  bool take(const Id128& log_id, const SourcePosition& position);

  // For a checkpoint: (log id: 16 bytes, offset:u64be, index:u32be, part:u32be)*, by log id.
  std::string encode() const;
  // DataLoss: not what encode() made.
  static Result<SourceGuard> decode(std::string_view bytes);

 private:
  std::map<Id128, SourcePosition> highest_;
};

}  // namespace flagstream::events
