// Wakes a coroutine of one shard from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <utility>

#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include "io/task.h"
#include "io/timer.h"

namespace flagstream::io {

// Owned by a coroutine of the shard of `executor`, which alone may wait and destroy. notify() may
// be called from any thread while the Signal exists; what it leaves behind on the shard is safe
// after that. Notifications between two waits count as one.
class Signal {
 public:
  explicit Signal(Executor executor) : state_(std::make_shared<State>(std::move(executor))) {}
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;

  void notify() {
    // A wake-up is already under way, or will be noticed before the next wait suspends.
    if (state_->is_notified.exchange(true)) return;
    net::post(state_->executor, [state = state_] { state->timer.cancel(); });
  }

  // True: notified since the last wait that said so. False: `timeout` has passed, or the coroutine
  // was cancelled. At most one at a time.
  Task<bool> wait(std::chrono::milliseconds timeout) {
    const std::shared_ptr<State> state = state_;
    state->timer.expires_after(timeout);
    while (!state->is_notified.load()) {
      const auto [stopped] = co_await state->timer.async_wait(as_value);
      if (!stopped) break;
      // Either a notification, one that an earlier wait has already taken, or cancellation.
      const auto cancellation = co_await net::this_coro::cancellation_state;
      if (cancellation.cancelled() != net::cancellation_type::none) break;
    }
    co_return state->is_notified.exchange(false);
  }

 private:
  // Shared with the posted wake-ups, which may run after the Signal is gone.
  struct State {
    explicit State(Executor e) : executor(std::move(e)), timer(executor) {}

    Executor executor;
    Timer timer;  // touched on the shard only
    std::atomic<bool> is_notified{false};
  };

  std::shared_ptr<State> state_;
};

}  // namespace flagstream::io
