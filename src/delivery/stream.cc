#include "delivery/stream.h"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include "io/signal.h"

namespace flagstream::delivery {

// The check does not see the use in co_await expressions.
// NOLINTNEXTLINE(misc-unused-using-decls)
using boost::asio::experimental::awaitable_operators::operator||;

void name_environment(const environment::FlagSet& flags, http::Response& response) {
  if (!flags.client_side_id.empty()) response.headers.add("X-LD-EnvID", flags.client_side_id);
}

http::Response stream_response(const environment::FlagSet& flags) {
  http::Response response;
  response.headers.add("Content-Type", "text/event-stream; charset=utf-8");
  response.headers.add("Cache-Control", "no-cache");
  response.headers.add("X-Accel-Buffering", "no");
  name_environment(flags, response);
  return response;
}

io::Task<bool> StreamContents::idle(http::StreamWriter& writer) {
  co_return (co_await writer.write(kHeartbeat)).has_value();
}

io::Task<void> follow(environment::Environments& environments, Followed what,
                      StreamContents& contents, http::StreamWriter& writer) {
  io::Signal changed(co_await io::net::this_coro::executor);
  const auto subscription = environments.subscribe(what.environment, [&] {
    contents.note_change();
    changed.notify();
  });
  bool goes_on = co_await contents.begin(writer);
  while (goes_on) {
    const auto ended = co_await (changed.wait(what.heartbeat) || writer.until_closed());
    if (ended.index() == 1) break;
    if (environments.find(what.kind, what.credential) != what.environment) break;
    if (std::get<0>(ended))
      goes_on = co_await contents.catch_up(writer);
    else
      goes_on = co_await contents.idle(writer);
  }
}

}  // namespace flagstream::delivery
