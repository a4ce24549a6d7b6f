// `flagstream log ls|describe|verify|forget`: what operators see and do of the durable log.  They
// work while the server runs and when it is stopped, and only forget needs more than to read.
//
// Exit status: 0 done, 1 failed (verify: damage was found), 2 usage, 3 not found, 4 conflict.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "app/client_commands.h"
#include "base/clock.h"

namespace flagstream::app {

struct LogPlace {
  std::string log_folder;
  // Of the topics of events, as the settings of this command say.
  std::chrono::microseconds retention{0};
  std::uint64_t retention_bytes = 0;
};

int log_ls(const LogPlace& place, const Clock& clock, const Console& console);
int log_describe(const LogPlace& place, const std::string& topic, const Clock& clock,
                 const Console& console);
// Without a topic: all.
int log_verify(const LogPlace& place, const std::string& topic, const Console& console);

struct ForgetOptions {
  std::string topic = {};
  std::string before = {};  // as parse_log_time() takes it
  std::string reader = {};  // instead: the registration of a reader that is gone
  bool yes = false;
  bool unread = false;                                            // also what a reader has not read
  std::chrono::milliseconds patience = std::chrono::seconds(10);  // with the topic's writer
};
int log_forget(const LogPlace& place, const ForgetOptions& options, const Clock& clock,
               const Console& console);

}  // namespace flagstream::app
