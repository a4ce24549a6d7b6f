// The editing side: projects, environments and flags in data/catalog.db, and every change of them
// handed to the outbox in the same transaction.
//
// A Catalog belongs to one thread at a time; several may be open on one file.  Errors: NotFound and
// Conflict name the thing; InvalidArgument says what is wrong with the input, also when a flag
// would be a document that SDKs disagree about; others are the database's.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "catalog/access.h"
#include "catalog/environment_patch.h"
#include "catalog/instructions.h"
#include "catalog/members.h"
#include "catalog/model.h"
#include "catalog/outbox.h"
#include "catalog/published.h"
#include "catalog/segment.h"
#include "sql/database.h"

namespace flagstream::catalog {

struct NewEnvironment {
  std::string key;
  std::string name;
  std::string color = "417505";
  std::vector<std::string> tags = {};
  EnvironmentSettings settings = {};
};

struct NewProject {
  std::string key;
  std::string name;
  std::vector<std::string> tags = {};
  std::vector<NewEnvironment> environments = {};  // none: Test and Production
};

struct NewVariation {
  std::string value_json;
  std::string name = {};
  std::string description = {};
};

struct NewFlag {
  std::string key;
  std::string name;
  std::string description = {};
  std::vector<NewVariation> variations = {};  // none: true and false
  std::vector<std::string> tags = {};
  bool temporary = false;
  ClientSideAvailability client_side = {};
  std::optional<int> on_variation = {};   // default 0
  std::optional<int> off_variation = {};  // default: the last
  bool is_on = false;
};

// Where a segment lives.
struct EnvironmentPath {
  std::string project_key;
  std::string environment_key;
};

enum class DryRun { No, Yes };

struct Reconciled {
  std::size_t environments_behind = 0;  // in which the log was ahead of this database
  std::size_t changes = 0;              // handed to the outbox because of that
  bool log_is_behind = false;  // it lacks changes that left the outbox: only a copy can repair it
};

class Catalog {
 public:
  // Creates or migrates the file.  `clock` must outlive the catalog.
  static Result<Catalog> open(const std::string& path, const Clock& clock);

  Result<std::vector<Project>> projects();
  Result<Project> project(const std::string& key);
  Result<Project> create_project(const NewProject& wanted, const Actor& actor);

  // By key.
  Result<std::vector<Environment>> environments(ProjectId project);
  Result<Environment> environment(ProjectId project, const std::string& key);
  Result<Environment> create_environment(const std::string& project_key,
                                         const NewEnvironment& wanted, const Actor& actor);
  // The environment after the patch.
  Result<Environment> edit_environment(const std::string& project_key, const std::string& key,
                                       const EnvironmentPatch& patch, const Actor& actor);
  // Gives it a new SDK or mobile key.  The one before it opens the environment until `expiry`, or
  // no longer if there is none. InvalidArgument: `expiry` is past, or more than
  // kExpiryYearsMax years ahead; Conflict: kExpiringKeysMax of that kind wait to expire already.
  Result<Environment> reset_key(const std::string& project_key, const std::string& key,
                                KeyKind kind, std::optional<MillisUtc> expiry, const Actor& actor);
  // Those expiring keys that still open it.
  std::vector<ExpiringKey> valid_keys(const Environment& environment) const;
  // Ends an expiring key before its time.
  Result<void> end_key(const std::string& project_key, const std::string& key,
                       const std::string& key_id, const Actor& actor);

  // By key, with all their environments.
  Result<std::vector<Flag>> flags(const Project& project);
  Result<Flag> flag(const Project& project, const std::string& key);
  Result<Flag> create_flag(const std::string& project_key, const NewFlag& wanted,
                           const Actor& actor);
  // The flag after the patch.  A dry run answers the same and stores nothing.
  Result<Flag> edit_flag(const std::string& project_key, const std::string& key,
                         const SemanticPatch& patch, const Actor& actor,
                         DryRun dry_run = DryRun::No);
  Result<void> delete_flag(const std::string& project_key, const std::string& key,
                           const Actor& actor);

