#include <algorithm>
#include <set>

#include "catalog/catalog.h"
#include "catalog/items.h"

namespace flagstream::catalog {
namespace {

const PublishedItem* find(const PublishedEnvironment& published, ItemKind kind,
                          const std::string& key) {
  const auto found = published.items.find({kind, key});
  return found == published.items.end() ? nullptr : &found->second;
}

bool is_published(const PublishedItem* published, const Item& item) {
  return published != nullptr && !published->deleted && published->version == item.version &&
         published->document == item.document;
}

}  // namespace

Result<Reconciled> Catalog::reconcile(const Published& published) {
  Reconciled result;
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  std::set<EnvironmentId> known;
  FS_TRY(const auto all_projects, projects());
  for (const Project& project : all_projects) {
    FS_TRY(const auto in_environments, environments(project.id));
    for (const Environment& each : in_environments) {
      known.insert(each.id);
      const auto found = published.find(each.id);
      const std::int64_t in_log = found == published.end() ? 0 : found->second.revision;
      if (in_log > each.revision) {
        result.environments_behind += 1;
        FS_TRY(const std::size_t changes, raise_environment(project, each, found->second));
        result.changes += changes;
        continue;
      }
      FS_TRY(outbox().remove_published(each.id, in_log));
      FS_TRY(const std::int64_t waiting, outbox().count(each.id));
      result.log_is_behind |= in_log + waiting < each.revision;
    }
  }
  for (const auto& [id, environment] : published) {
    if (known.contains(id)) continue;
    FS_TRY(const std::size_t changes, delete_unknown(id, environment));
    result.changes += changes;
    FS_TRY(auto raise,
           database_.prepare("UPDATE counters SET next = max(next, ?2) WHERE name = ?1"));
    FS_TRY(raise.bind(1, "environment").bind(2, to_number(id) + 1).run());
    FS_TRY(raise.bind(1, "project").bind(2, to_number(environment.project) + 1).run());
  }
  FS_TRY(transaction.commit());
  return result;
}

Result<std::size_t> Catalog::raise_environment(const Project& project,
                                               const Environment& environment,
                                               const PublishedEnvironment& published) {
  // What waits was numbered before the log went on without this database.
  FS_TRY(outbox().remove_published(environment.id, environment.revision));
  FS_TRY(auto raise, database_.prepare("UPDATE environments SET revision = ?2 WHERE id = ?1"));
  FS_TRY(raise.bind(1, to_number(environment.id)).bind(2, published.revision).run());
  std::size_t changes = 0;
  FS_TRY(Item item, environment_item(project, environment));
  const PublishedItem* in_log = find(published, ItemKind::Environment, item.key);
  if (!is_published(in_log, item)) {
    item.version = std::max(item.version, in_log == nullptr ? 0 : in_log->version) + 1;
    FS_TRY(auto store, database_.prepare("UPDATE environments SET version = ?2 WHERE id = ?1"));
    FS_TRY(store.bind(1, to_number(environment.id)).bind(2, item.version).run());
    FS_TRY(outbox().add(item));
    changes += 1;
  }
  KnownItems known;
  FS_TRY(const std::size_t in_flags, raise_flags(project, environment, published, known));
  FS_TRY(const std::size_t in_segments, raise_segments(project, environment, published, known));
  FS_TRY(const std::size_t deleted, delete_items(project, environment, published, known));
  return changes + in_flags + in_segments + deleted;
}

Result<std::size_t> Catalog::raise_flags(const Project& project, const Environment& environment,
                                         const PublishedEnvironment& published, KnownItems& known) {
  std::size_t changes = 0;
  FS_TRY(auto in_flags, flags(project));
  for (Flag& flag : in_flags) {
    const auto config = flag.environments.find(environment.key);
    if (config == flag.environments.end()) continue;
    known.emplace(ItemKind::Flag, flag.key);
    const PublishedItem* in_log = find(published, ItemKind::Flag, flag.key);
    if (is_published(in_log, flag_item(project, environment, flag))) continue;
    config->second.version =
        std::max(config->second.version, in_log == nullptr ? 0 : in_log->version) + 1;
    FS_TRY(store_config(environment.id, flag.key, config->second));
    FS_TRY(outbox().add(flag_item(project, environment, flag)));
    changes += 1;
  }
  return changes;
}

Result<std::size_t> Catalog::raise_segments(const Project& project, const Environment& environment,
                                            const PublishedEnvironment& published,
                                            KnownItems& known) {
  std::size_t changes = 0;
  FS_TRY(auto in_segments, segments(environment.id));
  for (Segment& segment : in_segments) {
    known.emplace(ItemKind::Segment, segment.key);
    const PublishedItem* in_log = find(published, ItemKind::Segment, segment.key);
    if (is_published(in_log, segment_item(project.id, environment.id, segment))) continue;
    segment.version = std::max(segment.version, in_log == nullptr ? 0 : in_log->version) + 1;
    FS_TRY(store_segment(environment.id, segment));
    Item item = segment_item(project.id, environment.id, segment);
    if (segment.unbounded) {
      FS_TRY(item.memberships, members().last_sequence());
    }
    FS_TRY(outbox().add(item));
    changes += 1;
  }
  return changes;
}

Result<std::size_t> Catalog::delete_items(const Project& project, const Environment& environment,
                                          const PublishedEnvironment& published,
                                          const KnownItems& known) {
  std::size_t changes = 0;
  for (const auto& [name, in_log] : published.items) {
    const auto& [kind, key] = name;
    if (kind == ItemKind::Environment || known.contains(name)) continue;
    Item gone{.environment = environment.id,
              .project = project.id,
              .kind = kind,
              .key = key,
              .version = in_log.deleted ? in_log.version : in_log.version + 1,
              .deleted = true,
              .document = {}};
    FS_TRY(outbox().bury(gone));
    if (in_log.deleted) continue;
    FS_TRY(outbox().add(gone));
    changes += 1;
  }
  return changes;
}

Result<std::size_t> Catalog::delete_unknown(EnvironmentId id,
                                            const PublishedEnvironment& published) {
  std::size_t changes = 0;
  // A delete may wait from a start that was cut short; it is made anew.
  FS_TRY(outbox().remove_published(id, published.revision + 1));
  for (const auto& [name, in_log] : published.items) {
    if (name.first != ItemKind::Environment || in_log.deleted) continue;
    FS_TRY(outbox().add_at(Item{.environment = id,
                                .project = published.project,
                                .kind = ItemKind::Environment,
                                .key = name.second,
                                .version = in_log.version + 1,
                                .deleted = true,
                                .document = {}},
                           published.revision + 1));
    changes += 1;
  }
  return changes;
}

}  // namespace flagstream::catalog
