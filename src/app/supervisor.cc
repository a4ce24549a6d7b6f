#include "app/supervisor.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/exit_status.h"
#include "io/give_way.h"
#include "telemetry/tell.h"

namespace flagstream::app {
namespace {

constexpr const char* kReadyVariable = "FLAGSTREAM_READY_FD";
constexpr std::int64_t kDelayLeast = 100 * kMicrosPerMilli;
constexpr std::int64_t kDelayMost = 10 * kMicrosPerSecond;
constexpr std::int64_t kHealthyDelays = 10;
constexpr std::int64_t kStopPatience = 10 * kMicrosPerSecond;

[[noreturn]] void become(const ChildCommand& command, int ready_fd, int parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(1);  // the supervisor died before the line above
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (command.inherited_fd >= 0) ::fcntl(command.inherited_fd, F_SETFD, 0);
  // Until it waits for the signal: what is blocked is not ignored.
  if (command.takes_hangup) ::signal(SIGHUP, SIG_IGN);
  if (command.gives_way) io::give_way();
  ::setenv(kReadyVariable, std::to_string(ready_fd).c_str(), 1);
  for (const auto& [name, value] : command.environment) ::setenv(name.c_str(), value.c_str(), 1);
  std::vector<std::string> words = command.arguments;
  if (command.program.empty()) words.insert(words.begin(), "flagstream");
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  if (command.program.empty())
    ::execv("/proc/self/exe", argv.data());
  else
    ::execvp(command.program.c_str(), argv.data());
  ::_exit(127);
}

}  // namespace

bool has_supervisor() { return std::getenv(kReadyVariable) != nullptr; }

void tell_supervisor_ready(const std::string& line) {
  const char* text = std::getenv(kReadyVariable);
  if (text == nullptr) return;
  const int fd = std::atoi(text);
  const std::string whole = line + "\n";
  if (::write(fd, whole.data(), whole.size()) < 0) {
    telemetry::warn("supervisor does not listen", {{"error", std::strerror(errno)}});
  }
  ::close(fd);
  ::unsetenv(kReadyVariable);
}

Supervisor::Supervisor(std::vector<ChildCommand> commands, const Clock& clock, Ready ready)
    : clock_(clock), ready_(std::move(ready)) {
  for (ChildCommand& command : commands) children_.push_back(Child{.command = std::move(command)});
}

Result<void> Supervisor::start(Child& child) {
  int ends[2];
  if (::pipe2(ends, O_NONBLOCK) != 0) return fail(error_from_errno(errno, "pipe"));
  ::fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  const int parent = ::getpid();
  const int pid = ::fork();
  if (pid < 0) {
    ::close(ends[0]);
    ::close(ends[1]);
    return fail(error_from_errno(errno, "fork"));
  }
  if (pid == 0) become(child.command, ends[1], parent);
  ::close(ends[1]);
  if (child.ready_fd >= 0) ::close(child.ready_fd);
  child.ready_fd = ends[0];
  child.ready_text.clear();
  child.pid = pid;
  child.started_at = clock_.monotonic();
  telemetry::info("role started", {{"child", child.command.name}, {"pid", pid}});
  return {};
}

void Supervisor::read_ready_lines() {
  std::vector<std::pair<std::string, std::string>> lines;
  for (Child& child : children_) {
    if (child.ready_fd < 0) continue;
    char buffer[4096];
    const ssize_t got = ::read(child.ready_fd, buffer, sizeof buffer);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got > 0) child.ready_text.append(buffer, static_cast<std::size_t>(got));
    const std::size_t end = child.ready_text.find('\n');
    if (end != std::string::npos) {
      child.has_served = true;
      lines.emplace_back(child.command.name, child.ready_text.substr(0, end));
    }
    if (got <= 0 || end != std::string::npos) {
      ::close(child.ready_fd);
      child.ready_fd = -1;
    }
  }
  for (const auto& [name, line] : lines) ready_(name, line);  // last: it may add children
}

