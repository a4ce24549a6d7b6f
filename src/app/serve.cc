#include "app/serve.h"

#include <chrono>
#include <iostream>
#include <map>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/data_folder.h"
#include "app/exit_status.h"
#include "app/live_settings.h"
#include "app/roles.h"
#include "app/supervisor.h"
#include "app/tls_settings.h"
#include "base/clock.h"
#include "io/file_system.h"
#include "json/json.h"
#include "telemetry/tell.h"

namespace flagstream::app {
namespace {

// Longer than a role takes to stop: its patience with open requests, and a checkpoint.
constexpr std::int64_t kPatienceWithLeftOvers = 15 * kMicrosPerSecond;

// One sentence when nobody could listen there, before any role is started and restarted for
// nothing.
Result<void> check_address(std::string_view address, std::string_view key) {
  const std::size_t colon = address.rfind(':');
  std::string host(address.substr(0, colon));
  const std::string port(address.substr(colon + 1));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (port == "0") return {};
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) {
    return fail(ErrorKind::InvalidArgument,
                fmt::format("{} is no address of this machine; set {}", address, key));
  }
  const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const int failed = ::bind(fd, found->ai_addr, found->ai_addrlen) == 0 ? 0 : errno;
  ::freeaddrinfo(found);
  ::close(fd);
  if (failed == EADDRINUSE) {
    return fail(
        ErrorKind::Conflict,
        fmt::format("{} is taken by another program; give another with --set {}=127.0.0.1:PORT",
                    address, key));
  }
  if (failed != 0) return fail(error_from_errno(failed, fmt::format("{} ({})", address, key)));
  return {};
}

// A lock that the roles inherit, so that it lasts as long as the last of them.  A supervisor that
// was killed leaves roles that are just letting go of the port and the log; a new one waits for
// them.
class RolesLock {
 public:
  static Result<RolesLock> take(const DataFolder& folder, const Clock& clock) {
    const std::string path = folder.run() + "/roles.lock";
    RolesLock lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640));
    if (lock.fd_ < 0) return fail(error_from_errno(errno, "open " + path));
    const std::int64_t give_up = clock.monotonic() + kPatienceWithLeftOvers;
    for (bool is_told = false; ::flock(lock.fd_, LOCK_EX | LOCK_NB) != 0;) {
      if (errno != EWOULDBLOCK) return fail(error_from_errno(errno, "lock " + path));
      if (clock.monotonic() > give_up) {
        return fail(ErrorKind::Conflict,
                    fmt::format("roles of an earlier start still run with {}; end them first",
                                folder.path));
      }
      if (!std::exchange(is_told, true))
        telemetry::warn("waiting for roles of an earlier start to end", {{"data", folder.path}});
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return lock;
  }
  RolesLock(RolesLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  RolesLock& operator=(RolesLock&&) = delete;
  ~RolesLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

 private:
  explicit RolesLock(int fd) : fd_(fd) {}
  int fd_;
};

ChildCommand role_command(const ServeOptions& options, std::string name, const std::string& role,
                          const std::string& stages) {
  std::vector<std::string> arguments = {"serve", "--role", role};
  if (!stages.empty()) arguments.insert(arguments.end(), {"--stages", stages});
  if (options.demo) arguments.push_back("--demo");
  arguments.insert(arguments.end(), options.forwarded.begin(), options.forwarded.end());
  return ChildCommand{.name = std::move(name),
                      .arguments = std::move(arguments),
                      .program = {},
                      .environment = {},
                      .is_essential = role == "gateway",
                      .gives_way = role == "processor",  // it works off backlogs
                      .takes_hangup = true};
}

// Collects what the roles say when they serve, prints it once for people and keeps
// data/run/serving.json for programs.
class Announcer {
 public:
  Announcer(const ServeOptions& options, const DataFolder& folder)
      : options_(options), folder_(folder) {}

  void role_ready(Supervisor& supervisor, const std::string& name, const std::string& line) {
    ready_[name] = line;
    if (!ready_.contains("gateway") || !ready_.contains("control")) return;
    write_serving_file(supervisor);
    if (announced_) return;
    announced_ = true;
    announce();
    if (!options_.example.empty()) start_example(supervisor);
  }

 private:
  std::string said(const std::string& role, std::string_view member) const {
    const auto parsed = json::parse(ready_.at(role));
    if (!parsed) return "";
    const auto* object = parsed->if_object();
    const auto* value = object == nullptr ? nullptr : object->if_contains(member);
    const auto* text = value == nullptr ? nullptr : value->if_string();
    return text == nullptr ? "" : std::string(*text);
  }

