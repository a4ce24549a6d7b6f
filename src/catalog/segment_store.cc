#include <algorithm>

#include "base/id.h"
#include "catalog/catalog.h"
#include "catalog/check_clause.h"
#include "catalog/items.h"
#include "catalog/limits.h"

namespace flagstream::catalog {
namespace {

constexpr std::size_t kSaltDigits = 32;

std::string resource_of(const EnvironmentPath& in, const std::string& key) {
  return "proj/" + in.project_key + ":env/" + in.environment_key + ":segment/" + key;
}

bool names(const std::vector<Clause>& clauses, const std::string& key) {
  const auto named = segments_in(clauses);
  return std::find(named.begin(), named.end(), key) != named.end();
}

std::unexpected<Error> in_use(const std::string& key, const std::string& by) {
  return fail(ErrorKind::Conflict, "segment \"" + key + "\" is used by " + by);
}

}  // namespace

Result<Catalog::Place> Catalog::place_of(const EnvironmentPath& path) {
  FS_TRY(Project in, project(path.project_key));
  FS_TRY(Environment there, environment(in.id, path.environment_key));
  return Place{std::move(in), std::move(there)};
}

Result<std::vector<Segment>> Catalog::segments(EnvironmentId environment) {
  FS_TRY(auto read,
         database_.prepare("SELECT document FROM segments WHERE environment_id = ?1 ORDER BY key"));
  read.bind(1, to_number(environment));
  std::vector<Segment> all;
  for (;;) {
    FS_TRY(const bool row, read.step());
    if (!row) return all;
    FS_TRY(Segment segment, read_stored_segment(read.text(0)));
    all.push_back(std::move(segment));
  }
}

Result<Segment> Catalog::segment(EnvironmentId environment, const std::string& key) {
  FS_TRY(auto read,
         database_.prepare("SELECT document FROM segments WHERE environment_id = ?1 AND key = ?2"));
  FS_TRY(const bool found, read.bind(1, to_number(environment)).bind(2, key).step());
  if (!found) return fail(ErrorKind::NotFound, "there is no segment \"" + key + "\"");
  return read_stored_segment(read.text(0));
}

Result<Segment> Catalog::create_segment(const EnvironmentPath& in, const NewSegment& wanted,
                                        const Actor& actor) {
  FS_TRY(check_key("a segment", wanted.key));
  FS_TRY(check_name("a segment", wanted.name));
  FS_TRY(check_text("a description", wanted.description));
  FS_TRY(check_tags(wanted.tags));
  FS_TRY(check_kind(wanted.unbounded_context_kind));
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  FS_TRY(const Place place, place_of(in));
  const auto existing = segment(place.environment.id, wanted.key);
  if (existing) return fail(ErrorKind::Conflict, "segment \"" + wanted.key + "\" exists already");
  if (existing.error().kind != ErrorKind::NotFound) return existing;
  Segment made{.key = wanted.key,
               .name = wanted.name,
               .description = wanted.description,
               .tags = wanted.tags,
               .created = now_ms(),
               .salt = random_hex(kSaltDigits),
               .unbounded = wanted.unbounded,
               .unbounded_context_kind = wanted.unbounded_context_kind};
  if (made.unbounded) {
    FS_TRY(made.generation, members().begin_generation(place.environment.id));
  }
  const std::int64_t memberships = made.generation;
  FS_TRY(Segment created, commit_segment(place, std::move(made), memberships));
  FS_TRY(audit(actor, "createSegment", resource_of(in, wanted.key), "", ""));
  FS_TRY(transaction.commit());
  return created;
}

Result<Segment> Catalog::edit_segment(const EnvironmentPath& in, const std::string& key,
                                      const SemanticPatch& patch, const Actor& actor,
                                      DryRun dry_run) {
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  FS_TRY(const Place place, place_of(in));
  FS_TRY(const Segment before, segment(place.environment.id, key));
  FS_TRY(Segment after, apply(before, patch.instructions, [] { return random_uuid(); }));
  if (after != before) {
    FS_TRY(after, commit_segment(place, std::move(after), 0));
  }
  FS_TRY(audit(actor, "updateSegment", resource_of(in, key), patch.comment,
               to_json(patch.instructions)));
  if (dry_run == DryRun::No) FS_TRY(transaction.commit());
  return after;
}

Result<Segment> Catalog::change_members(const EnvironmentPath& in, const std::string& key,
                                        const MemberChange& change, const Actor& actor) {
  for (const auto* list : {&change.included_add, &change.excluded_add}) {
    for (const std::string& each : *list) FS_TRY(check_context_key(each));
  }
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  FS_TRY(const Place place, place_of(in));
  FS_TRY(Segment changed, segment(place.environment.id, key));
  if (!changed.unbounded)
    return fail(ErrorKind::Conflict, "segment \"" + key + "\" is no big segment (unbounded)");
  if (change.size() == 0) return changed;
  FS_TRY(const std::int64_t sequence,
         members().change(place.environment.id, changed.generation, change));
  // The document says nothing of its members, but a new revision makes everybody evaluate anew.
  FS_TRY(changed, commit_segment(place, std::move(changed), sequence));
  FS_TRY(audit(actor, "updateBigSegmentTargets", resource_of(in, key), "",
               std::to_string(change.size()) + " contexts"));
  FS_TRY(transaction.commit());
  return changed;
}

Result<void> Catalog::delete_segment(const EnvironmentPath& in, const std::string& key,
                                     const Actor& actor) {
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  FS_TRY(const Place place, place_of(in));
  FS_TRY(const Segment gone, segment(place.environment.id, key));
  FS_TRY(check_unused(place, key));
  Item item = segment_item(place.project.id, place.environment.id, gone);
  item.version = gone.version + 1;
  item.deleted = true;
  item.document.clear();
  if (gone.unbounded) FS_TRY(members().end_generation(place.environment.id, gone.generation));
  FS_TRY(outbox().bury(item));
  FS_TRY(outbox().add(item));
  FS_TRY(auto remove,
         database_.prepare("DELETE FROM segments WHERE environment_id = ?1 AND key = ?2"));
  FS_TRY(remove.bind(1, to_number(place.environment.id)).bind(2, key).run());
  FS_TRY(audit(actor, "deleteSegment", resource_of(in, key), "", ""));
  return transaction.commit();
}

Result<void> Catalog::check_unused(const Place& in, const std::string& key) {
  FS_TRY(const auto all_flags, flags(in.project));
  for (const Flag& flag : all_flags) {
    const auto config = flag.environments.find(in.environment.key);
    if (config == flag.environments.end()) continue;
    for (const Rule& rule : config->second.rules) {
      if (names(rule.clauses, key)) return in_use(key, "flag \"" + flag.key + "\"");
    }
  }
  FS_TRY(const auto all_segments, segments(in.environment.id));
  for (const Segment& each : all_segments) {
    for (const SegmentRule& rule : each.rules) {
      if (names(rule.clauses, key)) return in_use(key, "segment \"" + each.key + "\"");
    }
  }
  return {};
}

Result<Segment> Catalog::commit_segment(const Place& in, Segment segment,
                                        std::int64_t memberships) {
  FS_TRY(const auto buried,
         outbox().tombstone_version(in.environment.id, ItemKind::Segment, segment.key));
  segment.version = std::max(segment.version, buried) + 1;
  segment.last_modified = now_ms();
  FS_TRY(const auto others, segments(in.environment.id));
  FS_TRY(check_for_publication(segment, others));
  FS_TRY(store_segment(in.environment.id, segment));
  Item item = segment_item(in.project.id, in.environment.id, segment);
  item.memberships = memberships;
  FS_TRY(outbox().add(item));
  return segment;
}

Result<void> Catalog::store_segment(EnvironmentId environment, const Segment& segment) {
  FS_TRY(auto insert, database_.prepare(
                          "INSERT INTO segments (environment_id, key, version, document) "
                          "VALUES (?1, ?2, ?3, ?4) ON CONFLICT (environment_id, key) DO UPDATE SET "
                          "version = excluded.version, document = excluded.document"));
  insert.bind(1, to_number(environment)).bind(2, segment.key).bind(3, segment.version);
  return insert.bind(4, stored_segment(segment)).run();
}

}  // namespace flagstream::catalog
