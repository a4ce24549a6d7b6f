#include "catalog/schema.h"

#include <array>

namespace flagstream::catalog {
namespace {

// 0x4653434c is "FSCL".
constexpr std::string_view kFirst = R"sql(
PRAGMA application_id = 0x4653434c;

CREATE TABLE counters (
  name TEXT PRIMARY KEY,
  next INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counters (name, next) VALUES ('project', 1), ('environment', 1);

CREATE TABLE projects (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  tags TEXT NOT NULL DEFAULT '[]',
  created_ms INTEGER NOT NULL
);

CREATE TABLE environments (
  id INTEGER PRIMARY KEY,
  project_id INTEGER NOT NULL REFERENCES projects (id),
  key TEXT NOT NULL,
  name TEXT NOT NULL,
  color TEXT NOT NULL,
  tags TEXT NOT NULL DEFAULT '[]',
  sdk_key TEXT NOT NULL UNIQUE,
  mobile_key TEXT NOT NULL UNIQUE,
  client_side_id TEXT NOT NULL UNIQUE,
  version INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  UNIQUE (project_id, key)
);

CREATE TABLE flags (
  project_id INTEGER NOT NULL REFERENCES projects (id),
  key TEXT NOT NULL,
  version INTEGER NOT NULL,
  document TEXT NOT NULL,
  PRIMARY KEY (project_id, key)
) WITHOUT ROWID;

CREATE TABLE flag_configs (
  environment_id INTEGER NOT NULL REFERENCES environments (id),
  flag_key TEXT NOT NULL,
  version INTEGER NOT NULL,
  document TEXT NOT NULL,
  PRIMARY KEY (environment_id, flag_key)
) WITHOUT ROWID;

CREATE TABLE tombstones (
  environment_id INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  key TEXT NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY (environment_id, kind, key)
) WITHOUT ROWID;

CREATE TABLE outbox (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  environment_id INTEGER NOT NULL,
  project_id INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  key TEXT NOT NULL,
  version INTEGER NOT NULL,
  deleted INTEGER NOT NULL,
  document BLOB NOT NULL
);

CREATE TABLE access_tokens (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE,
  created_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE sessions (
  hash TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE setup_tokens (
  hash TEXT PRIMARY KEY,
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE audit (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  at_ms INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  resource TEXT NOT NULL,
  comment TEXT NOT NULL,
  detail TEXT NOT NULL
);
)sql";

constexpr std::string_view kRotation = R"sql(
ALTER TABLE environments ADD COLUMN secure_mode INTEGER NOT NULL DEFAULT 0;
ALTER TABLE environments ADD COLUMN default_ttl_minutes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE environments ADD COLUMN default_track_events INTEGER NOT NULL DEFAULT 0;
ALTER TABLE environments ADD COLUMN require_comments INTEGER NOT NULL DEFAULT 0;
ALTER TABLE environments ADD COLUMN confirm_changes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE environments ADD COLUMN critical INTEGER NOT NULL DEFAULT 0;
ALTER TABLE environments ADD COLUMN expiring_keys TEXT NOT NULL DEFAULT '[]';
)sql";

constexpr std::string_view kSegments = R"sql(
CREATE TABLE segments (
  environment_id INTEGER NOT NULL REFERENCES environments (id),
  key TEXT NOT NULL,
  version INTEGER NOT NULL,
  document TEXT NOT NULL,
  PRIMARY KEY (environment_id, key)
) WITHOUT ROWID;

CREATE TABLE membership_generations (
  generation INTEGER PRIMARY KEY,
  environment_id INTEGER NOT NULL REFERENCES environments (id)
);

CREATE TABLE memberships (
  generation INTEGER NOT NULL,
  member BLOB NOT NULL,
  state INTEGER NOT NULL,
  PRIMARY KEY (generation, member)
) WITHOUT ROWID;

CREATE TABLE membership_outbox (
  sequence INTEGER PRIMARY KEY,
  record BLOB NOT NULL
);
INSERT INTO counters (name, next) VALUES ('membership', 1);

ALTER TABLE outbox ADD COLUMN memberships INTEGER NOT NULL DEFAULT 0;
)sql";

constexpr std::array kMigrations = {kFirst, kRotation, kSegments};

}  // namespace

std::span<const std::string_view> schema_migrations() { return kMigrations; }

}  // namespace flagstream::catalog
