// Suspends a coroutine until another one of its shard lets it go on.
#pragma once

#include <functional>
#include <utility>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>

#include "io/task.h"

namespace flagstream::io {

// Used on one shard only.  Costs next to nothing while it waits: no timer, no descriptor.
class Pause {
 public:
  Pause() = default;
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;

  bool is_waiting() const { return static_cast<bool>(go_on_); }

  // Until end().  At most one at a time; whoever cancels the coroutine must call end() as well.
  Task<void> wait() {
    using Token = net::use_awaitable_t<Executor>;
    return net::async_initiate<const Token, void()>(
        [this](auto handler) {
          go_on_ = [executor = net::get_associated_executor(handler),
                    handler = std::move(handler)]() mutable {
            net::post(executor, std::move(handler));
          };
        },
        Token());
  }

  // In the next turn of the loop.  Without a wait it is forgotten.
  void end() {
    if (auto go_on = std::exchange(go_on_, nullptr)) go_on();
  }

 private:
  std::move_only_function<void()> go_on_;
};

}  // namespace flagstream::io
