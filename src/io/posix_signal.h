#pragma once

#include <memory>
#include <string>

#include "io/signal.h"

namespace flagstream::io {

// See FileSystem::open_signal().
std::unique_ptr<Signal> open_posix_signal(const std::string& path, std::uint64_t offset);

}  // namespace flagstream::io
