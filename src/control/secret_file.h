// Files that only their owner may read.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "io/file_system.h"

namespace flagstream::control {

// Mode 600 from before its first byte; replaced as a whole.
Result<void> write_secret_file(io::FileSystem& files, const std::string& path,
                               std::string_view contents);
// Takes an existing file away from everybody but its owner.
Result<void> keep_for_owner(const std::string& path);

}  // namespace flagstream::control
