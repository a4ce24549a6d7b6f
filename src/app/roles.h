// One role in this process, from settings to signals.
#pragma once

#include "app/serve.h"

namespace flagstream::app {

// Each runs until SIGINT or SIGTERM.  Returns the exit status: 0 stopped as asked, 1 failed (the
// supervisor starts it again), 78 cannot start as configured.
int run_gateway(const ServeOptions& options);
int run_control(const ServeOptions& options);
// The stages that options.stages names.
int run_processor(const ServeOptions& options);

}  // namespace flagstream::app
