// An HTTP client for tests: says and hears bytes as they stand.
#pragma once

#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

namespace flagstream::http::testing_client {

// A blocking client that sends bytes as they stand.
class Client {
 public:
  explicit Client(const std::string& address) {
    if (address.starts_with("unix:")) {
      sockaddr_un name{};
      name.sun_family = AF_UNIX;
      address.copy(name.sun_path, sizeof name.sun_path - 1, 5);
      socket_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
      is_open_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0;
    } else {
      sockaddr_in name{};
      name.sin_family = AF_INET;
      name.sin_port = htons(std::stoi(address.substr(address.rfind(':') + 1)));
      name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
      is_open_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0;
    }
    const timeval patience{10, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  ~Client() { ::close(socket_); }
  Client(const Client&) = delete;

  bool is_open() const { return is_open_; }
  int descriptor() const { return socket_; }
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(sent);
    }
    return true;
  }
  void finish_sending() { ::shutdown(socket_, SHUT_WR); }
  // One byte; false once the server has closed.
  bool read_byte() {
    char byte = 0;
    return ::recv(socket_, &byte, 1, 0) == 1;
  }
  // Until `text` has come `times` times, or the server closed.
  std::string read_until(std::string_view text, int times = 1) {
    std::string got;
    std::size_t from = 0;
    for (;;) {
      for (std::size_t at; (at = got.find(text, from)) != std::string::npos;
           from = at + text.size()) {
        if (--times == 0) return got;
      }
      char part[4096];
      const ssize_t n = ::recv(socket_, part, sizeof part, 0);
      if (n <= 0) return got + (n < 0 ? "(reset or silent)" : "(closed)");
      got.append(part, n);
    }
  }
  std::string read_all() { return read_until("no such text is ever sent"); }

 private:
  int socket_ = -1;
  bool is_open_ = false;
};

}  // namespace flagstream::http::testing_client
