// Reads the results database (data/results.db): what the REST API and the page show.  Rows of all
// partitions and log ids of the current generation are merged here: counts are summed, times are
// minima and maxima.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "log/log.h"

namespace flagstream::analytics {

// Evaluations of one flag in one minute.
struct EvaluationPoint {
  MicrosUtc minute = 0;
  std::optional<std::int32_t> variation;  // nullopt: the application got its default value
  std::optional<std::int64_t> version;    // of the flag; nullopt: unknown to the SDK
  std::int64_t count = 0;
};

struct SdkSeen {
  std::string name;
  std::string version;
  MicrosUtc last_seen = 0;
};

struct ContextKindSeen {
  std::string kind;
  std::uint64_t contexts = 0;  // distinct keys
  MicrosUtc first_seen = 0;
  MicrosUtc last_seen = 0;
};

struct CustomEventPoint {
  MicrosUtc minute = 0;
  std::string key;
  std::int64_t count = 0;
};

struct PayloadTotals {
  std::uint64_t accepted = 0;
  std::uint64_t duplicate = 0;
  std::uint64_t rejected = 0;
  std::uint64_t events = 0;  // accepted SDK events
  std::uint64_t events_rejected = 0;
};

// How far the results reach, for one partition of `payloads`.
struct Progress {
  Id128 payloads_log_id;
  log::Partition partition = 0;
  log::Offset next_offset = 0;  // every payload below it is in the results
  MicrosUtc received = 0;       // received time of the last one
};

// Records of `events` that were deleted before they were counted.
struct Gap {
  Id128 events_log_id;
  log::Partition partition = 0;
  log::Offset begin = 0;
  log::Offset end = 0;
  MicrosUtc received_before = 0;  // the highest received time counted before the gap was found
};

// Not thread-safe.
class ResultsReader {
 public:
  // A file that does not exist yet reads as empty, now and until it exists.
  static Result<std::unique_ptr<ResultsReader>> open(const std::string& path);
  ~ResultsReader();

  // By minute, then variation, then version; minutes in [from, to).
  Result<std::vector<EvaluationPoint>> evaluations(EnvironmentId environment, std::string_view flag,
                                                   MicrosUtc from, MicrosUtc to);
  // flag -> variation -> evaluations ever.
  using Totals = std::map<std::string, std::map<std::optional<std::int32_t>, std::int64_t>>;
  Result<Totals> evaluation_totals(EnvironmentId environment);
  // The newest minute that has evaluations; nullopt if there is none.
  Result<std::optional<MicrosUtc>> newest_minute(EnvironmentId environment);
  // When the first evaluation was seen (its minute).
  Result<std::optional<MicrosUtc>> first_evaluation(EnvironmentId environment);
  Result<std::vector<SdkSeen>> sdks(EnvironmentId environment);
  Result<std::vector<ContextKindSeen>> context_kinds(EnvironmentId environment);
  Result<std::vector<CustomEventPoint>> custom_events(EnvironmentId environment, MicrosUtc from,
                                                      MicrosUtc to);
  Result<PayloadTotals> payloads(EnvironmentId environment);
  // Of every partition, every payloads log id.
  Result<std::vector<Progress>> progress();
  // By log id, partition and offset.
  Result<std::vector<Gap>> gaps();
  // Changes whenever anything above may have changed (SQLite's data_version).
  Result<std::uint64_t> change_counter();

 private:
  struct State;
  explicit ResultsReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace flagstream::analytics
