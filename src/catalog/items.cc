#include "catalog/items.h"

#include <utility>

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "catalog/flag_json.h"
#include "environment/config_record.h"

namespace flagstream::catalog {

namespace {

void add_credential(environment::proto::Environment& to, environment::proto::Credential::Kind kind,
                    std::string_view key, MillisUtc expires = 0) {
  auto* credential = to.add_credentials();
  credential->set_kind(kind);
  credential->set_sha256(sha256(key));
  credential->set_expires_us(expires * kMicrosPerMilli);
}

environment::proto::Credential::Kind kind_of(KeyKind kind) {
  switch (kind) {
    case KeyKind::Sdk:
      return environment::proto::Credential::SDK_KEY;
    case KeyKind::Mobile:
      return environment::proto::Credential::MOBILE_KEY;
  }
  std::unreachable();
}

}  // namespace

Result<Item> environment_item(const Project& project, const Environment& environment) {
  environment::proto::Environment document;
  document.set_project_key(project.key);
  document.set_key(environment.key);
  document.set_name(environment.name);
  document.set_client_side_id(environment.client_side_id);
  add_credential(document, environment::proto::Credential::SDK_KEY, environment.sdk_key);
  add_credential(document, environment::proto::Credential::MOBILE_KEY, environment.mobile_key);
  for (const ExpiringKey& each : environment.expiring_keys)
    add_credential(document, kind_of(each.kind), each.key, each.expires);
  document.set_secure_mode(environment.settings.secure_mode);
  document.set_cache_minutes(environment.settings.default_ttl_minutes);
  FS_TRY(std::string encoded, environment::encode_environment(document));
  return Item{.environment = environment.id,
              .project = project.id,
              .kind = ItemKind::Environment,
              .key = environment.key,
              .version = environment.version,
              .deleted = false,
              .document = std::move(encoded)};
}

Item flag_item(const Project& project, const Environment& environment, const Flag& flag) {
  const auto config = flag.environments.find(environment.key);
  FS_ASSERT(config != flag.environments.end(), "the flag has a config for the environment");
  return Item{.environment = environment.id,
              .project = project.id,
              .kind = ItemKind::Flag,
              .key = flag.key,
              .version = config->second.version,
              .deleted = false,
              .document = sdk_flag(flag, config->second)};
}

}  // namespace flagstream::catalog
