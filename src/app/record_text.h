// Records of the log as members of a JSON object.
#pragma once

#include <string>
#include <string_view>

namespace flagstream::app {

enum class Bodies { Sizes, Whole };

// `"kind":"payload",...` without braces.  With Bodies::Whole a payload has its body, not
// compressed, as the text `body` or, where it is no text, as `bodyBase64`, and what is needed to
// post it again.
std::string record_members(std::string_view record, Bodies bodies);

// The body of a payload of analytics events on one line, not compressed; "" for other records.
std::string one_line_body(std::string_view record);

}  // namespace flagstream::app
