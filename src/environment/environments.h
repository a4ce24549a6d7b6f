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

// What a request brought, as it is looked up: made once, and safe to keep.
struct Credential {
  // The SHA-256 of a key's text; a client-side id, which is no secret, stays itself.
  static Credential of(CredentialKind kind, std::string_view text);

  CredentialKind kind = CredentialKind::SdkKey;
  std::string name;
};

// One item as server-side SDKs get it.
struct FlagSetItem {
  std::int64_t version = 0;
  std::shared_ptr<const std::string> json;  // compact; null: deleted
  // Of the change that made it so; that of the copy where it came in one.
  std::uint64_t revision = 0;
};

// Checks the hashes that one SDK key made.
struct HashKey {
  std::string hmac_state;  // of hmac_sha256_hex_from(); empty: it is not known
  MicrosUtc expires = 0;   // of the SDK key; 0: never
};

// The flags and segments of one environment at one revision.  Immutable.
struct FlagSet {
  EnvironmentId environment{};
  // Revisions compare within one generation only: another one begins with another log.
  std::uint64_t generation = 0;
  std::uint64_t revision = 0;
  std::string client_side_id;
  // Requests by client-side id need a hash of their context, made with one of the SDK keys.
  bool secure_mode = false;
  std::vector<HashKey> hash_keys;      // one for each SDK key, expired ones included
  std::chrono::minutes cache_time{0};  // how long the PHP SDK may keep an answer
  std::string project_key;
  std::string environment_key;
  std::string environment_name;
  bool has_mobile_key = false;
  std::map<std::string, FlagSetItem, std::less<>> flags;
  std::map<std::string, FlagSetItem, std::less<>> segments;
  // {"flags":{...},"segments":{...}}: one buffer that all connections share.
  std::shared_ptr<const std::string> all_json;
  std::string fingerprint;  // of all_json, 32 hex digits; the same in every gateway
  // Digests of the contents at the last revisions, the last at `revision`; the same in every
  // gateway.  Who has the contents of a revision in here gets to this flag set by the items,
  // tombstones included, of a higher revision.
  std::vector<std::uint64_t> digests;
  std::uint64_t newest_item = 0;  // the highest revision of an item

  std::uint64_t digest() const { return digests.empty() ? 0 : digests.back(); }
  // Whether its contents at that revision are known to have had that digest.
  bool had(std::uint64_t at_revision, std::uint64_t digest) const {
    const std::uint64_t back = revision - at_revision;
    return at_revision <= revision && back < digests.size() &&
           digests[digests.size() - 1 - back] == digest;
  }
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
  // Called on the follower's thread before changes are shown that belong to memberships through
  // this number (memberships.h); may block for a moment.  Empty: nobody keeps memberships.
  std::function<void(std::uint64_t)> read_memberships = {};
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
  const Clock& clock() const;

  // The environment that the credential opens now.  nullopt: not known (read up to the end before
  // believing it).
  std::optional<EnvironmentId> find(const Credential& credential) const;
  std::optional<EnvironmentId> find(CredentialKind kind, std::string_view credential) const {
    return find(Credential::of(kind, credential));
  }
  // Whether it opened an environment until it expired.
  bool has_expired(const Credential& credential) const;
  // Rises after credentials have come or gone: what find() did not know at one number, it does not
  // know at the same number later.
  std::uint64_t credentials_version() const;
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

  // `wake` is called on the follower's thread after changes of that environment, and within 0.2 s
  // after one of its keys has expired, until the subscription is dropped.
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
