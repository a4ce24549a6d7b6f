#pragma once

#include "app/config.h"
#include "http/tls.h"

namespace flagstream::app {

http::TlsSettings tls_settings(const Config& config);

}  // namespace flagstream::app