  // By key.
  Result<std::vector<Segment>> segments(EnvironmentId environment);
  Result<Segment> segment(EnvironmentId environment, const std::string& key);
  Result<Segment> create_segment(const EnvironmentPath& in, const NewSegment& wanted,
                                 const Actor& actor);
  Result<Segment> edit_segment(const EnvironmentPath& in, const std::string& key,
                               const SemanticPatch& patch, const Actor& actor,
                               DryRun dry_run = DryRun::No);
  // Conflict: a flag or another segment of the environment uses it.
  Result<void> delete_segment(const EnvironmentPath& in, const std::string& key,
                              const Actor& actor);
  // Adds and removes contexts of a big segment.  Conflict: it is none.
  Result<Segment> change_members(const EnvironmentPath& in, const std::string& key,
                                 const MemberChange& change, const Actor& actor);

  // Brings the catalog above what the topic `config` says already, before anything else changes
  // either. Changes that are in the log leave the outbox.  Where the log is ahead (this database is
  // a restored backup), revisions, versions and id counters are raised above it, and every
  // difference goes to the outbox, deletes included.
  Result<Reconciled> reconcile(const Published& published);

  // Every item of every environment at its current version: what the topic `config` must come to.
  Result<std::vector<Item>> items();

  // Of every environment.
  Result<std::map<EnvironmentId, std::int64_t>> revisions();

  sql::Database& database() { return database_; }
  Access access() { return Access(database_, clock_); }
  Outbox outbox() { return Outbox(database_); }
  Members members() { return Members(database_); }

 private:
  Catalog(sql::Database database, const Clock& clock)
      : database_(std::move(database)), clock_(clock) {}

  MillisUtc now_ms() const { return clock_.now() / kMicrosPerMilli; }
  Result<std::uint64_t> next_id(std::string_view counter);
  Result<Environment> insert_environment(const Project& project, const NewEnvironment& wanted);
  Result<void> store_settings(const Environment& environment);
  // Stores it where it differs from `before`; hands it to the outbox, with a higher version, where
  // gateways see a difference.
  Result<Environment> commit_environment(const Project& project, const Environment& before,
                                         Environment after);
  Result<void> store_flag(const Project& project, const Flag& flag);
  Result<void> store_config(EnvironmentId environment, const std::string& key,
                            const FlagConfig& config);
  // Raises versions where the flag differs from `before`, stores it and hands what changed to the
  // outbox.
  Result<Flag> commit_edit(const Project& project, const Flag& before, Flag after);
  struct Place {
    Project project;
    Environment environment;
  };
  Result<Place> place_of(const EnvironmentPath& path);
  Result<void> store_segment(EnvironmentId environment, const Segment& segment);
  // Raises the version, checks, stores and hands it to the outbox.
  Result<Segment> commit_segment(const Place& in, Segment segment, std::int64_t memberships);
  Result<void> check_unused(const Place& in, const std::string& key);
  using KnownItems = std::set<std::pair<ItemKind, std::string>>;
  Result<std::size_t> raise_environment(const Project& project, const Environment& environment,
                                        const PublishedEnvironment& published);
  Result<std::size_t> raise_flags(const Project& project, const Environment& environment,
                                  const PublishedEnvironment& published, KnownItems& known);
  Result<std::size_t> raise_segments(const Project& project, const Environment& environment,
                                     const PublishedEnvironment& published, KnownItems& known);
  // What the log has and this database does not know.
  Result<std::size_t> delete_items(const Project& project, const Environment& environment,
                                   const PublishedEnvironment& published, const KnownItems& known);
  Result<std::size_t> delete_unknown(EnvironmentId id, const PublishedEnvironment& published);
  Result<void> audit(const Actor& actor, std::string_view action, std::string_view resource,
                     std::string_view comment, std::string_view detail);

  sql::Database database_;
  const Clock& clock_;
};

// What a flag is in an environment before anybody edits it there: off, with a salt of its own.
FlagConfig new_config(const Flag& flag, const EnvironmentSettings& environment);

}  // namespace flagstream::catalog
