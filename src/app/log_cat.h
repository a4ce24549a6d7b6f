// `flagstream log cat TOPIC`: what is in a topic, one JSON line a record.
#pragma once

#include <iosfwd>
#include <string>

namespace flagstream::app {

// Reads the topic from its beginning to the end that it had at the call; works while it is being
// written. Exit status: 0 done, 1 failed, 3 there is no such topic.
int log_cat(const std::string& log_folder, const std::string& topic, std::ostream& out,
            std::ostream& err);

}  // namespace flagstream::app