void Supervisor::reap() {
  for (;;) {
    int status = 0;
    const int pid = ::waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return;
    const auto child = std::ranges::find(children_, pid, &Child::pid);
    if (child == children_.end()) continue;
    const std::int64_t now = clock_.monotonic();
    child->pid = 0;
    child->delay = now - child->started_at > kHealthyDelays * child->delay
                       ? kDelayLeast
                       : std::min(child->delay * 2, kDelayMost);
    child->restart_at = now + child->delay;
    const bool exited = WIFEXITED(status);
    const bool is_clean = exited && WEXITSTATUS(status) == 0;
    telemetry::tell(is_clean ? telemetry::Level::Info : telemetry::Level::Warn, "role ended",
                    {{"child", child->command.name},
                     {"status", exited ? WEXITSTATUS(status) : 0},
                     {"signal", exited ? 0 : WTERMSIG(status)}});
    const bool is_refusal = exited && WEXITSTATUS(status) == kExitConfig;
    if (is_refusal && child->command.is_essential && !child->has_served)
      fatal_status_ = kExitConfig;
  }
}

void Supervisor::restart_due() {
  for (Child& child : children_) {
    if (child.pid != 0 || clock_.monotonic() < child.restart_at) continue;
    if (const auto started = start(child); !started) {
      telemetry::error("role cannot be started",
                       {{"child", child.command.name}, {"error", started.error()}});
      child.restart_at = clock_.monotonic() + kDelayMost;
    }
  }
}

void Supervisor::add(ChildCommand command) {
  children_.push_back(Child{.command = std::move(command)});
}

std::vector<std::pair<std::string, int>> Supervisor::pids() const {
  std::vector<std::pair<std::string, int>> out;
  for (const Child& child : children_) {
    if (child.pid != 0) out.emplace_back(child.command.name, child.pid);
  }
  return out;
}

void Supervisor::signal_all(int signal) const {
  for (const Child& child : children_) {
    if (child.pid != 0) ::kill(child.pid, signal);
  }
}

void Supervisor::hand_on_hangup() const {
  for (const Child& child : children_) {
    if (child.pid != 0 && child.command.takes_hangup) ::kill(child.pid, SIGHUP);
  }
}

bool Supervisor::any_alive() const {
  return std::ranges::any_of(children_, [](const Child& child) { return child.pid != 0; });
}

Result<int> Supervisor::run(const std::function<bool()>& on_hangup,
                            std::chrono::microseconds more_patience) {
  sigset_t wanted;
  sigemptyset(&wanted);
  for (const int signal : {SIGINT, SIGTERM, SIGCHLD, SIGHUP}) sigaddset(&wanted, signal);
  ::sigprocmask(SIG_BLOCK, &wanted, nullptr);
  const int signals = ::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) return fail(error_from_errno(errno, "signalfd"));
  for (Child& child : children_) FS_TRY(start(child));

  std::int64_t stop_began = 0;
  while (stop_began == 0 || any_alive()) {
    std::vector<pollfd> polled = {{signals, POLLIN, 0}};
    for (const Child& child : children_) {
      if (child.ready_fd >= 0) polled.push_back({child.ready_fd, POLLIN, 0});
    }
    ::poll(polled.data(), polled.size(), 50);
    signalfd_siginfo info;
    bool asked_to_stop = fatal_status_ != 0;
    while (::read(signals, &info, sizeof info) == sizeof info) {
      if (info.ssi_signo == SIGHUP) {
        if (on_hangup()) hand_on_hangup();
      } else if (info.ssi_signo != SIGCHLD) {
        asked_to_stop = true;
      }
    }
    read_ready_lines();
    reap();
    if (stop_began == 0) {
      if (asked_to_stop || fatal_status_ != 0) {
        stop_began = clock_.monotonic();
        signal_all(SIGTERM);
      } else {
        restart_due();
      }
    } else if (clock_.monotonic() - stop_began > kStopPatience + more_patience.count()) {
      telemetry::error("roles do not stop and are killed");
      signal_all(SIGKILL);
    }
  }
  ::close(signals);
  return fatal_status_;
}

}  // namespace flagstream::app
