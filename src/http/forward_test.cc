#include "http/forward.h"

#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/server.h"
#include "io/timer.h"

namespace flagstream::http {
namespace {

using std::chrono::milliseconds;

class ForwardTest : public testing::Test {
 protected:
  ForwardTest() {
    path_ = testing::TempDir() + "/http_forward_" + std::to_string(::getpid());
    ForwardSettings settings;
    settings.socket_path = path_;
    settings.role = "control";
    settings.answer_deadline = milliseconds(200);
    forwarder_ = std::make_unique<Forwarder>(settings, registry_);
    auto front =
        Server::start({"front", "127.0.0.1:0", 1, {}},
                      {{"*", "/api/*", 1 << 20, forwarder_->handler()}}, clock_, registry_);
    front_ = *std::move(front);
  }
  void serve(Handler handler) {
    auto back = Server::start({"back", "unix:" + path_, 1, {}},
                              {{"*", "/api/*", 1 << 20, std::move(handler)}}, clock_, registry_);
    if (!back) ADD_FAILURE() << back.error().what;
    back_ = *std::move(back);
  }
  std::string exchange(std::string_view bytes) {
    const std::string& address = front_->address();
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(std::stoi(address.substr(address.rfind(':') + 1)));
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(::connect(socket, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
    EXPECT_EQ(::send(socket, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    std::string got;
    char part[4096];
    for (ssize_t n; (n = ::recv(socket, part, sizeof part, 0)) > 0;) got.append(part, n);
    ::close(socket);
    return got;
  }

  telemetry::Registry registry_;
  SystemClock clock_;
  std::string path_;
  std::unique_ptr<Forwarder> forwarder_;
  std::unique_ptr<Server> back_;
  std::unique_ptr<Server> front_;
};

TEST_F(ForwardTest, NobodyListeningIs503WithRetryAfter) {
  const std::string answer = exchange("GET /api/x HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_NE(answer.find("Retry-After: 1\r\n"), std::string::npos);
}

TEST_F(ForwardTest, FieldsPassButThoseOfTheConnection) {
  serve([](Request& request) -> io::Task<Response> {
    std::string all = request.method + " " + request.target + " " + request.body + "\n";
    for (const Header& header : request.headers.all())
      all += header.name + "=" + header.value + "\n";
    Response response = json_response(201, std::move(all));
    response.headers.add("X-Answer", "1");
    co_return response;
  });
  const std::string answer = exchange(
      "POST /api/a%2fb?q=1 HTTP/1.1\r\nHost: h\r\nOrigin: o\r\nX-Forwarded-For: 1.2.3.4\r\n"
      "Connection: close, X-Hop\r\nX-Hop: 1\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 201 ")) << answer;
  EXPECT_NE(answer.find("X-Answer: 1\r\n"), std::string::npos) << answer;
  EXPECT_NE(
      answer.find("POST /api/a%2fb?q=1 hi\nHost=h\nOrigin=o\nX-Forwarded-For=1.2.3.4, 127.0.0.1\n"),
      std::string::npos)
      << answer;
  EXPECT_EQ(answer.find("X-Hop"), std::string::npos) << answer;
  EXPECT_EQ(answer.find("Upgrade"), std::string::npos) << answer;
}

TEST_F(ForwardTest, WhatTheOtherSideDecidesByCannotBeTakenAway) {
  serve([](Request& request) -> io::Task<Response> {
    std::string all;
    for (const Header& header : request.headers.all())
      all += header.name + "=" + header.value + "\n";
    co_return json_response(200, std::move(all));
  });
  const std::string answer = exchange(
      "GET /api/a HTTP/1.1\r\nHost: h\r\nOrigin: o\r\nCookie: c\r\n"
      "Connection: close, Host, Origin, Cookie, X-Forwarded-For\r\n\r\n");
  EXPECT_NE(answer.find("Host=h\nOrigin=o\nCookie=c\nX-Forwarded-For=127.0.0.1\n"),
            std::string::npos)
      << answer;
}

TEST_F(ForwardTest, AStreamIsHandedOnAsItComes) {
  serve([](Request&) -> io::Task<Response> {
    Response response;
    response.headers.add("Content-Type", "text/event-stream");
    response.stream = [](StreamWriter& out) -> io::Task<void> {
      EXPECT_TRUE((co_await out.write("data: 1\n\n")).has_value());
      co_await io::sleep_for(milliseconds(300));  // longer than the deadline of an answer
      EXPECT_TRUE((co_await out.write("data: 2\n\n")).has_value());
    };
    co_return response;
  });
  const std::string answer = exchange("GET /api/s HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(answer.find("Content-Type: text/event-stream\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n")) << answer;
}

TEST_F(ForwardTest, AStreamThatIsCutLooksCut) {
  serve([](Request&) -> io::Task<Response> {
    Response response;
    response.stream = [](StreamWriter& out) -> io::Task<void> {
      EXPECT_TRUE((co_await out.write("half")).has_value());
      throw std::runtime_error("the other half is missing");
    };
    co_return response;
  });
  const std::string answer = exchange("GET /api/s HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(answer.ends_with("\r\n\r\n4\r\nhalf\r\n")) << answer;
}

TEST_F(ForwardTest, AnAnswerThatTakesTooLongIs503) {
  serve([](Request&) -> io::Task<Response> {
    co_await io::sleep_for(milliseconds(1'000));
    co_return Response();
  });
  EXPECT_TRUE(exchange("GET /api/x HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 503 "));
}

TEST_F(ForwardTest, AHeadHasNoBody) {
  serve([](Request&) -> io::Task<Response> { co_return json_response(200, "12345"); });
  const std::string answer = exchange("HEAD /api/x HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\n")) << answer;
}

}  // namespace
}  // namespace flagstream::http
