// The reading side of the topic `config`: what a gateway knows of every environment, always whole
// and consistent.
//
// A follower thread reads `config` from its newest complete copy (or from the last state on disk)
// and publishes immutable snapshots.  Readers take the current one without waiting.  The state is
// saved to disk, so that a gateway starts and serves while nothing else runs.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "io/file_system.h"
#include "log/log.h"
#include "telemetry/metrics.h"

namespace flagstream::environment {

enum class CredentialKind { SdkKey, MobileKey, ClientSideId };

// One item as server-side SDKs get it.
struct FlagSetItem {
  std::int64_t version = 0;
  std::shared_ptr<const std::string> json;  // compact; null: deleted
};

// The flags and segments of one environment at one revision.  Immutable.
struct FlagSet {
  EnvironmentId environment{};
  // Revisions compare within one generation only: another one begins with another log.
  std::uint64_t generation = 0;
  std::uint64_t revision = 0;
  std::string client_side_id;
  std::string project_key;
  std::string environment_key;
  std::string environment_name;
  bool has_mobile_key = false;
  std::map<std::string, FlagSetItem, std::less<>> flags;
  std::map<std::string, FlagSetItem, std::less<>> segments;
  // {"flags":{...},"segments":{...}}: one buffer that all connections share.
  std::shared_ptr<const std::string> all_json;
  std::string fingerprint;  // of all_json, 32 hex digits; the same in every gateway
};

// What a stream has sent.
struct SeenRevision {
  std::uint64_t generation = 0;
  std::uint64_t revision = 0;
};

// One change, as it was applied: for streams that already have the revision before it.
struct FlagChange {
  std::uint64_t revision = 0;
  enum class Kind { Flag, Segment } kind = Kind::Flag;
  std::string key;
  FlagSetItem item;
};

struct FollowerSettings {
  std::string state_path;  // file with the last state
  std::chrono::milliseconds catch_up_deadline{2'000};
};

// Thread-safe.
class Environments {
 public:
  static constexpr std::size_t kWaitingMax = 100'000;

  // Loads the last state from disk if there is one and follows from there.  Neither a missing topic
  // nor a missing state is an error: it follows once the topic exists.  All must outlive it.
  static Result<std::unique_ptr<Environments>> start(FollowerSettings settings, log::Log& log,
                                                     io::FileSystem& files, const Clock& clock,
                                                     telemetry::Registry& registry);
  ~Environments();

  // Whether any environment was ever loaded, whole: before that no credential is known to be
  // unknown.
  bool has_configuration() const;
  // Age of the newest thing known to be current: microseconds since the end of `config` was last
  // reached, in this process or before it.
  std::int64_t age() const;

  // The environment that the credential opens now.  nullopt: not known (read up to the end before
  // believing it).
  std::optional<EnvironmentId> find(CredentialKind kind, std::string_view credential) const;
  // The same of an SDK key or a mobile key, by its digest (32 bytes).
  std::optional<EnvironmentId> find_by_sha256(CredentialKind kind, const std::string& digest) const;
  // All environments that are there now.
  std::vector<std::shared_ptr<const FlagSet>> flag_sets() const;
  // Null: no such environment.
  std::shared_ptr<const FlagSet> flag_set(EnvironmentId id) const;

  // Calls `done` on the follower's thread, once everything that `config` held at the call has been
  // applied; with Unavailable after the deadline, when the topic cannot be read, when part of it is
  // missing, or when more than kWaitingMax calls wait.  Once a deadline has passed, calls fail at
  // once until the end is reached again: an outage costs requests no more than one wait.  May call
  // `done` before it returns.
  void read_to_end(std::move_only_function<void(Result<void>)> done);

  // `wake` is called on the follower's thread after changes of that environment, until the
  // subscription is dropped.
  class Subscription {
   public:
    virtual ~Subscription() = default;
  };
  std::unique_ptr<Subscription> subscribe(EnvironmentId id, std::function<void()> wake);
  // The changes after what was seen, in order, up to what flag_set() gives at that moment; nullopt:
  // too long ago, or the whole flag set was replaced after it: send the flag set instead.
  std::optional<std::vector<std::shared_ptr<const FlagChange>>> changes_since(
      EnvironmentId id, SeenRevision seen) const;

 private:
  class Follower;
  explicit Environments(std::unique_ptr<Follower> follower);
  std::unique_ptr<Follower> follower_;
};

}  // namespace flagstream::environment
