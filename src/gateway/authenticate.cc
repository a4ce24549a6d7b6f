#include "gateway/authenticate.h"

#include "io/await_callback.h"

namespace flagstream::gateway {
namespace {

using environment::Environments;
using ingest::KnownEnvironment;

environment::CredentialKind kind_of(ingest::CredentialKind kind) {
  switch (kind) {
    case ingest::CredentialKind::SdkKey:
      return environment::CredentialKind::SdkKey;
    case ingest::CredentialKind::MobileKey:
      return environment::CredentialKind::MobileKey;
    case ingest::CredentialKind::ClientSideId:
      return environment::CredentialKind::ClientSideId;
  }
  std::unreachable();
}

std::optional<KnownEnvironment> find(const Environments& environments, ingest::CredentialKind kind,
                                     std::string_view credential) {
  const auto id = environments.find(kind_of(kind), credential);
  if (!id) return std::nullopt;
  const auto flags = environments.flag_set(*id);
  return KnownEnvironment{.id = *id, .config_revision = flags == nullptr ? 0 : flags->revision};
}

io::Task<Result<KnownEnvironment>> authenticate(Environments& environments,
                                                ingest::CredentialKind kind,
                                                std::string_view credential) {
  if (const auto known = find(environments, kind, credential)) co_return *known;
  FS_CO_TRY(co_await io::await_callback<Result<void>>(
      [&](auto done) { environments.read_to_end(std::move(done)); }));
  if (const auto known = find(environments, kind, credential)) co_return *known;
  if (!environments.has_configuration())
    co_return fail(ErrorKind::Unavailable, "no configuration has been loaded yet");
  co_return fail(ErrorKind::Unauthenticated, "unknown credential");
}

}  // namespace

ingest::Authenticate authenticate_with(Environments& environments) {
  return [&environments](ingest::CredentialKind kind, std::string_view credential) {
    return authenticate(environments, kind, credential);
  };
}

}  // namespace flagstream::gateway
