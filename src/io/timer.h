// Waiting inside a coroutine.
#pragma once

#include <chrono>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include "io/task.h"

namespace flagstream::io {

using Timer = net::basic_waitable_timer<std::chrono::steady_clock,
                                        net::wait_traits<std::chrono::steady_clock>, Executor>;

// Suspends for `duration`, less if the coroutine is cancelled.
inline Task<> sleep_for(std::chrono::milliseconds duration) {
  Timer timer(co_await net::this_coro::executor, duration);
  co_await timer.async_wait(as_value);
}

}  // namespace flagstream::io
