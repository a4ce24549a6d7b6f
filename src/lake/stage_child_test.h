// A process of its own that folds a topic to its end, so that a test can kill it at crash points.
#pragma once

#include <string>
#include <string_view>

namespace flagstream::lake {

inline constexpr std::string_view kStageChild = "stage-child";

// Returns the exit status: 0 once everything in the topic is committed.
int run_stage_child(const std::string& log_folder, const std::string& table_folder);

}  // namespace flagstream::lake
