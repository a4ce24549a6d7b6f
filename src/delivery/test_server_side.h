// For tests: the routes of server-side SDKs with nothing behind them but a log.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "delivery/server_side.h"
#include "delivery/test_delivery.h"

namespace flagstream::delivery {

class ServerSideTest : public DeliveryTest {
 protected:
  void TearDown() override {
    server_.reset();
    server_side_.reset();
    DeliveryTest::TearDown();
  }
  void start(std::chrono::milliseconds deadline = std::chrono::milliseconds(60'000),
             Settings settings = {.heartbeat = std::chrono::milliseconds(60'000)}) {
    server_.reset();
    server_side_.reset();
    follow(deadline);
    server_side_ =
        std::make_unique<ServerSide>(settings, *access_, *environments_, clock_, registry_);
    serve(server_side_->routes());
  }
  std::string get(const std::string& target,
                  const std::string& fields = "Authorization: sdk-7\r\n") {
    return ask("GET " + target, fields);
  }
  std::unique_ptr<Client> open_stream(const std::string& target = "/all",
                                      const std::string& key = "sdk-7") {
    auto client = std::make_unique<Client>(server_->address());
    client->send("GET " + target + " HTTP/1.1\r\nHost: x\r\nAuthorization: " + key + "\r\n\r\n");
    return client;
  }

  std::unique_ptr<ServerSide> server_side_;
};

}  // namespace flagstream::delivery
