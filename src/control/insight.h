// What the page and the usage API show of an environment: evaluations, SDKs, the pipeline's health.
// Reads the results database, the ends of the log's topics and the lake's progress.
//
// Belongs to one thread; every call may block on a disk.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "analytics/results_reader.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "catalog/catalog.h"
#include "log/log.h"

namespace flagstream::control {

// How far the lake's table `events` reaches.
struct LakeStatus {
  std::int64_t version = -1;   // of the last commit; -1: there is no table yet
  MicrosUtc committed_at = 0;  // 0: nothing is committed yet
  // The first record of the topic `events` that is not in it; a partition that is missing begins at
  // its begin.
  std::map<log::Partition, log::Offset> next_offsets = {};
};

// Minutes in [from, to), microseconds UTC.
struct TimeRange {
  MicrosUtc from = 0;
  MicrosUtc to = 0;
};

class Insight {
 public:
  struct Sources {
    catalog::Catalog catalog;
    std::unique_ptr<analytics::ResultsReader> results;
    log::Log& log;
    const Clock& clock;
    std::function<Result<LakeStatus>()> lake;  // empty: there is no lake
  };
  explicit Insight(Sources sources) : sources_(std::move(sources)) {}

  // NotFound names what does not exist.
  Result<catalog::Environment> environment(const std::string& project, const std::string& key);

  // Each a JSON object as docs/protocols/rest.md shows it.
  Result<std::string> usage(const catalog::Environment& environment, const std::string& flag,
                            TimeRange range);
  Result<std::string> health(EnvironmentId environment);
  Result<std::string> evaluations(EnvironmentId environment);
  Result<std::string> sdks(EnvironmentId environment);

  // Changes whenever evaluations() or sdks() may have.
  Result<std::uint64_t> change_counter() { return sources_.results->change_counter(); }

 private:
  struct Lag {
    std::uint64_t payloads = 0;
    double seconds = 0;
  };
  Result<Lag> payloads_lag();
  Result<std::uint64_t> lake_lag(const LakeStatus& lake);

  Sources sources_;
};

}  // namespace flagstream::control
