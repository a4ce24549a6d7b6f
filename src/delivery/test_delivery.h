// For tests: what serves flags, with nothing behind it but a log.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "delivery/access.h"
#include "environment/test_records.h"
#include "http/server.h"
#include "http/test_client.h"
#include "log/local_log.h"

namespace flagstream::delivery {

using namespace environment::testing_records;
using http::testing_client::Client;

class DeliveryTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "delivery_" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    log_ = log::open_local_log(
        {.folder = folder_ + "/log", .segment_bytes = 1 << 20, .pool_segments = 0},
        io::posix_file_system(), clock_, registry_);
  }
  // After the server, and what it served, are gone.
  void TearDown() override {
    access_.reset();
    environments_.reset();
    appender_.reset();
    std::filesystem::remove_all(folder_);
  }
  void follow(std::chrono::milliseconds deadline) {
    access_.reset();
    environments_.reset();
    environments_ = *environment::Environments::start(
        {.state_path = folder_ + "/state", .catch_up_deadline = deadline}, *log_,
        io::posix_file_system(), *environment_clock_, registry_);
    access_ = std::make_unique<Access>(*environments_, registry_);
  }
  void serve(std::vector<http::Route> routes) {
    server_ = *http::Server::start(server_settings_, std::move(routes), clock_, registry_);
  }
  void append(const std::vector<std::string>& records) {
    if (appender_ == nullptr) appender_ = *log_->open_appender("config", {.partitions = 1});
    log::Batch batch;
    for (const std::string& each : records) batch.add({each});
    ASSERT_TRUE(appender_->append_and_wait(0, std::move(batch)));
  }
  std::string ask(const std::string& line, const std::string& fields = "",
                  const std::string& body = "") {
    Client client(server_->address());
    client.send(line + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + fields +
                "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return client.read_all();
  }
  static int status_of(const std::string& answer) { return std::stoi(answer.substr(9, 3)); }
  static std::string body_of(const std::string& answer) {
    const std::string body = answer.substr(answer.find("\r\n\r\n") + 4);
    return body.substr(0, body.rfind("(closed)"));
  }
  static std::string field_of(const std::string& answer, const std::string& name) {
    const std::size_t at = answer.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "";
    const std::size_t begin = at + name.size() + 4;
    return answer.substr(begin, answer.find("\r\n", begin) - begin);
  }

  http::ServerSettings server_settings_{
      .name = "test", .listen = "127.0.0.1:0", .shards = 2, .limits = {}};
  std::string folder_;
  SystemClock clock_;
  const Clock* environment_clock_ = &clock_;
  telemetry::Registry registry_;
  std::unique_ptr<log::Log> log_;
  std::unique_ptr<log::Appender> appender_;
  std::unique_ptr<environment::Environments> environments_;
  std::unique_ptr<Access> access_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace flagstream::delivery
