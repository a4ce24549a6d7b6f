// Holds many server-sent event streams open and says when messages arrive on them.
//
// It opens the streams from several loopback addresses, waits until each has had its first message,
// and prints a line of JSON.  Then it obeys the lines of its standard input, with a line of JSON
// for each:
//   next          waits for one message on every stream; when they came, relative to the first one
//   record TEXT   begins to note when each greater number after TEXT arrives on each stream
//   until N       waits until number N came on every open stream; when it did
//   stop          ends recording; what came of every number
// Between lines it goes on reading.  One thread with epoll: what it measures includes its own
// reading, as it does for every peer alike.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
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
  std::string paths_file;  // a path a line, taken in turn, instead
  std::string key;
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
  std::string tail;          // while recording: what a text may begin in, of the bytes before
  std::uint64_t number = 0;  // the last one that was recorded
};

// When a number arrived, on each stream that had it.
using Arrivals = std::map<std::uint64_t, std::vector<std::int64_t>>;

// Reads ahead of nothing: epoll says when the next line is there.
class Lines {
 public:
  // False at the end.
  bool read() {
    char bytes[4'096];
    const ssize_t size = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (size > 0) pending_.append(bytes, static_cast<std::size_t>(size));
    return size > 0;
  }
  std::optional<std::string> take() {
    const std::size_t end = pending_.find('\n');
    if (end == std::string::npos) return std::nullopt;
    std::string line = pending_.substr(0, end);
    pending_.erase(0, end + 1);
    return line;
  }

 private:
  std::string pending_;
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
    std::vector<std::string> paths;
    if (std::ifstream file(options_.paths_file); !options_.paths_file.empty()) {
      for (std::string line; std::getline(file, line);) paths.push_back(line);
    }
    if (paths.empty()) paths.push_back(options_.path);
    for (const std::string& path : paths) requests_.push_back(request_for(path));
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

  // Obeys until the end of the standard input.
  void obey() {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = kStandardInput;
    ::epoll_ctl(poll_, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    while (poll_once(now_ns()) && !has_ended_) {
      while (const auto line = lines_.take()) obey(*line);
    }
  }

 private:
  static constexpr std::uint32_t kStandardInput = ~0u;

  std::string request_for(std::string_view path) const {
    return fmt::format(
        "GET {} HTTP/1.1\r\nHost: {}:{}\r\nAccept: text/event-stream\r\n{}\r\n", path,
        options_.host, options_.port,
        options_.key.empty() ? "" : fmt::format("Authorization: {}\r\n", options_.key));
  }

  void obey(std::string_view line) {
    const std::size_t space = std::min(line.find(' '), line.size());
    const std::string_view word = line.substr(0, space);
    line.remove_prefix(std::min(space + 1, line.size()));
    if (word == "next") {
      next();
    } else if (word == "record") {
      record(line);
    } else if (word == "until") {
      until(std::stoull(std::string(line)));
    } else if (word == "stop") {
      stop();
    } else {
      std::cerr << "unknown: " << word << '\n';
      std::exit(2);
    }
  }

  // One message more on each.
  void next() {
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
    std::vector<std::int64_t> at;
    for (const Stream& each : streams_) {
      if (each.arrived != 0) at.push_back(each.arrived);
    }
    std::cout << fmt::format("{{\"got\":{},{}}}", at.size(), times(std::move(at))) << std::endl;
  }

  void record(std::string_view text) {
    text_ = text;
    arrivals_.clear();
    messages_ = 0;
    stale_ = 0;
    for (Stream& each : streams_) {
      each.tail.clear();
      each.number = 0;
    }
    std::cout << R"({"recording":true})" << std::endl;
  }

  void until(std::uint64_t number) {
    const std::int64_t began = now_ns();
    while (arrivals_[number].size() < options_.streams - lost_) {
      if (!poll_once(began)) break;
    }
    std::cout << recorded(number) << std::endl;
  }

  void stop() {
    std::string all;
    for (const auto& [number, at] : arrivals_) all += (all.empty() ? "" : ",") + recorded(number);
    std::cout << fmt::format(R"({{"messages":{},"stale":{},"lost":{},"numbers":[{}]}})", messages_,
                             stale_, lost_, all)
              << std::endl;
    text_.clear();
  }

  std::string recorded(std::uint64_t number) const {
    const std::vector<std::int64_t>& at = arrivals_.at(number);
    return fmt::format(R"({{"number":{},"got":{},{}}})", number, at.size(), times(at));
  }

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
    const std::string& request = requests_[index % requests_.size()];
    if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size()))
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
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u32 == kStandardInput) {
        has_ended_ = !lines_.read();
      } else {
        read(streams_[events[i].data.u32]);
      }
    }
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
    messages_ += stream.messages - before;
    if (!text_.empty()) note_numbers(stream, bytes, now);
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

  // A number counts once its last digit has come, which something else must follow.
  void note_numbers(Stream& stream, std::string_view bytes, std::int64_t now) {
    constexpr std::size_t kDigitsMax = 20;
    std::string& seen = stream.tail;
    seen += bytes;
    std::size_t from = 0;
    for (std::size_t at; (at = seen.find(text_, from)) != std::string::npos;) {
      const std::size_t begin = at + text_.size();
      const std::size_t end = seen.find_first_not_of("0123456789", begin);
      if (end == std::string::npos) {
        from = at;
        seen.erase(0, from);
        return;
      }
      if (end > begin && end - begin < kDigitsMax)
        note_number(stream, std::stoull(seen.substr(begin, end - begin)), now);
      from = end;
    }
    seen.erase(0, std::max(from, seen.size() - std::min(seen.size(), text_.size() - 1)));
  }

  // Numbers grow: what comes again, or later than a greater one, is stale.
  void note_number(Stream& stream, std::uint64_t number, std::int64_t now) {
    if (number <= stream.number) {
      stale_ += 1;
      return;
    }
    stream.number = number;
    arrivals_[number].push_back(now);
  }

  // The members that say when something came.
  std::string times(std::vector<std::int64_t> at) const {
    std::sort(at.begin(), at.end());
    if (at.empty()) at.push_back(0);
    const auto ms = [&](double quantile) {
      const auto index =
          static_cast<std::size_t>(std::ceil(quantile * static_cast<double>(at.size())) - 1);
      return static_cast<double>(at[std::min(index, at.size() - 1)] - at.front()) / 1e6;
    };
    return fmt::format(
        R"("lost":{},"first_ns":{},"p50_ms":{:.3f},"p99_ms":{:.3f},"last_ms":{:.3f})", lost_,
        at.front(), ms(0.5), ms(0.99), ms(1));
  }

  const Options options_;
  std::vector<Stream> streams_;
  std::vector<std::string> requests_;
  std::string buffer_ = std::string(256 << 10, '\0');
  int poll_ = -1;
  unsigned started_ = 0;
  unsigned opened_ = 0;
  unsigned waiting_ = 0;
  bool is_armed_ = false;
  bool has_ended_ = false;
  Lines lines_;
  std::string text_;  // empty: nothing is recorded
  Arrivals arrivals_;
  std::uint64_t messages_ = 0;
  std::uint64_t stale_ = 0;
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
  app.add_option("--paths", options.paths_file);
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
  streams.obey();
  return 0;
}
