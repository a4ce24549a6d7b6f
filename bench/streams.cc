// Holds many server-sent event streams open and says when messages arrive on them.
//
// It opens the streams from several loopback addresses, waits until each has had its first message,
// and prints a line of JSON.  Then each line "next" on its standard input arms it for one message
// on every stream; when all have it (or after the patience), it prints when they came, relative to
// the first one.  One thread with epoll: what it measures includes its own reading, as it does for
// every peer alike.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;
  std::string path = "/all";
  std::string key;
  std::string method = "GET";
  unsigned streams = 1'000;
  unsigned connecting_at_once = 256;
  unsigned addresses = 8;  // 127.0.1.1 and up: one address has some 28,000 ports
  double patience = 60;
};

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch())
      .count();
}

struct Stream {
  int fd = -1;
  bool has_head = false;
  bool is_open = false;        // has had its first message
  char last = 0;               // byte before what comes next, across reads
  std::uint64_t messages = 0;  // complete ones: an empty line after a field
  bool has_field = false;      // since the last empty line, which a comment is not
  bool is_line_start = true;
  bool is_comment = false;
  std::int64_t arrived = 0;  // of the last message
  std::string head;
};

// Counts the messages that end in `bytes`: lines that are no comments, up to an empty line.  Chunk
// sizes of a chunked body are lines of hex digits; they begin with none of the letters of "data:"
// or "event:" followed by a colon, so only lines with a colon count as fields.
void count_messages(Stream& stream, std::string_view bytes, std::int64_t now) {
  for (const char c : bytes) {
    if (c == '\n') {
      if (stream.is_line_start) {
        if (stream.has_field) {
          stream.messages += 1;
          stream.arrived = now;
        }
        stream.has_field = false;
      }
      stream.is_line_start = true;
      stream.is_comment = false;
    } else if (c != '\r') {
      if (stream.is_line_start && c == ':') stream.is_comment = true;
      if (c == ':' && !stream.is_line_start && !stream.is_comment) stream.has_field = true;
      stream.is_line_start = false;
    }
  }
}

class Streams {
 public:
  explicit Streams(Options options) : options_(std::move(options)), streams_(options_.streams) {
    poll_ = ::epoll_create1(EPOLL_CLOEXEC);
    request_ =
        fmt::format("{} {} HTTP/1.1\r\nHost: {}:{}\r\nAccept: text/event-stream\r\n{}\r\n",
                    options_.method, options_.path, options_.host, options_.port,
                    options_.key.empty() ? "" : fmt::format("Authorization: {}\r\n", options_.key));
  }

  // Opens all and waits for the first message of each.
  bool open() {
    const std::int64_t began = now_ns();
    while (opened_ < options_.streams) {
      while (started_ < options_.streams && started_ - opened_ < options_.connecting_at_once)
        if (!connect(started_++)) return false;
      if (!poll_once(began)) return false;
    }
    const double seconds = static_cast<double>(now_ns() - began) / 1e9;
    std::cout << fmt::format(R"({{"streams":{},"seconds":{:.4f},"bytes":{},"lost":{}}})",
                             options_.streams, seconds, bytes_, lost_)
              << std::endl;
    return true;
  }

  // One message more on each.
  bool next() {
    waiting_ = 0;
    for (Stream& each : streams_) {
      each.messages = 0;
      each.arrived = 0;
      waiting_ += each.fd >= 0 ? 1 : 0;
    }
    is_armed_ = true;
    std::cout << R"({"armed":true})" << std::endl;
    const std::int64_t began = now_ns();
    while (waiting_ > 0) {
      if (!poll_once(began)) break;
    }
    is_armed_ = false;
    print_arrivals();
    return true;
  }

