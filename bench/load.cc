// Posts SDK payloads to an events API from many connections and prints one JSON line: how many, how
// fast, and how long acknowledgements took.
//
// With --rate the load is open: payload n is due at start + n / rate whatever the server does, and
// its latency counts from that moment, so a stall is seen by every payload that fell into it.
// Without, each connection sends its next payload when the last was answered, which finds the peak.
// Every payload has an identity of its own.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <iostream>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using Time = std::chrono::steady_clock;

struct Options {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;
  std::string key;
  std::string payload;
  unsigned connections = 8;
  double seconds = 5;
  double rate = 0;  // payloads a second of all connections; 0: as fast as answers come
};

struct Done {
  std::vector<std::uint32_t> latencies_us;
  std::uint64_t refused = 0;  // any status but 202
  std::string fault;          // what ended the connection early
};

int connect_to(const Options& options) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(options.port);
  ::inet_pton(AF_INET, options.host.c_str(), &address.sin_addr);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    ::close(fd);
    return -1;
  }
  const int yes = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return fd;
}

// The identity's place in the request is overwritten for each payload.
struct RequestText {
  std::string bytes;
  std::size_t identity_at = 0;

  RequestText(const Options& options, const std::string& body) {
    bytes = fmt::format(
        "POST /bulk HTTP/1.1\r\nHost: {}:{}\r\nAuthorization: {}\r\n"
        "Content-Type: application/json\r\nX-LaunchDarkly-Event-Schema: 4\r\n"
        "User-Agent: NodeJSClient/9.9.2\r\nX-LaunchDarkly-Payload-ID: ",
        options.host, options.port, options.key);
    identity_at = bytes.size();
    bytes += fmt::format("00000000-0000-4000-8000-000000000000\r\nContent-Length: {}\r\n\r\n{}",
                         body.size(), body);
  }
  void set_identity(std::uint64_t high, std::uint64_t low) {
    const std::string text = fmt::format("{:08x}-{:04x}-4{:03x}-8000-{:012x}", high >> 32,
                                         high >> 16 & 0xffff, high & 0xfff, low & 0xffffffffffff);
    bytes.replace(identity_at, text.size(), text);
  }
};

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

// The status of one answer without a body, or with one of the announced length.
std::optional<int> read_answer(int fd, std::string& buffer) {
  buffer.clear();
  char chunk[4096];
  for (;;) {
    const std::size_t head = buffer.find("\r\n\r\n");
    if (head != std::string::npos) {
      std::size_t body = 0;
      const std::size_t length = buffer.find("Content-Length: ");
      if (length < head) body = std::stoul(buffer.substr(length + 16));
      if (buffer.size() >= head + 4 + body) return std::stoi(buffer.substr(9, 3));
    }
    const ssize_t got = ::recv(fd, chunk, sizeof chunk, 0);
    if (got <= 0) return std::nullopt;
    buffer.append(chunk, static_cast<std::size_t>(got));
  }
}

void run_connection(const Options& options, const std::string& body,
                    std::atomic<std::uint64_t>& next, Time::time_point began, Done& done) {
  const int fd = connect_to(options);
  if (fd < 0) {
    done.fault = "cannot connect";
    return;
  }
  std::mt19937_64 random(std::random_device{}());
  RequestText request(options, body);
  std::string answer;
  const auto ends = began + std::chrono::duration_cast<Time::duration>(
                                std::chrono::duration<double>(options.seconds));
  while (done.fault.empty()) {
    auto due = Time::now();
    if (options.rate > 0) {
      due = began + std::chrono::duration_cast<Time::duration>(std::chrono::duration<double>(
                        static_cast<double>(next.fetch_add(1)) / options.rate));
      std::this_thread::sleep_until(due);
    }
    if (due >= ends) break;
    request.set_identity(random(), random());
    const auto status = send_all(fd, request.bytes) ? read_answer(fd, answer) : std::nullopt;
    if (!status) {
      done.fault = "the connection was lost";
    } else if (*status != 202) {
      done.refused += 1;
    } else {
      done.latencies_us.push_back(static_cast<std::uint32_t>(
          std::chrono::duration_cast<std::chrono::microseconds>(Time::now() - due).count()));
    }
  }
  ::close(fd);
}

int report(const Options& options, std::size_t payload_bytes, double seconds,
           const std::vector<Done>& all) {
  std::vector<std::uint32_t> latencies;
  std::uint64_t refused = 0, faults = 0;
  for (const Done& done : all) {
    latencies.insert(latencies.end(), done.latencies_us.begin(), done.latencies_us.end());
    refused += done.refused;
    faults += done.fault.empty() ? 0 : 1;
    if (!done.fault.empty()) std::cerr << "load: " << done.fault << '\n';
  }
  std::ranges::sort(latencies);
  const auto quantile = [&](double q) {
    return latencies.empty()
               ? 0u
               : latencies[std::min(
                     latencies.size() - 1,
                     static_cast<std::size_t>(q * static_cast<double>(latencies.size())))];
  };
  const double count = static_cast<double>(latencies.size());
  std::cout << fmt::format(
      R"({{"payloads":{},"refused":{},"faults":{},"seconds":{:.3f},"payloads_per_second":{:.1f},"megabytes_per_second":{:.2f},"p50_us":{},"p99_us":{},"max_us":{},"connections":{},"rate":{}}})"
      "\n",
      latencies.size(), refused, faults, seconds, count / seconds,
      count * static_cast<double>(payload_bytes) / seconds / 1e6, quantile(0.5), quantile(0.99),
      quantile(1), options.connections, options.rate);
  return refused == 0 && faults == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Posts SDK payloads and prints throughput and acknowledgement latency.", "load");
  Options options;
  app.add_option("--host", options.host);
  app.add_option("--port", options.port)->required();
  app.add_option("--key", options.key, "SDK key")->required();
  app.add_option("--payload", options.payload, "file with one body")->required();
  app.add_option("--connections", options.connections)->check(CLI::Range(1, 1000));
  app.add_option("--seconds", options.seconds)->check(CLI::Range(0.1, 600.0));
  app.add_option("--rate", options.rate, "payloads a second; 0: closed loop");
  CLI11_PARSE(app, argc, argv);
  std::ifstream file(options.payload, std::ios::binary);
  const std::string body{std::istreambuf_iterator<char>(file), {}};
  if (body.empty()) {
    std::cerr << "load: " << options.payload << " cannot be read\n";
    return 2;
  }
  std::vector<Done> all(options.connections);
  std::atomic<std::uint64_t> next{0};
  const auto began = Time::now();
  {
    std::vector<std::jthread> threads;
    threads.reserve(options.connections);
    for (Done& done : all) {
      threads.emplace_back([&] { run_connection(options, body, next, began, done); });
    }
  }
  return report(options, body.size(), std::chrono::duration<double>(Time::now() - began).count(),
                all);
}
