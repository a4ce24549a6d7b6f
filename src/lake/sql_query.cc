// The parent's side of a query: starts the child, waits for its answer, ends it at the deadline.
#include "lake/sql_query.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "lake/sql_request.h"

namespace flagstream::lake {
namespace {

// The answer's envelope, and the columns' names beside rows that fill bytes_max.
constexpr std::size_t kAnswerSlackBytes = 1 << 20;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() { close(); }
  int get() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

std::unexpected<Error> failed(std::string_view operation) {
  return fail(error_from_errno(errno, operation));
}

// A file in memory: unlike a pipe it takes the whole request before anybody reads.
Result<Descriptor> request_file(std::string_view request) {
  Descriptor file(::memfd_create("flagstream-query", MFD_CLOEXEC));
  if (file.get() < 0) return failed("make a request");
  while (!request.empty()) {
    const ssize_t put = ::write(file.get(), request.data(), request.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return failed("write a request");
    request.remove_prefix(static_cast<std::size_t>(put));
  }
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return failed("rewind a request");
  return file;
}

// Ends and reaps the process when it goes out of scope.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    ::kill(pid_, SIGKILL);
    (void)status();
  }
  // Waits for its end; what waitpid() says, or 0 if somebody else has reaped it.
  int status() {
    if (is_reaped_) return status_;
    is_reaped_ = true;
    while (::waitpid(pid_, &status_, 0) < 0) {
      if (errno != EINTR) return status_ = 0;
    }
    return status_;
  }
  void end() { ::kill(pid_, SIGKILL); }

 private:
  pid_t pid_;
  int status_ = 0;
  bool is_reaped_ = false;
};

// With no environment and no descriptors but these: nothing of ours is in the child.
Result<pid_t> start(const std::string& program, int request, int answer) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&actions, request, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, answer, STDOUT_FILENO);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string name = "flagstream", argument(kSqlChild);
  const std::array<char*, 3> arguments = {name.data(), argument.data(), nullptr};
  const std::array<char*, 1> environment = {nullptr};
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, program.c_str(), &actions, &attributes, arguments.data(),
                                  environment.data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return fail(error_from_errno(error, "start a query"));
  return pid;
}

// Everything that the child says until it closes its end.
Result<std::string> read_answer(int from, std::size_t bytes_max,
                                std::chrono::milliseconds deadline) {
  const SystemClock clock;
  const std::int64_t until = clock.monotonic() + std::chrono::microseconds(deadline).count();
  std::string answer;
  std::array<char, 64 << 10> piece;
  for (;;) {
    const std::int64_t left = until - clock.monotonic();
    pollfd waiting{.fd = from, .events = POLLIN, .revents = 0};
    const int ready =
        left <= 0 ? 0 : ::poll(&waiting, 1, static_cast<int>(left / kMicrosPerMilli + 1));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return failed("wait for an answer");
    if (ready == 0) {
      return fail(ErrorKind::ResourceExhausted,
                  "the query ran longer than " + std::to_string(deadline.count()) + " ms");
    }
    const ssize_t got = ::read(from, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("read an answer");
    if (got == 0) return answer;
    answer.append(piece.data(), static_cast<std::size_t>(got));
    if (answer.size() > bytes_max) {
      return fail(ErrorKind::TooLarge,
                  "the result's columns alone are larger than a result may be");
    }
  }
}

}  // namespace

std::uint32_t query_threads() {
  return std::clamp(std::thread::hardware_concurrency() / 2, 1u, 2u);
}

Result<std::string> query(const SqlSettings& settings, std::string_view sql) {
  if (sql.size() > kSqlBytesMax) {
    return fail(ErrorKind::TooLarge,
                "a query has at most " + std::to_string(kSqlBytesMax) + " bytes");
  }
  FS_TRY(const Descriptor request, request_file(encode_request(settings, sql)));
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return failed("make a pipe");
  const Descriptor from(ends[0]);
  Descriptor to(ends[1]);
  FS_TRY(const pid_t pid, start(settings.program, request.get(), to.get()));
  Child child(pid);
  to.close();
  FS_TRY(const std::string text,
         read_answer(from.get(), settings.bytes_max + kAnswerSlackBytes, settings.deadline));
  if (auto answer = decode_answer(text)) return *std::move(answer);
  const int status = child.status();
  if (WIFSIGNALED(status)) {
    return fail(ErrorKind::ResourceExhausted,
                std::string("the query's process was ended (") + ::strsignal(WTERMSIG(status)) +
                    "): it needed more memory or time than it may have");
  }
  return fail(ErrorKind::Unavailable, "the query's process ended without an answer");
}

}  // namespace flagstream::lake
