// The last known configuration on disk, so that a gateway serves while nothing else runs.
// Layout: docs/formats/gateway-state.md.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "io/file_system.h"
#include "log/log.h"

namespace flagstream::environment {

struct SavedState {
  Id128 log_id;                      // of `config`
  log::Offset next_offset = 0;       // first record that is not in it
  MicrosUtc current_as_of = 0;       // when the end of `config` was last reached; 0: never
  std::vector<std::string> records;  // one complete copy
};

Result<void> save_state(io::FileSystem& files, const std::string& path, const SavedState& state);
// NotFound: there is none.  DataLoss: damaged.  InvalidArgument: written by a newer release.
Result<SavedState> load_state(io::FileSystem& files, const std::string& path);

}  // namespace flagstream::environment
