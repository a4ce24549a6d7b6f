// The stage's state in a table: transaction marks (Delta's `txn`) by application id.
//
//     flagstream/GENERATION/LOG/PARTITION                  version = offset after the last frame
//     read flagstream/GENERATION/LOG/PARTITION/gap              version = records passed over
//     because the log lost them flagstream/GENERATION/LOG/PARTITION/SOURCE/offset    version =
//     highest source taken: its offset flagstream/GENERATION/LOG/PARTITION/SOURCE/event     version
//     = its index << 32 | its part
//
// LOG is the log id of the topic read and SOURCE that of the topic that its records were made from,
// 32 hex digits each.  The last kind may go down when its `offset` goes up; the others only grow.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/id.h"
#include "events/source_guard.h"
#include "lake/delta_state.h"
#include "log/log.h"

namespace flagstream::lake {

struct PartitionProgress {
  log::Offset next_offset = 0;  // first record not yet read
  std::uint64_t gap_records = 0;
  std::map<Id128, events::SourcePosition> highest;  // by source log id

  // Whether a record from `at` is new, which it then is no longer.
  bool take(const Id128& source_log, const events::SourcePosition& at);
};

struct MarkScope {
  std::uint64_t generation = 0;
  Id128 log_id;
};

std::string position_app_id(const MarkScope& scope, log::Partition partition);

// The marks that say `progress`.
std::vector<TransactionMark> marks_of(const MarkScope& scope, log::Partition partition,
                                      const PartitionProgress& progress, std::int64_t now_ms);

// Records of the topic that the marks do not cover yet; ticks at the ends do not count.  For health
// checks.
std::uint64_t records_behind(const std::map<std::string, TransactionMark>& marks,
                             std::uint64_t generation, const log::TopicInfo& topic);

// The progress of a partition as a table's marks say it; all zero if they do not.  DataLoss: marks
// of ours that cannot be.
Result<PartitionProgress> progress_in(const TableState& state, const MarkScope& scope,
                                      log::Partition partition);

}  // namespace flagstream::lake
