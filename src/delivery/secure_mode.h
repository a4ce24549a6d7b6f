// Secure mode: whoever asks by client-side id, which anybody can read, must show that a server of
// the environment has vouched for the context.
#pragma once

#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "environment/environments.h"
#include "flags/context.h"

namespace flagstream::delivery {

// `hash` is what the request carries, empty if nothing: HMAC-SHA256 in lower-case hex of the
// context's fully qualified key with any SDK key that is valid at `now`.  Takes the same time
// wherever it differs.  No error where the environment has no secure mode.
//
// InvalidArgument: missing or wrong.  Unavailable: nothing is known of a valid SDK key by which it
// could be checked.
Result<void> check_hash(const environment::FlagSet& flags, const flags::Context& context,
                        std::string_view hash, MicrosUtc now);

}  // namespace flagstream::delivery
