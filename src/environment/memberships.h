// Who belongs to which big segment: the reading side of the topic `memberships`.
//
// A follower thread reads the topic from its beginning and keeps every membership in memory.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "log/log.h"
#include "telemetry/metrics.h"

namespace flagstream::environment {

// Thread-safe.
class Memberships {
 public:
  enum class State {
    Absent,   // there is no such topic: nobody keeps memberships
    Loading,  // not yet read to the end that it had at the start, or not known whether it exists
    Current,
    Stale,  // its end was not reached for two minutes, or part of it is lost
  };

  // Follows from now on, once the topic exists.  `log` and `clock` must outlive it.
  static std::unique_ptr<Memberships> start(log::Log& log, const Clock& clock,
                                            telemetry::Registry& registry);
  ~Memberships();

  State state() const;
  // True: included; false: excluded; nullopt: neither, or an unknown generation.
  std::optional<bool> find(std::uint64_t generation, std::string_view context_key) const;
  // Blocks until the change of that number has been applied; Unavailable after the deadline.
  Result<void> wait_for(std::uint64_t sequence, std::chrono::milliseconds deadline);

 private:
  class Follower;
  explicit Memberships(std::unique_ptr<Follower> follower);
  std::unique_ptr<Follower> follower_;
};

}  // namespace flagstream::environment
