#include "catalog/outbox.h"

namespace flagstream::catalog {

Result<std::int64_t> Outbox::add(const Item& item) {
  FS_TRY(auto raise,
         database_.prepare(
             "UPDATE environments SET revision = revision + 1 WHERE id = ?1 RETURNING revision"));
  FS_TRY(const bool found, raise.bind(1, to_number(item.environment)).step());
  if (!found) return fail(ErrorKind::NotFound, "there is no such environment");
  const std::int64_t revision = raise.integer(0);
  raise.reset();
  FS_TRY(add_at(item, revision));
  return revision;
}

Result<void> Outbox::add_at(const Item& item, std::int64_t revision) {
  FS_TRY(auto insert,
         database_.prepare(
             "INSERT INTO outbox (environment_id, project_id, revision, kind, key, version, "
             "deleted, document, memberships) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"));
  insert.bind(1, to_number(item.environment)).bind(2, to_number(item.project)).bind(3, revision);
  insert.bind(4, static_cast<int>(item.kind)).bind(5, item.key).bind(6, item.version);
  insert.bind(7, item.deleted ? 1 : 0).bind_blob(8, item.document);
  return insert.bind(9, item.memberships).run();
}

Result<std::vector<Change>> Outbox::oldest(std::size_t count_max, std::size_t bytes_max) {
  FS_TRY(auto read,
         database_.prepare(
             "SELECT sequence, environment_id, project_id, revision, kind, key, version, "
             "deleted, document, memberships FROM outbox ORDER BY sequence LIMIT ?1"));
  read.bind(1, count_max);
  std::vector<Change> changes;
  std::size_t bytes = 0;
  for (;;) {
    FS_TRY(const bool row, read.step());
    if (!row) return changes;
    bytes += read.text(8).size();
    if (!changes.empty() && bytes > bytes_max) return changes;
    Change change{.sequence = read.integer(0), .revision = read.integer(3), .item = {}};
    change.item.environment = EnvironmentId{static_cast<std::uint64_t>(read.integer(1))};
    change.item.project = ProjectId{static_cast<std::uint64_t>(read.integer(2))};
    change.item.kind = static_cast<ItemKind>(read.integer(4));
    change.item.key = read.text(5);
    change.item.version = read.integer(6);
    change.item.deleted = read.integer(7) != 0;
    change.item.document = read.text(8);
    change.item.memberships = read.integer(9);
    changes.push_back(std::move(change));
  }
}

Result<void> Outbox::remove_through(std::int64_t sequence) {
  FS_TRY(auto remove, database_.prepare("DELETE FROM outbox WHERE sequence <= ?1"));
  return remove.bind(1, sequence).run();
}

Result<void> Outbox::remove_published(EnvironmentId environment, std::int64_t revision) {
  FS_TRY(auto remove,
         database_.prepare("DELETE FROM outbox WHERE environment_id = ?1 AND revision <= ?2"));
  return remove.bind(1, to_number(environment)).bind(2, revision).run();
}

Result<std::int64_t> Outbox::count(EnvironmentId environment) {
  FS_TRY(auto read, database_.prepare("SELECT count(*) FROM outbox WHERE environment_id = ?1"));
  FS_TRY(read.bind(1, to_number(environment)).step());
  return read.integer(0);
}

Result<std::vector<Item>> Outbox::tombstones() {
  FS_TRY(auto read,
         database_.prepare("SELECT t.environment_id, e.project_id, t.kind, t.key, t.version "
                           "FROM tombstones t JOIN environments e ON e.id = t.environment_id "
                           "WHERE NOT EXISTS (SELECT 1 FROM flag_configs c WHERE t.kind = 2 AND "
                           "c.environment_id = t.environment_id AND c.flag_key = t.key) "
                           "AND NOT EXISTS (SELECT 1 FROM segments s WHERE t.kind = 3 AND "
                           "s.environment_id = t.environment_id AND s.key = t.key)"));
  std::vector<Item> all;
  for (;;) {
    FS_TRY(const bool row, read.step());
    if (!row) return all;
    all.push_back(Item{.environment = EnvironmentId{static_cast<std::uint64_t>(read.integer(0))},
                       .project = ProjectId{static_cast<std::uint64_t>(read.integer(1))},
                       .kind = static_cast<ItemKind>(read.integer(2)),
                       .key = std::string(read.text(3)),
                       .version = read.integer(4),
                       .deleted = true,
                       .document = {}});
  }
}

Result<std::int64_t> Outbox::tombstone_version(EnvironmentId environment, ItemKind kind,
                                               const std::string& key) {
  FS_TRY(
      auto read,
      database_.prepare(
          "SELECT version FROM tombstones WHERE environment_id = ?1 AND kind = ?2 AND key = ?3"));
  read.bind(1, to_number(environment)).bind(2, static_cast<int>(kind)).bind(3, key);
  FS_TRY(const bool found, read.step());
  return found ? read.integer(0) : 0;
}

Result<void> Outbox::bury(const Item& item) {
  FS_TRY(auto insert,
         database_.prepare("INSERT INTO tombstones (environment_id, kind, key, version) "
                           "VALUES (?1, ?2, ?3, ?4) ON CONFLICT (environment_id, kind, key) "
                           "DO UPDATE SET version = max(version, excluded.version)"));
  insert.bind(1, to_number(item.environment))
      .bind(2, static_cast<int>(item.kind))
      .bind(3, item.key);
  return insert.bind(4, item.version).run();
}

}  // namespace flagstream::catalog
