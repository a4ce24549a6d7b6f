// What callers with one kind of credential may see: to them everything else does not exist.
#pragma once

#include "environment/environments.h"
#include "flags/model.h"

namespace flagstream::delivery {

// By an SDK key all flags, else those that are available to that kind of client.
bool is_visible(const flags::Flag& flag, environment::CredentialKind kind);

}  // namespace flagstream::delivery
