// Sends SDK payloads to an events API from many connections and prints one line of JSON: how many,
// how fast, how long acknowledgements took, and whether the load itself was on time.
//
// With --rate the load is open: every payload has an intended time (a Poisson process, or a fixed
// beat), whatever the server does, and its latency counts from that moment, so that a stall is seen
// by every payload that falls into it.  A payload that is due while all connections wait for
// answers waits for one of them, and that wait is part of its latency.  Without --rate each
// connection sends its next payload when its last was answered, which finds the peak.
//
// The load can be at fault itself: an open-loop run whose thread used more than 90 % of its core,
// or whose sends were late by more than 1 ms (p99) although a connection was free, is *void* and
// says so; its figures say nothing about the server.
//
// One thread with epoll.  Beside HTTP it speaks as much of Redis (XADD) and NATS (publishing to a
// stream that acknowledges) as it takes to send the same payloads to them in the same way.
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"
#include "request.h"

namespace flagstream::bench {
namespace {

using Nanoseconds = std::int64_t;

constexpr Nanoseconds kSecond = 1'000'000'000;
constexpr double kOwnShareMax = 0.9;
constexpr Nanoseconds kLagMax = 1'000'000;
constexpr std::uint32_t kUserShifts = 4'000;
// Answers that are outstanding at the end are waited for that long.
constexpr Nanoseconds kPatience = 60 * kSecond;

struct Options {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;
  std::vector<std::string> keys;
  std::vector<std::string> payloads;
  Protocol protocol = Protocol::kHttp;
  std::string path;  // empty: /bulk of HTTP, events of the others
  unsigned connections = 8;
  double seconds = 5;
  double warmup = 0;
  double rate = 0;
  bool is_poisson = true;
  bool chunked = false;
  int status = 202;
  int pid = 0;
};

Nanoseconds now_ns() {
  timespec at{};
  ::clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * kSecond + at.tv_nsec;
}

std::uint64_t unix_ms() {
  timespec at{};
  ::clock_gettime(CLOCK_REALTIME, &at);
  return static_cast<std::uint64_t>(at.tv_sec) * 1'000 +
         static_cast<std::uint64_t>(at.tv_nsec) / 1'000'000;
}

double own_cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& at) {
    return static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Of all threads of another process; 0 if there is none.
double cpu_seconds_of(int pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::size_t names_end = text.rfind(')');
  if (names_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(names_end + 2));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  double user = 0, kernel = 0;
  fields >> user >> kernel;
  return (user + kernel) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

struct Connection {
  int fd = -1;
  std::size_t requests = 0;  // index of its first template: one for each payload
  bool is_busy = false;
  Nanoseconds due = 0;  // of the payload under way
  std::size_t body_bytes = 0;
  std::string unsent;
  std::string received;
};

struct Counts {
  std::uint64_t payloads = 0, bytes = 0, refused = 0, faults = 0, queued = 0;
  Histogram latency, lag;
};

class Load {
 public:
  Load(Options options, const std::vector<std::string>& bodies)
      : options_(std::move(options)), random_(std::random_device{}()), payloads_(bodies.size()) {
    for (std::size_t key = 0; key < options_.keys.size(); ++key) {
      for (const std::string& body : bodies) templates_.emplace_back(head(key), body);
    }
    connections_.resize(options_.connections);
    for (std::size_t n = 0; n < connections_.size(); ++n)
      connections_[n].requests = n % options_.keys.size() * payloads_;
    poll_ = ::epoll_create1(EPOLL_CLOEXEC);
    received_.resize(64 << 10);
  }

  // False if not every connection could be opened.
  bool open() {
    for (Connection& each : connections_) {
      if (!connect(each)) return false;
    }
    return true;
  }

  void run() {
    begun_ = now_ns();
    counted_from_ = begun_ + to_ns(options_.warmup);
    ends_ = counted_from_ + to_ns(options_.seconds);
    next_due_ = begun_;
    for (Connection& each : connections_) idle_.push_back(&each);
    bool is_counting = false;
    for (Nanoseconds now = begun_;; now = now_ns()) {
      if (!is_counting && now >= counted_from_) {
        is_counting = true;
        cpu_from_ = own_cpu_seconds();
        server_cpu_from_ = cpu_seconds_of(options_.pid);
      }
      if (!is_over_ && now >= ends_) {
        is_over_ = true;
        own_cpu_ = own_cpu_seconds() - cpu_from_;
      }
      start_what_is_due(now);
      if (is_over_ && busy_ == 0 && waiting_.empty()) break;
      if (open_ == 0 || now > ends_ + kPatience) {
        counts_.faults += busy_ + waiting_.size();
        break;
      }
      wait(now);
    }
    finished_ = std::max(last_answer_, ends_);
    server_cpu_ = cpu_seconds_of(options_.pid) - server_cpu_from_;
  }

  // One line of JSON; the exit status.
  int report() const {
    // What was sent before the end and answered after it still belongs to the measured time.
    const double seconds = static_cast<double>(finished_ - counted_from_) / 1e9;
    const double own_share = own_cpu_ / options_.seconds;
    std::string why_void;
    if (options_.rate > 0 && own_share > kOwnShareMax)
      why_void = fmt::format("the load used {:.0f} % of its core", own_share * 100);
    else if (options_.rate > 0 && counts_.lag.quantile(0.99) > kLagMax)
      why_void = fmt::format("the load sent late: p99 {} us", counts_.lag.quantile(0.99) / 1'000);
    const auto us = [](std::uint64_t ns) { return static_cast<double>(ns) / 1e3; };
    const Histogram& latency = counts_.latency;
    const double count = static_cast<double>(counts_.payloads);
    std::cout << fmt::format(
        R"({{"payloads":{},"refused":{},"faults":{},"seconds":{:.3f},)"
        R"("payloads_per_second":{:.1f},"megabytes_per_second":{:.2f},)"
        R"("mean_us":{:.1f},"p50_us":{:.1f},"p90_us":{:.1f},"p99_us":{:.1f},"p999_us":{:.1f},"max_us":{:.1f},)"
        R"("connections":{},"rate":{},"queued":{},"lag_p99_us":{:.1f},"lag_max_us":{:.1f},)"
        R"("own_cpu_share":{:.3f},"server_cpu_seconds":{:.3f},"void":"{}"}})"
        "\n",
        counts_.payloads, counts_.refused, counts_.faults, seconds, count / seconds,
        static_cast<double>(counts_.bytes) / seconds / 1e6, latency.mean() / 1e3,
        us(latency.quantile(0.5)), us(latency.quantile(0.9)), us(latency.quantile(0.99)),
        us(latency.quantile(0.999)), us(latency.max()), options_.connections, options_.rate,
        counts_.queued, us(counts_.lag.quantile(0.99)), us(counts_.lag.max()), own_share,
        options_.pid == 0 ? 0 : server_cpu_, why_void);
    return counts_.refused == 0 && counts_.faults == 0 ? 0 : 1;
  }

 private:
  static Nanoseconds to_ns(double seconds) { return static_cast<Nanoseconds>(seconds * 1e9); }

  RequestHead head(std::size_t key) const {
    return {.protocol = options_.protocol,
            .host = fmt::format("{}:{}", options_.host, options_.port),
            .path = options_.path,
            .key = options_.keys[key],
            .chunked = options_.chunked};
  }

  std::uint32_t number_of(const Connection& each) const {
    return static_cast<std::uint32_t>(&each - connections_.data());
  }

  bool connect(Connection& each) {
    each.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(options_.port);
    ::inet_pton(AF_INET, options_.host.c_str(), &address.sin_addr);
    if (each.fd < 0 ||
        ::connect(each.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      std::cerr << "load: cannot connect: " << std::strerror(errno) << '\n';
      ::close(std::exchange(each.fd, -1));
      return false;
    }
    const int yes = 1;
    ::setsockopt(each.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (options_.protocol == Protocol::kNats) {
      const std::string hello = fmt::format(
          "CONNECT {{\"verbose\":false,\"pedantic\":false,\"name\":\"load\"}}\r\nSUB {} 1\r\n",
          RequestTemplate::inbox_name(number_of(each)));
      if (::send(each.fd, hello.data(), hello.size(), MSG_NOSIGNAL) < 0) return false;
    }
    ::fcntl(each.fd, F_SETFL, O_NONBLOCK);
    watch(each, EPOLL_CTL_ADD, EPOLLIN);
    open_ += 1;
    return true;
  }

  void watch(Connection& each, int how, std::uint32_t events) const {
    epoll_event event{};
    event.events = events;
    event.data.ptr = &each;
    ::epoll_ctl(poll_, how, each.fd, &event);
  }

  Nanoseconds gap() {
    const double mean = 1e9 / options_.rate;
    return static_cast<Nanoseconds>(
        options_.is_poisson ? std::exponential_distribution<double>(1 / mean)(random_) : mean);
  }

  void start_what_is_due(Nanoseconds now) {
    if (options_.rate == 0) {
      while (!is_over_ && !idle_.empty()) {
        Connection& each = take_idle();
        start(each, now_ns());
      }
      return;
    }
    // Payloads that waited for a connection go first; they were due before those that are due now.
    while (!idle_.empty() && !waiting_.empty()) {
      Connection& each = take_idle();
      const Nanoseconds due = waiting_.front();
      waiting_.pop_front();
      start(each, due);
    }
    for (; next_due_ <= now && next_due_ < ends_; next_due_ += gap()) {
      const bool is_counted = next_due_ >= counted_from_;
      // Late is what the load notices late, whether a connection is free or not.
      if (is_counted) counts_.lag.record(static_cast<std::uint64_t>(now_ns() - next_due_));
      if (idle_.empty()) {
        waiting_.push_back(next_due_);
        counts_.queued += is_counted ? 1 : 0;
      } else {
        start(take_idle(), next_due_);
      }
    }
  }

  Connection& take_idle() {
    Connection& each = *idle_.front();
    idle_.pop_front();
    return each;
  }

  void start(Connection& each, Nanoseconds due) {
    each.is_busy = true;
    each.due = due;
    busy_ += 1;
    RequestTemplate& request = templates_[each.requests + turn_++ % payloads_];
    each.body_bytes = request.body_bytes();
    request.fill(random_(), random_(), unix_ms(),
                 static_cast<std::uint32_t>(random_() % kUserShifts));
    request.reply_to(number_of(each));
    const std::string_view bytes = request.bytes();
    const ssize_t sent = ::send(each.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
      lose(each);
    } else if (sent < static_cast<ssize_t>(bytes.size())) {
      // The template serves other connections meanwhile.
      each.unsent = bytes.substr(static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
      watch(each, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
  }

  void wait(Nanoseconds now) {
    Nanoseconds until = now + kSecond / 20;
    if (now < counted_from_) until = std::min(until, counted_from_);
    if (!is_over_) until = std::min(until, ends_);
    if (options_.rate > 0 && next_due_ < ends_) until = std::min(until, next_due_);
    const Nanoseconds left = std::max<Nanoseconds>(until - now, 0);
    const timespec timeout{left / kSecond, left % kSecond};
    epoll_event events[256];
    const int count = ::epoll_pwait2(poll_, events, 256, &timeout, nullptr);
    for (int i = 0; i < count; ++i) {
      auto& each = *static_cast<Connection*>(events[i].data.ptr);
      if (each.fd >= 0 && (events[i].events & EPOLLOUT) != 0) send_rest(each);
      if (each.fd >= 0 && (events[i].events & ~EPOLLOUT) != 0) receive(each);
    }
  }

  void send_rest(Connection& each) {
    const ssize_t sent = ::send(each.fd, each.unsent.data(), each.unsent.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN) lose(each);
      return;
    }
    each.unsent.erase(0, static_cast<std::size_t>(sent));
    if (each.unsent.empty()) watch(each, EPOLL_CTL_MOD, EPOLLIN);
  }

  void receive(Connection& each) {
    const ssize_t size = ::recv(each.fd, received_.data(), received_.size(), 0);
    if (size <= 0) {
      if (size == 0 || (errno != EAGAIN && errno != EINTR)) lose(each);
      return;
    }
    each.received.append(received_.data(), static_cast<std::size_t>(size));
    if (!each.is_busy) {
      each.received.clear();  // what NATS says of itself
      return;
    }
    const auto answer = parse_answer(options_.protocol, options_.status, each.received);
    if (!answer) return;
    finish(each, answer->is_accepted);
    each.received.erase(0, answer->bytes);
    if (answer->closes || !each.unsent.empty()) reopen(each);
    if (each.fd >= 0) idle_.push_back(&each);
  }

  void finish(Connection& each, bool is_accepted) {
    each.is_busy = false;
    busy_ -= 1;
    last_answer_ = now_ns();
    if (each.due < counted_from_) return;
    if (!is_accepted) {
      counts_.refused += 1;
      return;
    }
    counts_.payloads += 1;
    counts_.bytes += each.body_bytes;
    counts_.latency.record(static_cast<std::uint64_t>(last_answer_ - each.due));
  }

  void close(Connection& each) {
    ::close(each.fd);
    each.fd = -1;
    each.unsent.clear();
    each.received.clear();
    open_ -= 1;
  }

  void reopen(Connection& each) {
    close(each);
    if (!connect(each)) counts_.faults += 1;
  }

  // Only a connection that waits for an answer can be missed.
  void lose(Connection& each) {
    if (each.is_busy) {
      each.is_busy = false;
      busy_ -= 1;
      counts_.faults += 1;
    } else {
      std::erase(idle_, &each);
    }
    close(each);
  }

  const Options options_;
  std::mt19937_64 random_;
  const std::size_t payloads_;
  std::vector<RequestTemplate> templates_;
  std::vector<Connection> connections_;
  std::deque<Connection*> idle_;     // the one that has been idle longest first
  std::deque<Nanoseconds> waiting_;  // due, but no connection is free
  std::string received_;
  int poll_ = -1;
  std::size_t turn_ = 0, open_ = 0, busy_ = 0;
  bool is_over_ = false;
  Nanoseconds begun_ = 0, counted_from_ = 0, ends_ = 0, next_due_ = 0, last_answer_ = 0,
              finished_ = 0;
  double cpu_from_ = 0, own_cpu_ = 0, server_cpu_from_ = 0, server_cpu_ = 0;
  Counts counts_;
};

int run(const Options& options) {
  std::vector<std::string> bodies;
  for (const std::string& path : options.payloads) {
    std::ifstream file(path, std::ios::binary);
    bodies.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>{});
    if (bodies.back().empty()) {
      std::cerr << "load: " << path << " cannot be read\n";
      return 2;
    }
  }
  // Sleeps that end on time are what an open loop rests on.
  ::prctl(PR_SET_TIMERSLACK, 1);
  Load load(options, bodies);
  if (!load.open()) return 1;
  load.run();
  return load.report();
}

}  // namespace
}  // namespace flagstream::bench

int main(int argc, char** argv) {
  using flagstream::bench::Protocol;
  CLI::App app("Sends SDK payloads and prints throughput and acknowledgement latency.", "load");
  flagstream::bench::Options options;
  app.add_option("--host", options.host);
  app.add_option("--port", options.port)->required();
  app.add_option("--key", options.keys, "SDK key; several: connections take them in turn")
      ->required();
  app.add_option("--payload", options.payloads, "file with one body; several: taken in turn")
      ->required();
  app.add_option("--protocol", options.protocol)
      ->transform(CLI::CheckedTransformer(std::map<std::string, Protocol>{
          {"http", Protocol::kHttp}, {"redis", Protocol::kRedis}, {"nats", Protocol::kNats}}));
  app.add_option("--path", options.path, "path, name of the stream, or subject");
  app.add_option("--connections", options.connections)->check(CLI::Range(1, 1000));
  app.add_option("--seconds", options.seconds)->check(CLI::Range(0.1, 600.0));
  app.add_option("--warmup", options.warmup, "seconds before them that are not counted")
      ->check(CLI::Range(0.0, 60.0));
  app.add_option("--rate", options.rate, "payloads a second; 0: closed loop")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--poisson,!--fixed", options.is_poisson,
               "times between payloads of the open loop: random, or all the same");
  app.add_flag("--chunked", options.chunked, "bodies in chunks of 16 KiB");
  app.add_option("--status", options.status, "of answers that accept a payload");
  app.add_option("--pid", options.pid, "process whose CPU seconds are to be told");
  CLI11_PARSE(app, argc, argv);
  if (options.path.empty()) options.path = options.protocol == Protocol::kHttp ? "/bulk" : "events";
  return flagstream::bench::run(options);
}
