// Reads a TOML configuration file into flat keys.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace flagstream::app {

// `section.name` and the value's text, in the order of the keys.  NotFound: no such file;
// InvalidArgument: not TOML (with line and column), or a value that is neither text, number nor
// boolean.
Result<std::vector<std::pair<std::string, std::string>>> read_config_file(const std::string& path);

}  // namespace flagstream::app
