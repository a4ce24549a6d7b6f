// Writes the results database.  One writer per process is shared by the folds of all partitions;
// what several folds publish at the same moment goes into one transaction.
//
// An upsert applies only where its position is greater than the row's: a stage that restarts from
// its checkpoint repeats older values, which change nothing until it has caught up.
//
// A commit survives a crash of the process at once, a power loss only after SQLite's next sync.
// What a power loss takes away is a suffix of the commits; `published` goes with them and tells the
// stage from where to publish again.
//
// Rows by minute are deleted when they are older than any event may be late; totals stay for ever.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "analytics/results_schema.h"
#include "base/error.h"
#include "base/id.h"
#include "log/log.h"
#include "sql/database.h"
#include "telemetry/metrics.h"

namespace flagstream::analytics {

// Everything that one partition of `events` has changed up to `position`.
struct Publication {
  Id128 log_id;
  log::Partition partition = 0;
  log::Offset position = 0;
  std::span<const ResultRow> rows;
  // Minutes before this one may be deleted, those of other partitions too.
  MicrosUtc oldest_minute = 0;
};

// Old minutes are deleted by so many at once.
inline constexpr std::int64_t kExpiryStep = 10 * kMicrosPerMinute;

// Thread-safe.
class ResultsWriter {
 public:
  // Makes the file if needed.  Rows are written with `generation`.  Conflict: the file was made by
  // a newer release.
  static Result<std::unique_ptr<ResultsWriter>> open(const std::string& path,
                                                     std::uint64_t generation,
                                                     telemetry::Registry& registry);

  // All or nothing; repeatable.
  Result<void> publish(const Publication& publication);

  // The position up to which every change of the partition is in the database; 0 if none is.
  Result<log::Offset> published(const Id128& log_id, log::Partition partition);

  // Readers see this writer's generation from now on.
  Result<void> make_current();

 private:
  struct Probe {
    explicit Probe(telemetry::Registry& registry);
    telemetry::Counter transactions;
    telemetry::Counter rows_applied;
    telemetry::Counter rows_refused;
    telemetry::Counter rows_expired;
  };
  struct Waiting {
    const Publication* publication;
    std::optional<Result<void>> outcome;
  };

  ResultsWriter(sql::Database database, std::uint64_t generation, telemetry::Registry& registry);
  Result<void> prepare();
  Result<void> write(std::span<Waiting* const> batch);
  Result<void> write_one(const Publication& publication);
  Result<void> expire(MicrosUtc oldest_minute);
  Result<void> upsert(const Publication& publication, const std::string& log_id,
                      const ResultRow& row);

  std::uint64_t generation_;
  Probe probe_;

  std::mutex database_mutex_;
  sql::Database database_;
  std::vector<sql::Statement> upserts_;  // by Table
  std::optional<sql::Statement> note_published_;
  MicrosUtc expired_before_ = 0;

  std::mutex queue_mutex_;
  std::condition_variable finished_;
  std::vector<Waiting*> queue_;
  bool is_writing_ = false;
};

}  // namespace flagstream::analytics
