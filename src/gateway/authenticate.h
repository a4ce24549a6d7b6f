// Which environment a credential of the events API opens.
#pragma once

#include "environment/environments.h"
#include "ingest/events_api.h"

namespace flagstream::gateway {

// Looks in the current configuration, and reads it to its end before it calls a credential unknown.
// `environments` must outlive what is returned.
ingest::Authenticate authenticate_with(environment::Environments& environments);

}  // namespace flagstream::gateway
