#include "delivery/visibility.h"

#include <utility>

namespace flagstream::delivery {

bool is_visible(const flags::Flag& flag, environment::CredentialKind kind) {
  using environment::CredentialKind;
  switch (kind) {
    case CredentialKind::SdkKey:
      return true;
    case CredentialKind::MobileKey:
      return flag.is_for_mobile;
    case CredentialKind::ClientSideId:
      return flag.is_for_client_side_id;
  }
  std::unreachable();
}

}  // namespace flagstream::delivery
