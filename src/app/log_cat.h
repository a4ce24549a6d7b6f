// `flagstream log cat` and `flagstream log export`: what is in a topic.  Both read only, and work
// while it is written.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>

#include "app/client_commands.h"
#include "base/clock.h"

namespace flagstream::app {

// Of the records from `from` on, before `to`.
struct LogRange {
  std::string log_folder = {};
  std::string topic = {};
  std::string from = "beginning";               // as parse_log_point() takes it
  std::string to = "end";                       // the end that the topic has at the call
  std::optional<std::uint32_t> partition = {};  // none: all
};

struct CatOptions {
  LogRange range = {};
  bool follow = false;  // goes on with what is appended later, until the program is ended
  std::optional<std::uint64_t> records_max = {};
};

// One JSON line a record.  Exit status: 0 done, 1 failed, 2 usage, 3 there is no such topic.
int log_cat(const CatOptions& options, const Clock& clock, const Console& console);

struct ExportOptions {
  LogRange range = {};
  std::string output = "-";     // file, or stdout; the file is there once it is whole
  std::string format = "json";  // or "bodies": of payloads, those of analytics events, one a line
};

// As log_cat(), with the whole bodies of payloads.
int log_export(const ExportOptions& options, const Clock& clock, const Console& console);

}  // namespace flagstream::app
