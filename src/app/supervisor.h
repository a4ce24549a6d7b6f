// Runs the roles as child processes of one supervisor and restarts any that dies.
//
//     supervisor ── gateway
//                ├─ control
//                ├─ processor --stages transform,analytics
//                └─ processor --stages lake
//
// A child gets one end of a pipe (its number in FLAGSTREAM_READY_FD) and writes one JSON line into
// it once it serves.  Children die with the supervisor (PR_SET_PDEATHSIG).  A child that dies is
// started again after a delay that doubles from 100 ms to 10 s while it keeps dying young, and is
// 100 ms again once it has lived ten times its last delay.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace flagstream::app {

struct ChildCommand {
  std::string name;  // for telemetry: "gateway", "processor-lake"
  std::vector<std::string>
      arguments;        // argv[1..] of this same executable, or the whole argv of `program`
  std::string program;  // looked up in PATH; empty: this executable
  std::vector<std::pair<std::string, std::string>> environment;  // added to ours
  bool is_essential = false;  // without it nothing is worth running
  int inherited_fd = -1;      // a descriptor that stays open in the child; -1: none
  bool gives_way = false;     // to the others (io/give_way.h)
  bool takes_hangup = false;  // SIGHUP is handed on to it and does not end it
};

// Not thread-safe; must run in a process without other threads (it forks).
class Supervisor {
 public:
  // `ready` is called with a child's name and the line that it wrote, at each of its starts.
  using Ready = std::function<void(const std::string& name, const std::string& line)>;
  Supervisor(std::vector<ChildCommand> commands, const Clock& clock, Ready ready);

  // Starts all children and supervises until SIGINT or SIGTERM, then stops them: SIGTERM, and
  // SIGKILL to what still lives after 10 s and `more_patience`.  An essential child that exits with
  // 78 (EX_CONFIG) before it ever served ends everything: starting it again would not help.
  // Whatever another child cannot use is no reason to take the essential one down.  SIGHUP calls
  // `on_hangup`, and is handed on to the children that take it if that says so.  Returns the exit
  // status: 0, or 78.
  Result<int> run(const std::function<bool()>& on_hangup, std::chrono::microseconds more_patience);
  // Adds a child; callable from `ready`.  It is started within 50 ms.
  void add(ChildCommand command);
  // Names and process ids of the children that run.
  std::vector<std::pair<std::string, int>> pids() const;

 private:
  struct Child {
    ChildCommand command;
    int pid = 0;  // 0: not running
    int ready_fd = -1;
    std::string ready_text = {};
    std::int64_t started_at = 0;  // monotonic microseconds
    std::int64_t restart_at = 0;
    std::int64_t delay = 0;
    bool has_served = false;  // in this life or an earlier one
  };

  Result<void> start(Child& child);
  void read_ready_lines();
  void reap();
  void restart_due();
  void signal_all(int signal) const;
  void hand_on_hangup() const;
  bool any_alive() const;

  std::vector<Child> children_;
  const Clock& clock_;
  Ready ready_;
  int fatal_status_ = 0;
};

// Whether this process has one that waits for it to be ready.
bool has_supervisor();
// Writes the line to the supervisor's pipe, if this process has one.
void tell_supervisor_ready(const std::string& line);

}  // namespace flagstream::app
