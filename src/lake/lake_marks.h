// The stage's state in a table: transaction marks (Delta's `txn`) by application id.
//
//     flagstream/GENERATION/LOG/PARTITION                  version = offset after the last frame read
//     flagstream/GENERATION/LOG/PARTITION/SOURCE/offset    version = highest source taken: its offset
//     flagstream/GENERATION/LOG/PARTITION/SOURCE/event     version = its index << 32 | its part
//
// LOG is the log id of the topic read and SOURCE that of the topic that its records were made from, 32 hex
// digits each.  The last kind may go down when its `offset` goes up; the others only grow.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "lake/delta_state.h"
#include "log/log.h"

namespace flagstream::lake {

// Where a record was made from, within one source log.
struct SourcePosition {
  std::uint64_t offset = 0;
  std::uint32_t index = 0;
  std::uint32_t part = 0;
  friend auto operator<=>(const SourcePosition&, const SourcePosition&) = default;
};

struct PartitionProgress {
  log::Offset next_offset = 0;                // first record not yet read
  std::map<Id128, SourcePosition> highest;    // by source log id

  // Whether a record from `at` is new, which it then is no longer.
  bool take(const Id128& source_log, const SourcePosition& at);
};

struct MarkScope {
  std::uint64_t generation = 0;
  Id128 log_id;
};

std::string position_app_id(const MarkScope& scope, log::Partition partition);

// The marks that say `progress`.
std::vector<TransactionMark> marks_of(const MarkScope& scope, log::Partition partition,
                                      const PartitionProgress& progress, std::int64_t now_ms);

// The progress of a partition as a table's marks say it; all zero if they do not.  DataLoss: marks of ours
// that cannot be.
Result<PartitionProgress> progress_in(const TableState& state, const MarkScope& scope, log::Partition partition);

}  // namespace flagstream::lake
