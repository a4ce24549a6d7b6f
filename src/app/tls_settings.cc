#include "app/tls_settings.h"

namespace flagstream::app {

http::TlsSettings tls_settings(const Config& config) {
  return {.listen = config.tls_listen,
          .certificate_path = config.tls_certificate,
          .key_path = config.tls_key,
          .version_min =
              config.tls_min_version == "1.3" ? http::TlsVersion::Tls13 : http::TlsVersion::Tls12};
}

}  // namespace flagstream::app