  void write_serving_file(const Supervisor& supervisor) const {
    std::string roles;
    for (const auto& [name, pid] : supervisor.pids()) {
      if (!roles.empty()) roles += ',';
      roles += fmt::format("\"{}\":{}", name, pid);
    }
    const std::string text = fmt::format(
        "{{\"url\":\"{}\",\"tlsUrl\":\"{}\",\"adminUrl\":\"{}\",\"setupPath\":\"{}\",\"roles\":{{{}"
        "}}}}"
        "\n",
        said("gateway", "url"), said("gateway", "tlsUrl"), said("gateway", "adminUrl"),
        said("control", "setupPath"), roles);
    if (const auto written =
            io::posix_file_system().replace_file(folder_.run() + "/serving.json", text);
        !written) {
      telemetry::warn("serving.json cannot be written", {{"error", written.error()}});
    }
  }

  void announce() const {
    const std::string url = said("gateway", "url");
    std::cout << fmt::format("\n  Flagstream serves on {}   (data: {})\n\n", url, folder_.path);
    if (const std::string secure = said("gateway", "tlsUrl"); !secure.empty() && secure != url) {
      std::cout << fmt::format("  with TLS        {}\n", secure);
    }
    if (const std::string setup = said("control", "setupPath"); !setup.empty()) {
      std::cout << fmt::format("  page            {}{}\n", url, setup);
    } else {
      std::cout << fmt::format("  page            {}/ui/\n", url);
    }
    if (options_.demo) {
      std::cout << fmt::format("  SDK key         {}\n  mobile key      {}\n  client-side id  {}\n",
                               said("control", "sdkKey"), said("control", "mobileKey"),
                               said("control", "clientSideId"));
      std::cout << fmt::format(
          "\n  try  build/release/src/app/flagstream flag on free-shipping --data {}\n"
          "       build/release/src/app/flagstream sql --data {} \"SELECT key, sum(count) FROM "
          "events WHERE kind = "
          "'summary' GROUP BY key\"\n\n",
          folder_.path, folder_.path);
    }
    std::cout.flush();
  }

  void start_example(Supervisor& supervisor) const {
    std::vector<std::string> words;
    for (std::size_t at = 0; at < options_.example.size();) {
      const std::size_t end = std::min(options_.example.find(' ', at), options_.example.size());
      if (end > at) words.push_back(options_.example.substr(at, end - at));
      at = end + 1;
    }
    if (words.empty()) return;
    const std::string program = words.front();
    supervisor.add(ChildCommand{.name = "example",
                                .arguments = std::move(words),
                                .program = program,
                                .environment = {{"FLAGSTREAM_SDK_KEY", said("control", "sdkKey")},
                                                {"FLAGSTREAM_URL", said("gateway", "url")}}});
  }

  const ServeOptions& options_;
  const DataFolder& folder_;
  std::map<std::string, std::string> ready_;
  bool announced_ = false;
};

int report(const Error& error) {
  std::cerr << "flagstream: " << error.what << '\n';
  return error.kind == ErrorKind::InvalidArgument || error.kind == ErrorKind::Conflict ? kExitConfig
                                                                                       : 1;
}

}  // namespace

int serve(const ServeOptions& options) {
  const Config& config = options.effective.config;
  if (options.role) {
    const auto folder = join_data_folder(io::posix_file_system(), config.data_folder);
    if (!folder) return report(folder.error());
    if (options.role == "gateway") return run_gateway(options);
    if (options.role == "control") return run_control(options);
    return run_processor(options);
  }
  const auto folder = open_data_folder(io::posix_file_system(), config.data_folder);
  if (!folder) return report(folder.error());
  const SystemClock clock;
  const auto roles_lock = RolesLock::take(*folder, clock);
  if (!roles_lock) return report(roles_lock.error());
  for (const auto& [address, key] : {std::pair{&config.listen, "server.listen"},
                                     {&config.tls_listen, "server.tls_listen"},
                                     {&config.admin_listen, "server.admin_listen"}}) {
    if (address->empty()) continue;
    if (const auto usable = check_address(*address, key); !usable) return report(usable.error());
  }
  if (!config.tls_listen.empty()) {
    const auto certificate = http::TlsCertificate::load(tls_settings(config));
    if (!certificate) return report(certificate.error());
  }
  Announcer announcer(options, *folder);
  Supervisor* running = nullptr;
  std::vector<ChildCommand> roles = {
      role_command(options, "gateway", "gateway", ""),
      role_command(options, "control", "control", ""),
      role_command(options, "processor", "processor", "transform,analytics"),
      role_command(options, "lake", "processor", "lake")};
  for (ChildCommand& role : roles) role.inherited_fd = roles_lock->fd();
  Supervisor supervisor(std::move(roles), clock,
                        [&](const std::string& name, const std::string& line) {
                          announcer.role_ready(*running, name, line);
                        });
  running = &supervisor;
  telemetry::configure(telemetry::Level::Info, "");
  apply_telemetry_level(config);
  telemetry::Registry registry;  // nobody scrapes the supervisor
  LiveSettings live(options.effective, options.load, Tells::Everything, registry);
  const auto status =
      supervisor.run([&] { return live.reload([](const Config&) {}); }, config.drain_delay);
  if (!status) return report(status.error());
  return *status;
}

}  // namespace flagstream::app
