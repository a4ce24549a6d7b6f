// A running control on real parts in a temporary folder, and a client of its socket.  For tests.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/control.h"
#include "json/json.h"
#include "log/local_log.h"

namespace flagstream::control {

struct Answer {
  int status = 0;
  std::string head;  // status line and fields
  std::string body;

  json::Value json() const {
    auto parsed = json::parse(body);
    EXPECT_TRUE(parsed) << body;
    return parsed ? *parsed : json::Value();
  }
  // Of the first such field; empty if there is none.
  std::string field(const std::string& name) const {
    const std::size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "";
    const std::size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

// A blocking connection that sends bytes as they stand.
class Client {
 public:
  explicit Client(const std::string& socket_path) : socket_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    socket_path.copy(name.sun_path, sizeof name.sun_path - 1);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
    const timeval patience{20, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  ~Client() { ::close(socket_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  // What came until `text` was in it, or the server closed.
  std::string read_until(std::string_view text) {
    std::string got;
    while (got.find(text) == std::string::npos) {
      char part[16384];
      const ssize_t n = ::recv(socket_, part, sizeof part, 0);
      if (n <= 0) return got;
      got.append(part, static_cast<std::size_t>(n));
    }
    return got;
  }

 private:
  int socket_;
};

class ControlTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("fs-control-" + random_hex(12));
    std::filesystem::create_directories(folder_ / "web/assets");
    write(folder_ / "web/index.html", "<!doctype html><title>Flagstream</title>");
    write(folder_ / "web/assets/a-1.js", "export {};");
    log_ = log::open_local_log(
        {.folder = folder_ / "log", .segment_bytes = 1 << 20, .pool_segments = 0},
        io::posix_file_system(), clock_, registry_);
  }
  void TearDown() override {
    control_.reset();
    log_.reset();
    std::filesystem::remove_all(folder_);
  }

  Settings settings() const {
    return {.socket_path = folder_ / "control.sock",
            .catalog_path = folder_ / "catalog.db",
            .results_path = folder_ / "results.db",
            .web_folder = folder_ / "web",
            .admin_token_path = folder_ / "admin-token"};
  }
  void start(Settings wanted) {
    control_.reset();
    auto started =
        Control::start(std::move(wanted), *log_, io::posix_file_system(), clock_, registry_);
    ASSERT_TRUE(started) << started.error().what;
    control_ = *std::move(started);
  }
  void start() { start(settings()); }

  std::string token() const {
    std::string text = *io::posix_file_system().read_file(folder_ / "admin-token");
    while (text.ends_with('\n')) text.pop_back();
    return text;
  }

  // `fields`: whole lines, each with its CRLF.
  Answer send(std::string_view method, const std::string& target, const std::string& fields,
              const std::string& body = "") const {
    Client client(folder_ / "control.sock");
    client.send(std::string(method) + " " + target +
                " HTTP/1.1\r\nHost: flags.test\r\nConnection: close\r\n" +
                (body.empty() ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n") +
                fields + "\r\n" + body);
    const std::string all = client.read_until("no such text is ever sent");
    Answer answer;
    const std::size_t end = all.find("\r\n\r\n");
    if (end == std::string::npos || all.size() < 12) return answer;
    answer.head = all.substr(0, end + 2);
    answer.body = all.substr(end + 4);
    answer.status = std::stoi(all.substr(9, 3));
    return answer;
  }
  Answer api(std::string_view method, const std::string& target,
             const std::string& body = "") const {
    return send(method, target, "Authorization: " + token() + "\r\n", body);
  }

  static void write(const std::filesystem::path& path, std::string_view contents) {
    ASSERT_TRUE(io::posix_file_system().replace_file(path.string(), contents));
  }

  std::filesystem::path folder_;
  SystemClock clock_;
  telemetry::Registry registry_;
  std::unique_ptr<log::Log> log_;
  std::unique_ptr<Control> control_;
};

}  // namespace flagstream::control
