// `flagstream serve`: the supervisor of all roles, or one role alone.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "app/config.h"

namespace flagstream::app {

struct ServeOptions {
  Effective effective;
  std::function<Result<Effective>()> load;  // the settings anew, from where these came from
  bool demo = false;                        // seed a demo project
  std::string
      example;  // command started beside the demo, with FLAGSTREAM_SDK_KEY and FLAGSTREAM_URL
  std::optional<std::string> role;  // gateway, control, processor: run that role in this process
  std::vector<std::string> stages;  // of the processor
  std::vector<std::string>
      forwarded;  // the arguments to hand on to the roles: sources of configuration
};

// Returns the exit status: 0 stopped as asked, 1 failed, 78 cannot start as configured (said in one
// sentence on stderr).
int serve(const ServeOptions& options);

}  // namespace flagstream::app
