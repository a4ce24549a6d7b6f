// Which types the members of flags and segments must have for an evaluation.
#pragma once

#include <string>

#include "flags/document.h"

namespace flagstream::flags {

// Empty: everything that evaluation reads has its type.  Else one sentence about the first member
// that has not.  Members that are missing or null are right, and unknown ones are passed over.
std::string flag_problem(const Node& flag);
std::string segment_problem(const Node& segment);

}  // namespace flagstream::flags
