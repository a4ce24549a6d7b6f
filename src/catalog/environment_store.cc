#include <algorithm>

#include "base/id.h"
#include "catalog/catalog.h"
#include "catalog/flag_json.h"
#include "catalog/items.h"
#include "catalog/limits.h"

namespace flagstream::catalog {
namespace {

constexpr MillisUtc kMillisPerYear = 366LL * 24 * 60 * 60 * 1'000;
constexpr std::size_t kKeyIdDigits = 24;

std::string resource_of(const std::string& project_key, const std::string& key) {
  return "proj/" + project_key + ":env/" + key;
}

std::string_view action_of(KeyKind kind) {
  return kind == KeyKind::Sdk ? "updateApiKey" : "updateMobileKey";
}

Result<void> check_expiry(MillisUtc expiry, MillisUtc now) {
  if (expiry > now && expiry - now <= kExpiryYearsMax * kMillisPerYear) return {};
  return fail(ErrorKind::InvalidArgument,
              "expiry must be a time to come, in milliseconds since 1970, at most " +
                  std::to_string(kExpiryYearsMax) + " years ahead; now is " + std::to_string(now));
}

// Makes the key in use an expiring one.
Result<void> keep_until(Environment& environment, KeyKind kind, std::string key,
                        MillisUtc expires) {
  auto& keys = environment.expiring_keys;
  const auto waiting = std::ranges::count(keys, kind, &ExpiringKey::kind);
  if (static_cast<std::size_t>(waiting) >= kExpiringKeysMax) {
    return fail(ErrorKind::Conflict, "there are " + std::to_string(kExpiringKeysMax) +
                                         " such keys that wait to expire already: end one first");
  }
  const auto place = std::ranges::upper_bound(keys, expires, {}, &ExpiringKey::expires);
  keys.insert(
      place,
      {.id = random_hex(kKeyIdDigits), .kind = kind, .key = std::move(key), .expires = expires});
  return {};
}

void remove_expired(std::vector<ExpiringKey>& keys, MillisUtc now) {
  std::erase_if(keys, [now](const ExpiringKey& each) { return each.expires <= now; });
}

}  // namespace

Result<void> Catalog::store_settings(const Environment& environment) {
  FS_TRY(auto store,
         database_.prepare("UPDATE environments SET secure_mode = ?2, default_ttl_minutes = ?3, "
                           "default_track_events = ?4, require_comments = ?5, "
                           "confirm_changes = ?6, critical = ?7 WHERE id = ?1"));
  const EnvironmentSettings& settings = environment.settings;
  store.bind(1, to_number(environment.id)).bind(2, settings.secure_mode ? 1 : 0);
  store.bind(3, settings.default_ttl_minutes).bind(4, settings.default_track_events ? 1 : 0);
  store.bind(5, settings.require_comments ? 1 : 0).bind(6, settings.confirm_changes ? 1 : 0);
  return store.bind(7, settings.critical ? 1 : 0).run();
}

Result<Environment> Catalog::commit_environment(const Project& project, const Environment& before,
                                                Environment after) {
  remove_expired(after.expiring_keys, now_ms());
  if (after == before) return after;
  FS_TRY(const Item published, environment_item(project, before));
  FS_TRY(Item item, environment_item(project, after));
  if (item.document != published.document) {
    item.version = after.version = before.version + 1;
    FS_TRY(after.revision, outbox().add(item));
  }
  FS_TRY(auto store,
         database_.prepare("UPDATE environments SET name = ?2, color = ?3, tags = ?4, "
                           "sdk_key = ?5, mobile_key = ?6, version = ?7, expiring_keys = ?8 "
                           "WHERE id = ?1"));
  store.bind(1, to_number(after.id)).bind(2, after.name).bind(3, after.color);
  store.bind(4, stored_tags(after.tags)).bind(5, after.sdk_key).bind(6, after.mobile_key);
  FS_TRY(store.bind(7, after.version).bind(8, stored_keys(after.expiring_keys)).run());
  FS_TRY(store_settings(after));
  return after;
}

Result<Environment> Catalog::edit_environment(const std::string& project_key,
                                              const std::string& key, const EnvironmentPatch& patch,
                                              const Actor& actor) {
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  FS_TRY(const Project in, project(project_key));
  FS_TRY(const Environment before, environment(in.id, key));
  FS_TRY(Environment after, apply(before, patch));
  FS_TRY(Environment edited, commit_environment(in, before, std::move(after)));
  FS_TRY(audit(actor, "updateEnvironment", resource_of(project_key, key), patch.comment,
               json::serialize(patch.operations)));
  FS_TRY(transaction.commit());
  return edited;
}

Result<Environment> Catalog::reset_key(const std::string& project_key, const std::string& key,
                                       KeyKind kind, std::optional<MillisUtc> expiry,
                                       const Actor& actor) {
  if (expiry) FS_TRY(check_expiry(*expiry, now_ms()));
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  FS_TRY(const Project in, project(project_key));
  FS_TRY(const Environment before, environment(in.id, key));
  Environment after = before;
  remove_expired(after.expiring_keys, now_ms());
  std::string& in_use = kind == KeyKind::Sdk ? after.sdk_key : after.mobile_key;
  std::string replaced =
      std::exchange(in_use, (kind == KeyKind::Sdk ? "sdk-" : "mob-") + random_uuid());
  if (expiry) FS_TRY(keep_until(after, kind, std::move(replaced), *expiry));
  FS_TRY(Environment reset, commit_environment(in, before, std::move(after)));
  FS_TRY(audit(actor, action_of(kind), resource_of(project_key, key), "",
               expiry ? "{\"expiry\":" + std::to_string(*expiry) + "}" : ""));
  FS_TRY(transaction.commit());
  return reset;
}

std::vector<ExpiringKey> Catalog::valid_keys(const Environment& environment) const {
  std::vector<ExpiringKey> keys = environment.expiring_keys;
  remove_expired(keys, now_ms());
  return keys;
}

Result<void> Catalog::end_key(const std::string& project_key, const std::string& key,
                              const std::string& key_id, const Actor& actor) {
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  FS_TRY(const Project in, project(project_key));
  FS_TRY(const Environment before, environment(in.id, key));
  Environment after = before;
  const auto found = std::ranges::find(after.expiring_keys, key_id, &ExpiringKey::id);
  if (found == after.expiring_keys.end() || found->expires <= now_ms())
    return fail(ErrorKind::NotFound, "no such key waits to expire");
  const KeyKind kind = found->kind;
  after.expiring_keys.erase(found);
  FS_TRY(commit_environment(in, before, std::move(after)));
  FS_TRY(audit(actor, action_of(kind), resource_of(project_key, key), "",
               "{\"ended\":" + json::quoted(key_id) + "}"));
  return transaction.commit();
}

}  // namespace flagstream::catalog
