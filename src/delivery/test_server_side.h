// For tests: the routes of server-side SDKs with nothing behind them but a log.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "delivery/server_side.h"
#include "environment/test_records.h"
#include "http/test_client.h"
#include "log/local_log.h"

namespace flagstream::delivery {

using namespace environment::testing_records;
using http::testing_client::Client;

// A server with nothing behind it but a log.
class ServerSideTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + std::string("server_side_") + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    log_ = log::open_local_log(
        {.folder = folder_ + "/log", .segment_bytes = 1 << 20, .pool_segments = 0},
        io::posix_file_system(), clock_, registry_);
  }
  void TearDown() override {
    server_.reset();
    server_side_.reset();
    access_.reset();
    environments_.reset();
    appender_.reset();
    std::filesystem::remove_all(folder_);
  }
  void start(std::chrono::milliseconds deadline = std::chrono::milliseconds(60'000),
             Settings settings = {.heartbeat = std::chrono::milliseconds(60'000)}) {
    server_.reset();
    server_side_.reset();
    access_.reset();
    environments_.reset();
    environments_ = *environment::Environments::start(
        {.state_path = folder_ + "/state", .catch_up_deadline = deadline}, *log_,
        io::posix_file_system(), *environment_clock_, registry_);
    access_ = std::make_unique<Access>(*environments_, registry_);
    server_side_ =
        std::make_unique<ServerSide>(settings, *access_, *environments_, clock_, registry_);
    server_ = *http::Server::start(server_settings_, server_side_->routes(), clock_, registry_);
  }
  void append(const std::vector<std::string>& records) {
    if (appender_ == nullptr) appender_ = *log_->open_appender("config", {.partitions = 1});
    log::Batch batch;
    for (const std::string& each : records) batch.add({each});
    ASSERT_TRUE(appender_->append_and_wait(0, std::move(batch)));
  }
  std::string get(const std::string& target,
                  const std::string& fields = "Authorization: sdk-7\r\n") {
    Client client(server_->address());
    client.send("GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + fields +
                "\r\n");
    return client.read_all();
  }
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
  std::unique_ptr<Client> open_stream(const std::string& target = "/all",
                                      const std::string& key = "sdk-7") {
    auto client = std::make_unique<Client>(server_->address());
    client->send("GET " + target + " HTTP/1.1\r\nHost: x\r\nAuthorization: " + key + "\r\n\r\n");
    return client;
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
  std::unique_ptr<ServerSide> server_side_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace flagstream::delivery
