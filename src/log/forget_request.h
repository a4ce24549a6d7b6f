// How an operator has a topic's writer delete its oldest files: a file `forget` in the topic's
// folder, which the writer takes within a second and removes when it is done.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "io/file_system.h"
#include "log/log.h"

namespace flagstream::log {

struct ForgetRequest {
  Id128 log_id;
  std::uint64_t keep_from = 0;  // number of the first segment file that stays
};

Result<void> ask_to_forget(io::FileSystem& files, const std::string& folder,
                           const ForgetRequest& request);
// Whether the writer has not taken it yet.
bool is_forget_asked(io::FileSystem& files, const std::string& folder);
// nullopt: nobody asks.  DataLoss: what is there is no request; it was removed.
Result<std::optional<ForgetRequest>> read_forget_request(io::FileSystem& files,
                                                         const std::string& folder);
Result<void> remove_forget_request(io::FileSystem& files, const std::string& folder);

}  // namespace flagstream::log
