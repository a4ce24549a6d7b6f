// A server on a free port of loopback, as the tests of the server need it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "http/server.h"
#include "http/test_client.h"

namespace flagstream::http {

// Answers with what it was asked.
inline Route echo(std::string method, std::string pattern, std::size_t body_bytes_max = 64 << 10) {
  return {std::move(method), std::move(pattern), body_bytes_max,
          [](Request& request) -> io::Task<Response> {
            std::string text = request.method + " " + request.path;
            for (const std::string& capture : request.captures) text += " [" + capture + "]";
            co_return Response{.status = 200,
                               .headers = {},
                               .body = text + " <" + request.body + ">",
                               .shared_body = {},
                               .stream = {}};
          }};
}

inline Route stream_of(std::string pattern, std::function<io::Task<void>(StreamWriter&)> write) {
  return {"GET", std::move(pattern), 0, [write](Request&) -> io::Task<Response> {
            Response response;
            response.headers.add("Content-Type", "text/event-stream");
            response.stream = write;
            co_return response;
          }};
}

class ServerTest : public testing::Test {
 protected:
  Server& start(std::vector<Route> routes, Limits limits = {}, std::string listen = "127.0.0.1:0") {
    auto started =
        Server::start({"test", std::move(listen), 2, limits}, std::move(routes), clock_, registry_);
    if (!started) ADD_FAILURE() << started.error().what;
    server_ = *std::move(started);
    return *server_;
  }
  std::string exchange(std::string_view bytes) {
    testing_client::Client client(server_->address());
    client.send(bytes);
    return client.read_all();
  }

  telemetry::Registry registry_;
  SystemClock clock_;
  std::unique_ptr<Server> server_;
};

}  // namespace flagstream::http
