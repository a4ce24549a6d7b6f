#include <algorithm>

#include "base/id.h"
#include "catalog/catalog.h"
#include "catalog/flag_json.h"
#include "catalog/items.h"
#include "catalog/limits.h"

namespace flagstream::catalog {
namespace {

constexpr std::size_t kSaltDigits = 32;

std::string resource_of(const std::string& project_key, const std::string& flag_key) {
  return "proj/" + project_key + ":env/*:flag/" + flag_key;
}

Result<int> checked_variation(std::optional<int> wanted, int fallback, std::size_t count) {
  const int variation = wanted.value_or(fallback);
  if (variation < 0 || static_cast<std::size_t>(variation) >= count) {
    return fail(ErrorKind::InvalidArgument, "defaults must be indexes of variations");
  }
  return variation;
}

Result<Flag> build_flag(const NewFlag& wanted, MillisUtc now) {
  FS_TRY(check_key("a flag", wanted.key));
  FS_TRY(check_name("a flag", wanted.name));
  FS_TRY(check_text("a description", wanted.description));
  FS_TRY(check_tags(wanted.tags));
  Flag flag;
  flag.key = wanted.key;
  flag.name = wanted.name;
  flag.description = wanted.description;
  flag.created = now;
  flag.tags = wanted.tags;
  flag.temporary = wanted.temporary;
  flag.client_side = wanted.client_side;
  auto variations = wanted.variations;
  if (variations.empty()) variations = {{.value_json = "true"}, {.value_json = "false"}};
  if (variations.size() > kVariationsMax) {
    return fail(ErrorKind::InvalidArgument,
                "a flag has at most " + std::to_string(kVariationsMax) + " variations");
  }
  for (auto& each : variations) {
    if (!each.name.empty()) FS_TRY(check_name("a variation", each.name));
    FS_TRY(check_text("a description", each.description));
    flag.variations.push_back({random_uuid(), std::move(each.value_json), std::move(each.name),
                               std::move(each.description)});
  }
  FS_TRY(flag.default_on_variation, checked_variation(wanted.on_variation, 0, variations.size()));
  FS_TRY(flag.default_off_variation,
         checked_variation(wanted.off_variation, static_cast<int>(variations.size()) - 1,
                           variations.size()));
  return flag;
}

}  // namespace

FlagConfig new_config(const Flag& flag, const EnvironmentSettings& environment) {
  FlagConfig config;
  config.salt = random_hex(kSaltDigits);
  config.fallthrough = flag.default_on_variation;
  config.off_variation = flag.default_off_variation;
  config.track_events = environment.default_track_events;
  return config;
}

Result<std::vector<Flag>> Catalog::flags(const Project& project) {
  FS_TRY(auto read,
         database_.prepare("SELECT document FROM flags WHERE project_id = ?1 ORDER BY key"));
  read.bind(1, to_number(project.id));
  std::vector<Flag> all;
  for (;;) {
    FS_TRY(const bool row, read.step());
    if (!row) break;
    FS_TRY(Flag flag, read_stored_flag(read.text(0)));
    all.push_back(std::move(flag));
  }
  FS_TRY(
      auto configs,
      database_.prepare("SELECT e.key, c.flag_key, c.document FROM flag_configs c "
                        "JOIN environments e ON e.id = c.environment_id WHERE e.project_id = ?1"));
  configs.bind(1, to_number(project.id));
  for (;;) {
    FS_TRY(const bool row, configs.step());
    if (!row) return all;
    const auto flag =
        std::lower_bound(all.begin(), all.end(), configs.text(1),
                         [](const Flag& each, std::string_view key) { return each.key < key; });
    if (flag == all.end() || flag->key != configs.text(1)) continue;
    FS_TRY(FlagConfig config, read_stored_config(configs.text(2)));
    flag->environments.emplace(configs.text(0), std::move(config));
  }
}

Result<Flag> Catalog::flag(const Project& project, const std::string& key) {
  FS_TRY(auto read,
         database_.prepare("SELECT document FROM flags WHERE project_id = ?1 AND key = ?2"));
  FS_TRY(const bool found, read.bind(1, to_number(project.id)).bind(2, key).step());
  if (!found) return fail(ErrorKind::NotFound, "there is no flag \"" + key + "\"");
  FS_TRY(Flag flag, read_stored_flag(read.text(0)));
  FS_TRY(
      auto configs,
      database_.prepare("SELECT e.key, c.document FROM environments e JOIN flag_configs c "
                        "ON c.environment_id = e.id WHERE e.project_id = ?1 AND c.flag_key = ?2"));
  configs.bind(1, to_number(project.id)).bind(2, key);
  for (;;) {
    FS_TRY(const bool row, configs.step());
    if (!row) return flag;
    FS_TRY(FlagConfig config, read_stored_config(configs.text(1)));
    flag.environments.emplace(configs.text(0), std::move(config));
  }
}

Result<Flag> Catalog::create_flag(const std::string& project_key, const NewFlag& wanted,
                                  const Actor& actor) {
  FS_TRY(Flag after, build_flag(wanted, now_ms()));
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  FS_TRY(const Project in, project(project_key));
  const auto existing = flag(in, wanted.key);
  if (existing) return fail(ErrorKind::Conflict, "flag \"" + wanted.key + "\" exists already");
  if (existing.error().kind != ErrorKind::NotFound) return existing;
  FS_TRY(const auto in_environments, environments(in.id));
  for (const Environment& each : in_environments) {
    FlagConfig config = new_config(after, each.settings);
    config.on = wanted.is_on;
    after.environments.emplace(each.key, std::move(config));
  }
  FS_TRY(Flag created, commit_edit(in, Flag(), std::move(after)));
  FS_TRY(audit(actor, "createFlag", resource_of(project_key, wanted.key), "", ""));
  FS_TRY(transaction.commit());
  return created;
}

Result<Flag> Catalog::edit_flag(const std::string& project_key, const std::string& key,
                                const SemanticPatch& patch, const Actor& actor, DryRun dry_run) {
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  FS_TRY(const Project in, project(project_key));
  FS_TRY(const Flag before, flag(in, key));
  FS_TRY(Flag after, apply(before, patch.instructions, [] { return random_uuid(); }));
  FS_TRY(Flag edited, commit_edit(in, before, std::move(after)));
  FS_TRY(audit(actor, "updateFlag", resource_of(project_key, key), patch.comment,
               to_json(patch.instructions)));
  if (dry_run == DryRun::No) FS_TRY(transaction.commit());
  return edited;
}

Result<Flag> Catalog::commit_edit(const Project& project, const Flag& before, Flag after) {
  if (after == before) return after;
  after.version = before.version + 1;
  FS_TRY(const auto in_environments, environments(project.id));
  for (const Environment& each : in_environments) {
    const auto config = after.environments.find(each.key);
    if (config == after.environments.end()) continue;
    const auto old = before.environments.find(each.key);
    const bool is_same = old != before.environments.end() && old->second == config->second &&
                         sdk_flag(before, old->second) == sdk_flag(after, config->second);
    if (is_same) continue;
    FS_TRY(const auto buried, outbox().tombstone_version(each.id, ItemKind::Flag, after.key));
    const std::int64_t last = old == before.environments.end() ? 0 : old->second.version;
    config->second.version = std::max(last, buried) + 1;
    config->second.last_modified = now_ms();
    Item item = flag_item(project, each, after);
    FS_TRY(check_for_publication(after, config->second, item));
    FS_TRY(store_config(each.id, after.key, config->second));
    FS_TRY(outbox().add(item));
  }
  FS_TRY(store_flag(project, after));
  return after;
}

Result<void> Catalog::store_flag(const Project& project, const Flag& flag) {
  FS_TRY(auto insert,
         database_.prepare(
             "INSERT INTO flags (project_id, key, version, document) VALUES (?1, ?2, ?3, ?4) "
             "ON CONFLICT (project_id, key) DO UPDATE SET version = excluded.version, "
             "document = excluded.document"));
  return insert.bind(1, to_number(project.id))
      .bind(2, flag.key)
      .bind(3, flag.version)
      .bind(4, stored_flag(flag))
      .run();
}

Result<void> Catalog::store_config(EnvironmentId environment, const std::string& key,
                                   const FlagConfig& config) {
  FS_TRY(auto insert,
         database_.prepare(
             "INSERT INTO flag_configs (environment_id, flag_key, version, document) "
             "VALUES (?1, ?2, ?3, ?4) ON CONFLICT (environment_id, flag_key) DO UPDATE SET "
             "version = excluded.version, document = excluded.document"));
  insert.bind(1, to_number(environment)).bind(2, key).bind(3, config.version);
  return insert.bind(4, stored_config(config)).run();
}

Result<void> Catalog::delete_flag(const std::string& project_key, const std::string& key,
                                  const Actor& actor) {
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  FS_TRY(const Project in, project(project_key));
  FS_TRY(const Flag gone, flag(in, key));
  FS_TRY(const auto in_environments, environments(in.id));
  for (const Environment& each : in_environments) {
    const auto config = gone.environments.find(each.key);
    if (config == gone.environments.end()) continue;
    const Item item{.environment = each.id,
                    .project = in.id,
                    .kind = ItemKind::Flag,
                    .key = key,
                    .version = config->second.version + 1,
                    .deleted = true,
                    .document = {}};
    FS_TRY(outbox().bury(item));
    FS_TRY(outbox().add(item));
    FS_TRY(
        auto remove,
        database_.prepare("DELETE FROM flag_configs WHERE environment_id = ?1 AND flag_key = ?2"));
    FS_TRY(remove.bind(1, to_number(each.id)).bind(2, key).run());
  }
  FS_TRY(auto remove, database_.prepare("DELETE FROM flags WHERE project_id = ?1 AND key = ?2"));
  FS_TRY(remove.bind(1, to_number(in.id)).bind(2, key).run());
  FS_TRY(audit(actor, "deleteFlag", resource_of(project_key, key), "", ""));
  return transaction.commit();
}

Result<std::map<EnvironmentId, std::int64_t>> Catalog::revisions() {
  FS_TRY(auto read, database_.prepare("SELECT id, revision FROM environments"));
  std::map<EnvironmentId, std::int64_t> all;
  for (;;) {
    FS_TRY(const bool row, read.step());
    if (!row) return all;
    all[EnvironmentId{static_cast<std::uint64_t>(read.integer(0))}] = read.integer(1);
  }
}

Result<std::vector<Item>> Catalog::items() {
  std::vector<Item> all;
  FS_TRY(const auto all_projects, projects());
  for (const Project& each : all_projects) {
    FS_TRY(const auto in_environments, environments(each.id));
    FS_TRY(const auto in_flags, flags(each));
    for (const Environment& environment : in_environments) {
      FS_TRY(Item item, environment_item(each, environment));
      all.push_back(std::move(item));
      for (const Flag& flag : in_flags) {
        if (flag.environments.contains(environment.key))
          all.push_back(flag_item(each, environment, flag));
      }
      FS_TRY(const auto in_segments, segments(environment.id));
      for (const Segment& segment : in_segments)
        all.push_back(segment_item(each.id, environment.id, segment));
    }
  }
  return all;
}

}  // namespace flagstream::catalog
