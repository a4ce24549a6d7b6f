// Which environment a credential of the events API opens.
#pragma once

#include "delivery/access.h"
#include "ingest/events_api.h"

namespace flagstream::gateway {

// Asks where flag delivery asks.  `access` must outlive what is returned.
ingest::Authenticate authenticate_with(delivery::Access& access);

}  // namespace flagstream::gateway
