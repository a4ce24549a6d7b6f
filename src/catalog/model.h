// What people edit: projects, environments and flags as the REST API shows them.  Plain data; every
// change is made by the instruction engine (instructions.h) or by creation, and stored by Catalog
// (catalog.h).
//
// A flag has a part that belongs to its project (name, variations, tags) and one FlagConfig per
// environment. Values of users (variation values, clause values) are kept as JSON text, exactly as
// they were typed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/id.h"

namespace flagstream::catalog {

using MillisUtc = std::int64_t;

struct Variation {
  std::string id = {};  // UUID; what instructions refer to
  std::string value_json = {};
  std::string name = {};  // empty: none
  std::string description = {};

  friend bool operator==(const Variation&, const Variation&) = default;
};

struct WeightedVariation {
  int variation = 0;  // index
  int weight = 0;     // of 100,000
  bool untracked = false;

  friend bool operator==(const WeightedVariation&, const WeightedVariation&) = default;
};

inline constexpr int kWeightsTotal = 100'000;

struct Rollout {
  std::vector<WeightedVariation> variations = {};
  std::string context_kind = "user";
  std::string bucket_by = {};  // empty: the key
  std::optional<std::int64_t> seed = {};

  friend bool operator==(const Rollout&, const Rollout&) = default;
};

// What a rule or the fallthrough serves: the index of one variation, or a rollout over several.
using Serve = std::variant<int, Rollout>;

struct Clause {
  std::string id = {};
  std::string context_kind = "user";
  std::string attribute = {};
  std::string op = {};
  std::vector<std::string> values_json = {};
  bool negate = false;

  friend bool operator==(const Clause&, const Clause&) = default;
};

struct Rule {
  std::string id = {};
  std::string ref = {};
  std::string description = {};
  std::vector<Clause> clauses = {};
  Serve serve = 0;
  bool track_events = false;

  friend bool operator==(const Rule&, const Rule&) = default;
};

struct Target {
  std::string context_kind = "user";
  std::vector<std::string> values = {};
  int variation = 0;

  friend bool operator==(const Target&, const Target&) = default;
};

struct Prerequisite {
  std::string key = {};
  int variation = 0;

  friend bool operator==(const Prerequisite&, const Prerequisite&) = default;
};

// A flag in one environment.
struct FlagConfig {
  bool on = false;
  bool archived = false;
  std::string salt = {};  // random at creation, never changes
  MillisUtc last_modified = 0;
  std::int64_t version = 0;  // +1 on any change, never decreases, survives delete and re-create
  std::vector<Target> targets = {};          // kind user
  std::vector<Target> context_targets = {};  // all other kinds
  std::vector<Rule> rules = {};
  Serve fallthrough = 0;
  std::optional<int> off_variation = {};
  std::vector<Prerequisite> prerequisites = {};
  bool track_events = false;
  bool track_events_fallthrough = false;

  friend bool operator==(const FlagConfig&, const FlagConfig&) = default;
};

struct ClientSideAvailability {
  bool using_mobile_key = false;
  bool using_environment_id = false;

  friend bool operator==(const ClientSideAvailability&, const ClientSideAvailability&) = default;
};

struct Flag {
  std::string key = {};
  std::string name = {};
  std::string description = {};
  std::int64_t version = 0;  // of the whole, +1 per edit
  MillisUtc created = 0;
  std::vector<Variation> variations = {};
  int default_on_variation = 0;  // what new environments serve
  int default_off_variation = 1;
  std::vector<std::string> tags = {};
  bool temporary = false;
  bool archived = false;
  ClientSideAvailability client_side;
  std::map<std::string, FlagConfig> environments = {};  // by environment key

  friend bool operator==(const Flag&, const Flag&) = default;
};

// "boolean" if the variations are true and false, else "multivariate".
std::string kind_of(const Flag& flag);
// Index of the variation with that id; nullopt if there is none.
std::optional<int> variation_index(const Flag& flag, std::string_view id);

// What people set for an environment, beside its labels.
struct EnvironmentSettings {
  bool secure_mode = false;           // browsers must prove their context with a hash
  int default_ttl_minutes = 0;        // how long the PHP SDK may keep an answer; 0: not at all
  bool default_track_events = false;  // of new flags
  // Kept for clients, which ask their users; nothing here depends on them.
  bool require_comments = false;
  bool confirm_changes = false;
  bool critical = false;

  friend bool operator==(const EnvironmentSettings&, const EnvironmentSettings&) = default;
};

enum class KeyKind { Sdk, Mobile };
std::string_view to_string(KeyKind kind);  // "sdk", "mobile"

// A key that was replaced by another, and still opens its environment for a while.
struct ExpiringKey {
  std::string id = {};  // random: names the key without telling it
  KeyKind kind = KeyKind::Sdk;
  std::string key = {};
  MillisUtc expires = 0;  // refused from then on

  friend bool operator==(const ExpiringKey&, const ExpiringKey&) = default;
};

struct Environment {
  EnvironmentId id{};
  ProjectId project{};
  std::string key = {};
  std::string name = {};
  std::string color = {};  // six hex digits
  std::vector<std::string> tags = {};
  std::string sdk_key = {};
  std::string mobile_key = {};
  std::string client_side_id = {};
  std::int64_t version = 0;
  std::int64_t revision = 0;  // of the last change to anything in it; dense from 1
  EnvironmentSettings settings = {};
  // By expiry.  Those that have expired leave with the next change of the environment.
  std::vector<ExpiringKey> expiring_keys = {};

  friend bool operator==(const Environment&, const Environment&) = default;
};

struct Project {
  ProjectId id{};
  std::string key = {};
  std::string name = {};
  std::vector<std::string> tags = {};
};

// Who changes something, for the audit log.
struct Actor {
  std::string name = {};
};

}  // namespace flagstream::catalog
