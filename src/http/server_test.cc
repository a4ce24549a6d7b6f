#include "http/server.h"

#include <string>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/test_server.h"

namespace flagstream::http {
namespace {

using testing_client::Client;

TEST_F(ServerTest, AnswersInTheOrderOfPipelinedRequests) {
  start({echo("GET", "/{name}")});
  std::string requests;
  for (int i = 0; i < 100; ++i) {
    requests += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n";
  }
  Client client(server_->address());
  client.send(requests);
  const std::string answers = client.read_until("<>", 100);
  std::size_t at = 0;
  for (int i = 0; i < 100; ++i) {
    at = answers.find("[" + std::to_string(i) + "]", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
}

TEST_F(ServerTest, EveryAnswerHasDateAndLength) {
  start({echo("GET", "/a")});
  const std::string answer = exchange("GET /a HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\nDate: ")) << answer;
  EXPECT_NE(answer.find(" GMT\r\nContent-Length: 9\r\nConnection: close\r\n\r\nGET /a <>(closed)"),
            std::string::npos)
      << answer;
}

TEST_F(ServerTest, HeadIsServedByGetWithoutItsBody) {
  start({echo("GET", "/a")});
  const std::string answer = exchange("HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_NE(answer.find("Content-Length: 10\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\n(closed)")) << answer;
}

TEST_F(ServerTest, AChunkedBodyArrivesWhole) {
  start({echo("POST", "/a")});
  const std::string answer = exchange(
      "POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n");
  EXPECT_NE(answer.find("POST /a <abc0123456789>"), std::string::npos) << answer;
}

TEST_F(ServerTest, AnExpectedContinueIsGiven) {
  start({echo("POST", "/a")});
  Client client(server_->address());
  client.send("POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("hi");
  EXPECT_NE(client.read_until("<hi>").find("200 OK"), std::string::npos);
}

TEST_F(ServerTest, UnknownPathIs404AndKnownPathWithAnotherMethod405) {
  start({echo("POST", "/a"), echo("REPORT", "/b/{x}")});
  EXPECT_TRUE(exchange("GET /c HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404 "));
  const std::string answer = exchange("BREW /a HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 405 ")) << answer;
  EXPECT_NE(answer.find("Allow: POST\r\n"), std::string::npos) << answer;
  EXPECT_NE(exchange("REPORT /b/%2fq HTTP/1.0\r\n\r\n").find("[/q]"), std::string::npos);
}

TEST_F(ServerTest, MoreExactPatternsWinAndARestMayBeEmpty) {
  start({echo("*", "/a/*"), echo("GET", "/a/b/{x}"), echo("GET", "/a/b/c")});
  EXPECT_NE(exchange("GET /a/b/c HTTP/1.0\r\n\r\n").find("/a/b/c <>"), std::string::npos);
  EXPECT_NE(exchange("GET /a/b/d HTTP/1.0\r\n\r\n").find("[d]"), std::string::npos);
  EXPECT_NE(exchange("PUT /a/b/d HTTP/1.0\r\n\r\n").find("/a/b/d <>"), std::string::npos);
  EXPECT_NE(exchange("GET /a/ HTTP/1.0\r\n\r\n").find("/a/ <>"), std::string::npos);
}

TEST_F(ServerTest, AHandlerThatThrowsIs500AndCloses) {
  start({{"GET", "/a", 0, [](Request&) -> io::Task<Response> {
            throw std::runtime_error("boom");
            co_return Response();
          }}});
  const std::string answer = exchange("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 500 ")) << answer;
  EXPECT_EQ(answer.find("boom"), std::string::npos);
}

TEST_F(ServerTest, ServersOwnErrorsOnARouteAreCompleted) {
  Route route = echo("POST", "/a", 1);
  route.complete_error = [](const Request& request, Response& response) {
    response.headers.add("X-Origin", std::string(request.headers.find("origin").value_or("none")));
  };
  start({route});
  const std::string answer =
      exchange("POST /a HTTP/1.1\r\nHost: x\r\nOrigin: o\r\nContent-Length: 2\r\n\r\nab");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 413 ")) << answer;
  EXPECT_NE(answer.find("X-Origin: o\r\n"), std::string::npos) << answer;
  const std::string other = exchange("PUT /a HTTP/1.0\r\nOrigin: p\r\n\r\n");
  EXPECT_TRUE(other.starts_with("HTTP/1.1 405 ")) << other;
  EXPECT_NE(other.find("X-Origin: p\r\n"), std::string::npos) << other;
}

TEST_F(ServerTest, ABodyIsNotTheNextRequest) {
  start({echo("POST", "/a"), echo("GET", "/b")});
  const std::string smuggled = "GET /b HTTP/1.1\r\nHost: x\r\n\r\n";
  Client client(server_->address());
  client.send(
      "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(smuggled.size()) +
      "\r\n\r\n" + smuggled +
      "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n" +
      "GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string answers = client.read_all();
  EXPECT_NE(answers.find("POST /a <" + smuggled + ">HTTP/1.1 200"), std::string::npos) << answers;
  EXPECT_NE(answers.find("POST /a <1>HTTP/1.1 200"), std::string::npos) << answers;
  EXPECT_TRUE(answers.ends_with("GET /b <>(closed)")) << answers;
}

TEST_F(ServerTest, AClientThatHasFinishedSendingIsAnswered) {
  start({echo("POST", "/a")});
  Client client(server_->address());
  client.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
  client.finish_sending();
  EXPECT_TRUE(client.read_all().ends_with("POST /a <hi>(closed)"));
  Client cut(server_->address());
  cut.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nhi");
  cut.finish_sending();
  EXPECT_EQ(cut.read_all(), "(closed)") << "half a body is no request";
}

TEST_F(ServerTest, ATakenAddressIsAConflict) {
  start({echo("GET", "/a")});
  const auto second = Server::start({"other", server_->address(), 2, {}}, {}, clock_, registry_);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().kind, ErrorKind::Conflict);
}

TEST_F(ServerTest, AUnixSocketLeftByADeadProcessIsReplaced) {
  const std::string path = testing::TempDir() + "/http_dead_" + std::to_string(::getpid());
  const int dead = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  ASSERT_EQ(::bind(dead, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  ::close(dead);
  start({echo("GET", "/a")}, {}, "unix:" + path);
  EXPECT_NE(exchange("GET /a HTTP/1.0\r\n\r\n").find("GET /a <>"), std::string::npos);
}

}  // namespace
}  // namespace flagstream::http
