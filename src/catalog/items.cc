#include "catalog/items.h"

#include <utility>

#include "base/assert.h"
#include "base/clock.h"
#include "catalog/flag_json.h"
#include "environment/config_record.h"

namespace flagstream::catalog {
namespace {

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
  using environment::proto::Credential;
  *document.add_credentials() =
      environment::credential_of(Credential::SDK_KEY, environment.sdk_key);
  *document.add_credentials() =
      environment::credential_of(Credential::MOBILE_KEY, environment.mobile_key);
  for (const ExpiringKey& each : environment.expiring_keys) {
    Credential& old = *document.add_credentials();
    old = environment::credential_of(kind_of(each.kind), each.key);
    old.set_expires_us(each.expires * kMicrosPerMilli);
  }
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

Item segment_item(ProjectId project, EnvironmentId environment, const Segment& segment) {
  return Item{.environment = environment,
              .project = project,
              .kind = ItemKind::Segment,
              .key = segment.key,
              .version = segment.version,
              .deleted = false,
              .document = sdk_segment(segment)};
}

}  // namespace flagstream::catalog
