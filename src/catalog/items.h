// What the topic `config` says about each item of an environment.
#pragma once

#include "base/error.h"
#include "catalog/model.h"
#include "catalog/outbox.h"
#include "catalog/segment.h"

namespace flagstream::catalog {

// The environment itself: its labels and what of its credentials a gateway needs.  Of the secret
// keys only SHA-256.
Result<Item> environment_item(const Project& project, const Environment& environment);

// The flag as SDKs get it there.  Precondition: the flag has a config for that environment.
Item flag_item(const Project& project, const Environment& environment, const Flag& flag);

// The segment as SDKs get it.
Item segment_item(ProjectId project, EnvironmentId environment, const Segment& segment);

// InvalidArgument when SDKs would disagree about the flag in that environment, with what to change.
// `item` is flag_item() of them.
Result<void> check_for_publication(const Flag& flag, const FlagConfig& config, const Item& item);

}  // namespace flagstream::catalog
