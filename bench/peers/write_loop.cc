// The least that can be done to fan a message out: accept connections, answer each request with a
// head and a first message of a given size, and for each line "change" on standard input write one
// message to every connection, with plain send() in one loop.  One thread.
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char** argv) {
  const std::size_t first_bytes = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000;
  const std::size_t change_bytes = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 500;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::listen(listener, 4'096);
  socklen_t size = sizeof address;
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::cout << "127.0.0.1:" << ntohs(address.sin_port) << std::endl;

  const std::string first =
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
      "event: put\ndata: " +
      std::string(first_bytes, 'x') + "\n\n";
  const std::string change = "event: patch\ndata: " + std::string(change_bytes, 'x') + "\n\n";
  const int poller = ::epoll_create1(EPOLL_CLOEXEC);
  const auto watch = [poller](int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    ::epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
  };
  watch(listener);
  watch(STDIN_FILENO);
  std::vector<int> clients;
  char buffer[4'096];
  for (;;) {
    epoll_event events[256];
    const int count = ::epoll_wait(poller, events, 256, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        for (int client; (client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
          const int yes = 1;
          ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
          watch(client);
        }
      } else if (fd == STDIN_FILENO) {
        if (::read(fd, buffer, sizeof buffer) <= 0) return 0;
        for (const int client : clients)
          (void)::send(client, change.data(), change.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      } else if (::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) > 0) {
        clients.push_back(fd);
        (void)::send(fd, first.data(), first.size(), MSG_NOSIGNAL);
      } else {
        ::epoll_ctl(poller, EPOLL_CTL_DEL, fd, nullptr);
      }
    }
  }
}
