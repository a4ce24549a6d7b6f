#include "gateway/authenticate.h"

#include <utility>

namespace flagstream::gateway {
namespace {

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

io::Task<Result<KnownEnvironment>> authenticate(delivery::Access& access,
                                                ingest::CredentialKind kind,
                                                std::string_view credential,
                                                std::string_view client_address) {
  FS_CO_TRY(const delivery::Flags flags,
            co_await access.known_flags_for(kind_of(kind), credential, client_address));
  co_return KnownEnvironment{.id = flags->environment, .config_revision = flags->revision};
}

}  // namespace

ingest::Authenticate authenticate_with(delivery::Access& access) {
  return [&access](ingest::CredentialKind kind, std::string_view credential,
                   std::string_view client_address) {
    return authenticate(access, kind, credential, client_address);
  };
}

}  // namespace flagstream::gateway