 private:
  bool connect(unsigned index) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int yes = 1;
    // Ports are chosen with the whole four-tuple in view, not when the address is bound.
    ::setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    sockaddr_in from{};
    from.sin_family = AF_INET;
    from.sin_addr.s_addr = htonl((127u << 24) + (1u << 8) + 1 + index % options_.addresses);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(options_.port);
    ::inet_pton(AF_INET, options_.host.c_str(), &to.sin_addr);
    if (fd < 0 || ::bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0 ||
        ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
      std::cerr << "stream " << index << ": " << std::strerror(errno) << '\n';
      return false;
    }
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (::send(fd, request_.data(), request_.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request_.size()))
      return false;
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = index;
    ::epoll_ctl(poll_, EPOLL_CTL_ADD, fd, &event);
    streams_[index].fd = fd;
    return true;
  }

  // False after the patience.
  bool poll_once(std::int64_t began) {
    epoll_event events[512];
    const int count = ::epoll_wait(poll_, events, 512, 100);
    for (int i = 0; i < count; ++i) read(streams_[events[i].data.u32]);
    if (static_cast<double>(now_ns() - began) / 1e9 <= options_.patience) return true;
    std::cerr << "out of patience: " << opened_ << " open, " << waiting_ << " waiting\n";
    return false;
  }

  void read(Stream& stream) {
    const ssize_t size = ::recv(stream.fd, buffer_.data(), buffer_.size(), 0);
    const std::int64_t now = now_ns();
    if (size <= 0) {
      if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
      ::close(stream.fd);
      stream.fd = -1;
      lost_ += 1;
      if (is_armed_ && stream.messages == 0) waiting_ -= 1;
      if (!stream.is_open) opened_ += 1;
      return;
    }
    bytes_ += static_cast<std::uint64_t>(size);
    std::string_view bytes(buffer_.data(), static_cast<std::size_t>(size));
    if (!stream.has_head && !take_head(stream, bytes)) return;
    const std::uint64_t before = stream.messages;
    count_messages(stream, bytes, now);
    if (stream.messages == before) return;
    if (!stream.is_open) {
      stream.is_open = true;
      opened_ += 1;
    } else if (is_armed_ && before == 0) {
      waiting_ -= 1;
    }
  }

  // True once the head is over; `bytes` is what follows it.
  bool take_head(Stream& stream, std::string_view& bytes) {
    const std::size_t before = stream.head.size();
    stream.head += bytes.substr(0, 4'096);
    const std::size_t end = stream.head.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    if (!stream.head.starts_with("HTTP/1.1 200")) {
      std::cerr << stream.head.substr(0, stream.head.find('\r')) << '\n';
      std::exit(1);
    }
    bytes.remove_prefix(end + 4 - before);
    stream.head.clear();
    stream.head.shrink_to_fit();
    stream.has_head = true;
    return true;
  }

  void print_arrivals() const {
    std::vector<std::int64_t> at;
    for (const Stream& each : streams_) {
      if (each.arrived != 0) at.push_back(each.arrived);
    }
    std::sort(at.begin(), at.end());
    if (at.empty()) at.push_back(0);
    const auto ms = [&](double quantile) {
      const auto index =
          static_cast<std::size_t>(std::ceil(quantile * static_cast<double>(at.size())) - 1);
      return static_cast<double>(at[std::min(index, at.size() - 1)] - at.front()) / 1e6;
    };
    std::cout << fmt::format(
                     R"({{"got":{},"lost":{},"first_ns":{},"p50_ms":{:.3f},"p99_ms":{:.3f},)"
                     R"("last_ms":{:.3f}}})",
                     at.front() == 0 ? 0 : at.size(), lost_, at.front(), ms(0.5), ms(0.99), ms(1))
              << std::endl;
  }

  const Options options_;
  std::vector<Stream> streams_;
  std::string request_;
  std::string buffer_ = std::string(256 << 10, '\0');
  int poll_ = -1;
  unsigned started_ = 0;
  unsigned opened_ = 0;
  unsigned waiting_ = 0;
  bool is_armed_ = false;
  std::uint64_t bytes_ = 0;
  std::uint64_t lost_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Holds server-sent event streams open and times their messages."};
  app.add_option("--host", options.host);
  app.add_option("--port", options.port)->required();
  app.add_option("--path", options.path);
  app.add_option("--key", options.key);
  app.add_option("--streams", options.streams);
  app.add_option("--addresses", options.addresses);
  app.add_option("--at-once", options.connecting_at_once);
  app.add_option("--patience", options.patience);
  CLI11_PARSE(app, argc, argv);
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  Streams streams(options);
  if (!streams.open()) return 1;
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "next") streams.next();
  }
  return 0;
}
