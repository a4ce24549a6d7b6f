// The stage `lake`: folds the topic `events` into the Delta table `events`, each event exactly
// once.
//
// Its whole state is in the table's own transaction log.  Every commit holds, beside the files it
// adds, one transaction mark per partition with the position that it read to and two with the
// highest source taken (names: lake_marks.h).  So the output and the knowledge of what has been
// output change in one atomic step, and a restart has nothing to reconcile: it reads the log, opens
// the topic at the marked positions and goes on.
//
//     read frames -> drop repeats by source -> rows in memory -> Parquet files, synced -> commit
//     (link)
//
// Single-threaded: one thread calls run().
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "io/file_system.h"
#include "lake/duckdb_library.h"
#include "lake/lake_probe.h"
#include "log/log.h"

namespace flagstream::lake {

enum class OnGap { Stop, Continue };

struct LakeSettings {
  std::string folder;  // of the table, e.g. DATA/lake/events
  std::string topic = "events";
  std::vector<log::Partition> partitions;  // empty: all
  std::uint64_t generation = 0;
  std::chrono::microseconds commit_interval =
      std::chrono::seconds(30);                 // from the first record after a commit
  std::uint64_t commit_bytes = 128ull << 20;    // of input
  std::uint64_t file_rows_max = 250'000;        // rows are in memory until their file is written
  std::uint64_t file_bytes_max = 128ull << 20;  // memory of those rows
  std::int64_t checkpoint_commits = 100;
  // Files that no commit names are removed after so long, or after two commit intervals if that is
  // longer.
  std::chrono::microseconds orphan_age = std::chrono::hours(1);
  // What is committed after this long if only ticks were read: positions alone, so that an idle
  // stage does not fall behind retention.
  std::chrono::microseconds position_interval = std::chrono::hours(1);
  std::uint64_t memory_bytes_max = 1ull << 30;  // DuckDB's
  std::size_t read_bytes_max = 8ull << 20;
  std::chrono::milliseconds poll = std::chrono::milliseconds(200);
  OnGap on_gap = OnGap::Stop;
  // At the critical mark the lake takes and commits nothing until there is room.  Called with each
  // turn; empty: there are no marks.
  std::function<log::DiskMark()> disk_mark = nullptr;
};

class LakeStage {
 public:
  // `log`, `files`, `clock`, `registry` and `duckdb` must outlive it.  Makes the table if there is
  // none.  `files` must be the machine's own, for DuckDB writes Delta's checkpoints to it.  The
  // topic need not exist yet.
  static Result<std::unique_ptr<LakeStage>> open(LakeSettings settings, const DuckDb& duckdb,
                                                 log::Log& log, io::FileSystem& files,
                                                 const Clock& clock, telemetry::Registry& registry);
  ~LakeStage();

  // Folds until asked to stop, then commits what it holds and returns.  An error leaves the table
  // whole; open a new stage to go on.  DataLoss: a gap in the topic (see LakeSettings::on_gap), or
  // positions in the table that the topic does not reach.  InvalidArgument: records or a table of a
  // newer release.
  Result<void> run(std::stop_token stop);

  // One turn of run(): reads what is there (waiting at most settings.poll), commits if it is time.
  Result<void> turn();
  // Commits what is held now.
  Result<void> commit();

  const LakeProbe& probe() const;

 private:
  class Fold;
  explicit LakeStage(std::unique_ptr<Fold> fold);
  std::unique_ptr<Fold> fold_;
};

}  // namespace flagstream::lake
