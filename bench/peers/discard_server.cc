// The events API in front of nothing: the same HTTP server and the same checks as the gateway, but
// a body is forgotten instead of stored.  What the durable log costs is the difference. Prints its
// address and serves until its standard input ends.  usage: discard_server [SHARDS]
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

#include "base/clock.h"
#include "http/inflate.h"
#include "http/server.h"
#include "ingest/events_api.h"
#include "telemetry/metrics.h"

namespace {

using namespace flagstream;

class Discard final : public log::Appender {
 public:
  void enqueue(log::Partition, log::Batch, Completion done) override { done(log::Appended{}); }
  void start() override {}
};

io::Task<Result<ingest::KnownEnvironment>> anyone(ingest::CredentialKind, std::string_view,
                                                  std::string_view) {
  co_return ingest::KnownEnvironment{};
}

}  // namespace

int main(int argc, char** argv) {
  const unsigned shards =
      argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : std::thread::hardware_concurrency();
  SystemClock clock;
  telemetry::Registry registry;
  Discard nowhere;
  ingest::EventsApi api({.gateway_id = "bench", .limits = {}},
                        {.payloads = nowhere,
                         .clock = clock,
                         .registry = registry,
                         .authenticate = anyone,
                         .inflate = [](std::string_view gzip, std::string& out) {
                           return http::inflate_gzip(gzip, {}, out);
                         }});
  std::vector<http::Route> routes;
  for (ingest::Endpoint& endpoint : api.endpoints()) {
    routes.push_back({.method = std::move(endpoint.method),
                      .pattern = std::move(endpoint.path),
                      .body_bytes_max = endpoint.body_bytes_max,
                      .handler = std::move(endpoint.handler)});
  }
  auto server = http::Server::start(
      {.name = "public", .listen = "127.0.0.1:0", .shards = std::max(1u, shards), .limits = {}},
      std::move(routes), clock, registry);
  if (!server) {
    std::cerr << server.error().what << '\n';
    return 1;
  }
  std::cout << (*server)->address() << std::endl;
  std::string line;
  while (std::getline(std::cin, line)) {
  }
  (*server)->stop(std::chrono::milliseconds(100));
  return 0;
}
