#include "http/listener.h"

#include <cerrno>
#include <cstring>
#include <memory>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace flagstream::http {
namespace {

constexpr std::string_view kUnix = "unix:";
constexpr int kBacklog = 4096;

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) close_descriptor(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }
  int release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

int new_socket(int family) {
  return ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

std::unexpected<Error> failed(std::string_view operation, const std::string& address) {
  const std::string what = fmt::format("{} {}", operation, address);
  if (errno == EADDRINUSE) return fail(ErrorKind::Conflict, what + ": the address is taken");
  return fail(error_from_errno(errno, what));
}

// A socket that nobody listens on is left from a process that died.
Result<void> remove_dead_socket(const sockaddr_un& name, const std::string& address) {
  const Descriptor probe(new_socket(AF_UNIX));
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0 ||
      errno == EAGAIN) {
    return fail(ErrorKind::Conflict, "listen on " + address + ": the address is taken");
  }
  if (errno == ECONNREFUSED) ::unlink(name.sun_path);
  return {};
}

Result<std::vector<ListeningSocket>> listen_unix(const std::string& address) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const std::string path = address.substr(kUnix.size());
  if (path.empty() || path.size() >= sizeof name.sun_path) {
    return fail(ErrorKind::InvalidArgument,
                "listen on " + address + ": the path is too long or empty");
  }
  std::memcpy(name.sun_path, path.data(), path.size());
  FS_TRY(remove_dead_socket(name, address));
  Descriptor socket(new_socket(AF_UNIX));
  if (socket.get() < 0 ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    return failed("listen on", address);
  }
  std::vector<ListeningSocket> all;
  all.emplace_back(socket.release(), AF_UNIX, address);
  return all;
}

struct IpAddress {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  in_port_t& port() {
    return storage.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port
                                         : reinterpret_cast<sockaddr_in*>(&storage)->sin_port;
  }
  std::string host() {
    char text[INET6_ADDRSTRLEN] = "";
    const void* bytes =
        storage.ss_family == AF_INET6
            ? static_cast<const void*>(&reinterpret_cast<sockaddr_in6*>(&storage)->sin6_addr)
            : &reinterpret_cast<sockaddr_in*>(&storage)->sin_addr;
    ::inet_ntop(storage.ss_family, bytes, text, sizeof text);
    return text;
  }
  std::string text() {
    const bool is_6 = storage.ss_family == AF_INET6;
    return fmt::format("{}{}{}:{}", is_6 ? "[" : "", host(), is_6 ? "]" : "", ntohs(port()));
  }
};

Result<IpAddress> resolve(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) {
    return fail(ErrorKind::InvalidArgument, "listen on " + address + ": the port is missing");
  }
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int status = ::getaddrinfo(host.empty() ? nullptr : host.c_str(),
                                   address.c_str() + colon + 1, &hints, &found);
  if (status != 0) {
    return fail(ErrorKind::InvalidArgument,
                fmt::format("listen on {}: {}", address, ::gai_strerror(status)));
  }
  IpAddress resolved;
  std::memcpy(&resolved.storage, found->ai_addr, found->ai_addrlen);
  resolved.size = found->ai_addrlen;
  ::freeaddrinfo(found);
  return resolved;
}

Result<int> bind_socket(IpAddress& address, const std::string& name, bool is_shared) {
  Descriptor socket(new_socket(address.storage.ss_family));
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (is_shared) ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (socket.get() < 0 || ::bind(socket.get(), address.get(), address.size) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    return failed("listen on", name);
  }
  ::getsockname(socket.get(), address.get(), &address.size);
  return socket.release();
}

}  // namespace

void close_descriptor(int descriptor) { ::close(descriptor); }

Result<std::vector<ListeningSocket>> listen_on(const std::string& address, std::uint32_t count) {
  if (address.starts_with(kUnix)) return listen_unix(address);
  FS_TRY(auto ip, resolve(address));
  if (count > 1 && ip.port() != 0) {
    // Sockets with SO_REUSEPORT would share the port even with another server of the same user.
    FS_TRY(const int probe, bind_socket(ip, address, false));
    close_descriptor(probe);
  }
  std::vector<ListeningSocket> all;
  for (std::uint32_t i = 0; i < count; ++i) {
    FS_TRY(const int socket, bind_socket(ip, address, count > 1));
    all.emplace_back(socket, ip.storage.ss_family, ip.text());
  }
  return all;
}

void take_no_more(int listening) {
  // Segments that begin a connection are dropped; those that end a handshake still come.
  constexpr unsigned kFlagsAt = 13;  // in TCP's header
  constexpr unsigned kSyn = 2;
  sock_filter steps[] = {{.code = BPF_LD | BPF_B | BPF_ABS, .jt = 0, .jf = 0, .k = kFlagsAt},
                         {.code = BPF_JMP | BPF_JSET | BPF_K, .jt = 0, .jf = 1, .k = kSyn},
                         {.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = 0},
                         {.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = ~0u}};
  const sock_fprog program{.len = 4, .filter = steps};
  ::setsockopt(listening, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

void forget_address(const std::string& address) {
  if (address.starts_with(kUnix)) ::unlink(address.c_str() + kUnix.size());
}

int accept_one(int listening, std::string& client_address) {
  IpAddress client;
  const int socket = ::accept4(listening, client.get(), &client.size, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (socket < 0 || client.storage.ss_family == AF_UNIX) return socket;
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  client_address = client.host();
  return socket;
}

}  // namespace flagstream::http
