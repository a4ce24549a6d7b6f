#include "ingest/durable_append.h"

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace flagstream::ingest {

namespace net = boost::asio;

io::Task<Result<log::Appended>> durable_append(log::Appender& appender, log::Partition partition,
                                               log::Batch batch) {
  using Token = net::use_awaitable_t<io::Executor>;
  const io::Executor executor = co_await net::this_coro::executor;
  co_return co_await net::async_initiate<const Token, void(Result<log::Appended>)>(
      [&](auto handler) {
        // Tracked work keeps the shard's loop running until the log has answered, and no longer:
        // the log may keep the completion for a while.
        auto shard = net::require(executor, net::execution::outstanding_work.tracked);
        appender.append(
            partition, std::move(batch),
            [shard = std::move(shard),
             handler = std::move(handler)](Result<log::Appended> result) mutable {
              const auto to = std::move(shard);
              net::post(to, [handler = std::move(handler), result = std::move(result)]() mutable {
                std::move(handler)(std::move(result));
              });
            });
      },
      Token());
}

}  // namespace flagstream::ingest
