// Awaiting an operation that answers by calling back on another thread.
#pragma once

#include <utility>

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include "io/task.h"

namespace flagstream::io {

// Calls start(done) and suspends until done(value) was called, once, on any thread; goes on on the
// caller's executor. What `start` captures must outlive the wait.
template <class T, class Start>
Task<T> await_callback(Start start) {
  using Token = net::use_awaitable_t<Executor>;
  const Executor executor = co_await net::this_coro::executor;
  co_return co_await net::async_initiate<const Token, void(T)>(
      [&](auto handler) {
        // Tracked work keeps the shard's loop running until the answer has come, and no longer: the
        // other side may keep the callback for a while.
        auto shard = net::require(executor, net::execution::outstanding_work.tracked);
        start([shard = std::move(shard), handler = std::move(handler)](T value) mutable {
          const auto to = std::move(shard);
          net::post(to, [handler = std::move(handler), value = std::move(value)]() mutable {
            std::move(handler)(std::move(value));
          });
        });
      },
      Token());
}

}  // namespace flagstream::io
