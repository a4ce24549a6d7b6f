#include "catalog/catalog.h"

#include <algorithm>

#include "base/assert.h"
#include "catalog/flag_json.h"
#include "catalog/items.h"
#include "catalog/limits.h"
#include "catalog/schema.h"

namespace flagstream::catalog {
namespace {

constexpr std::size_t kClientSideIdDigits = 24;
constexpr std::string_view kEnvironmentColumns =
    "SELECT id, project_id, key, name, color, tags, sdk_key, mobile_key, client_side_id, version, "
    "revision, secure_mode, default_ttl_minutes, default_track_events, require_comments, "
    "confirm_changes, critical, expiring_keys "
    "FROM environments ";

Result<void> check_label(std::string_view what, std::string_view key, std::string_view name,
                         const std::vector<std::string>& tags) {
  FS_TRY(check_key(what, key));
  FS_TRY(check_name(what, name));
  return check_tags(tags);
}

Result<Project> read_project(const sql::Statement& row) {
  FS_TRY(auto tags, read_stored_tags(row.text(3)));
  return Project{.id = ProjectId{static_cast<std::uint64_t>(row.integer(0))},
                 .key = std::string(row.text(1)),
                 .name = std::string(row.text(2)),
                 .tags = std::move(tags)};
}

Result<Environment> read_environment(const sql::Statement& row) {
  Environment environment;
  environment.id = EnvironmentId{static_cast<std::uint64_t>(row.integer(0))};
  environment.project = ProjectId{static_cast<std::uint64_t>(row.integer(1))};
  environment.key = row.text(2);
  environment.name = row.text(3);
  environment.color = row.text(4);
  FS_TRY(environment.tags, read_stored_tags(row.text(5)));
  environment.sdk_key = row.text(6);
  environment.mobile_key = row.text(7);
  environment.client_side_id = row.text(8);
  environment.version = row.integer(9);
  environment.revision = row.integer(10);
  environment.settings = {.secure_mode = row.integer(11) != 0,
                          .default_ttl_minutes = static_cast<int>(row.integer(12)),
                          .default_track_events = row.integer(13) != 0,
                          .require_comments = row.integer(14) != 0,
                          .confirm_changes = row.integer(15) != 0,
                          .critical = row.integer(16) != 0};
  FS_TRY(environment.expiring_keys, read_stored_keys(row.text(17)));
  return environment;
}

// A violated UNIQUE constraint, said in the caller's words.
Result<void> or_exists(Result<void> inserted, const std::string& what) {
  if (!inserted && inserted.error().kind == ErrorKind::Conflict) {
    return fail(ErrorKind::Conflict, what + " exists already");
  }
  return inserted;
}

}  // namespace

Result<Catalog> Catalog::open(const std::string& path, const Clock& clock) {
  FS_TRY(auto database, sql::Database::open(path));
  FS_TRY(database.migrate(schema_migrations()));
  return Catalog(std::move(database), clock);
}

Result<std::uint64_t> Catalog::next_id(std::string_view counter) {
  FS_TRY(auto take, database_.prepare(
                        "UPDATE counters SET next = next + 1 WHERE name = ?1 RETURNING next - 1"));
  FS_TRY(const bool found, take.bind(1, counter).step());
  FS_ASSERT(found, "every counter is made with the schema");
  return static_cast<std::uint64_t>(take.integer(0));
}

Result<std::vector<Project>> Catalog::projects() {
  FS_TRY(auto read, database_.prepare("SELECT id, key, name, tags FROM projects ORDER BY key"));
  std::vector<Project> all;
  for (;;) {
    FS_TRY(const bool row, read.step());
    if (!row) return all;
    FS_TRY(Project project, read_project(read));
    all.push_back(std::move(project));
  }
}

Result<Project> Catalog::project(const std::string& key) {
  FS_TRY(auto read, database_.prepare("SELECT id, key, name, tags FROM projects WHERE key = ?1"));
  FS_TRY(const bool found, read.bind(1, key).step());
  if (!found) return fail(ErrorKind::NotFound, "there is no project \"" + key + "\"");
  return read_project(read);
}

Result<Project> Catalog::create_project(const NewProject& wanted, const Actor& actor) {
  FS_TRY(check_label("a project", wanted.key, wanted.name, wanted.tags));
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  FS_TRY(const std::uint64_t id, next_id("project"));
  const Project project{
      .id = ProjectId{id}, .key = wanted.key, .name = wanted.name, .tags = wanted.tags};
  FS_TRY(auto insert,
         database_.prepare(
             "INSERT INTO projects (id, key, name, tags, created_ms) VALUES (?1, ?2, ?3, ?4, ?5)"));
  insert.bind(1, id)
      .bind(2, wanted.key)
      .bind(3, wanted.name)
      .bind(4, stored_tags(wanted.tags))
      .bind(5, now_ms());
  FS_TRY(or_exists(insert.run(), "project \"" + wanted.key + "\""));
  auto environments = wanted.environments;
  if (environments.empty()) {
    environments.push_back({.key = "test", .name = "Test", .color = "f5a623"});
    environments.push_back({.key = "production", .name = "Production"});
  }
  for (const auto& environment : environments) FS_TRY(insert_environment(project, environment));
  FS_TRY(audit(actor, "createProject", "proj/" + wanted.key, "", ""));
  FS_TRY(transaction.commit());
  return project;
}

Result<std::vector<Environment>> Catalog::environments(ProjectId project) {
  FS_TRY(auto read,
         database_.prepare(std::string(kEnvironmentColumns) + "WHERE project_id = ?1 ORDER BY id"));
  read.bind(1, to_number(project));
  std::vector<Environment> all;
  for (;;) {
    FS_TRY(const bool row, read.step());
    if (!row) return all;
    FS_TRY(Environment environment, read_environment(read));
    all.push_back(std::move(environment));
  }
}

Result<Environment> Catalog::environment(ProjectId project, const std::string& key) {
  FS_TRY(auto read, database_.prepare(std::string(kEnvironmentColumns) +
                                      "WHERE project_id = ?1 AND key = ?2"));
  FS_TRY(const bool found, read.bind(1, to_number(project)).bind(2, key).step());
  if (!found) return fail(ErrorKind::NotFound, "there is no environment \"" + key + "\"");
  return read_environment(read);
}

Result<Environment> Catalog::create_environment(const std::string& project_key,
                                                const NewEnvironment& wanted, const Actor& actor) {
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  FS_TRY(const Project in, project(project_key));
  FS_TRY(Environment created, insert_environment(in, wanted));
  FS_TRY(audit(actor, "createEnvironment", "proj/" + project_key + ":env/" + wanted.key, "", ""));
  FS_TRY(transaction.commit());
  return created;
}

Result<Environment> Catalog::insert_environment(const Project& project,
                                                const NewEnvironment& wanted) {
  FS_TRY(check_label("an environment", wanted.key, wanted.name, wanted.tags));
  FS_TRY(check_color(wanted.color));
  FS_TRY(check_settings(wanted.settings));
  FS_TRY(const std::uint64_t id, next_id("environment"));
  Environment environment{.id = EnvironmentId{id},
                          .project = project.id,
                          .key = wanted.key,
                          .name = wanted.name,
                          .color = wanted.color,
                          .tags = wanted.tags,
                          .sdk_key = "sdk-" + random_uuid(),
                          .mobile_key = "mob-" + random_uuid(),
                          .client_side_id = random_hex(kClientSideIdDigits),
                          .version = 1,
                          .settings = wanted.settings};
  FS_TRY(
      auto insert,
      database_.prepare(
          "INSERT INTO environments (id, project_id, key, name, color, tags, sdk_key, mobile_key, "
          "client_side_id, version, revision, created_ms) "
          "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0, ?11)"));
  insert.bind(1, id)
      .bind(2, to_number(project.id))
      .bind(3, wanted.key)
      .bind(4, wanted.name)
      .bind(5, wanted.color);
  insert.bind(6, stored_tags(wanted.tags))
      .bind(7, environment.sdk_key)
      .bind(8, environment.mobile_key);
  insert.bind(9, environment.client_side_id).bind(10, environment.version).bind(11, now_ms());
  FS_TRY(or_exists(insert.run(), "environment \"" + wanted.key + "\""));
  FS_TRY(store_settings(environment));
  FS_TRY(const Item item, environment_item(project, environment));
  FS_TRY(environment.revision, outbox().add(item));
  FS_TRY(const std::vector<Flag> existing, flags(project));
  for (const Flag& before : existing) {
    Flag after = before;
    after.environments.emplace(wanted.key, new_config(after, wanted.settings));
    FS_TRY(commit_edit(project, before, std::move(after)));
  }
  return environment;
}

Result<void> Catalog::audit(const Actor& actor, std::string_view action, std::string_view resource,
                            std::string_view comment, std::string_view detail) {
  FS_TRY(auto insert, database_.prepare(
                          "INSERT INTO audit (id, at_ms, actor, action, resource, comment, detail) "
                          "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"));
  insert.bind(1, random_hex(24))
      .bind(2, now_ms())
      .bind(3, actor.name)
      .bind(4, action)
      .bind(5, resource);
  return insert.bind(6, comment).bind(7, detail).run();
}

}  // namespace flagstream::catalog
