#include "io/signal.h"

#include <memory>
#include <thread>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <gtest/gtest.h>

namespace flagstream::io {
namespace {

using std::chrono::milliseconds;

template <class F>
void run(F coroutine) {
  net::io_context context(1);
  net::co_spawn(context.get_executor(), std::move(coroutine), [](std::exception_ptr failure) {
    if (failure) std::rethrow_exception(failure);
  });
  context.run();
}

TEST(Signal, ANotificationBeforeTheWaitIsNotLost) {
  run([]() -> Task<> {
    Signal signal(co_await net::this_coro::executor);
    signal.notify();
    EXPECT_TRUE(co_await signal.wait(milliseconds(60'000)));
  });
}

TEST(Signal, WithoutANotificationTheTimeoutEndsTheWait) {
  run([]() -> Task<> {
    Signal signal(co_await net::this_coro::executor);
    EXPECT_FALSE(co_await signal.wait(milliseconds(1)));
  });
}

TEST(Signal, ManyNotificationsBetweenTwoWaitsCountAsOne) {
  run([]() -> Task<> {
    Signal signal(co_await net::this_coro::executor);
    signal.notify();
    signal.notify();
    EXPECT_TRUE(co_await signal.wait(milliseconds(60'000)));
    // The wake-up of the first wait is still queued; it must not end this one early.
    const auto start = std::chrono::steady_clock::now();
    EXPECT_FALSE(co_await signal.wait(milliseconds(20)));
    EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(20));
  });
}

TEST(Signal, EveryHandOverFromAnotherThreadIsNoticed) {
  constexpr int kRounds = 2'000;
  std::atomic<int> asked{0};
  std::atomic<bool> is_over{false};
  std::thread other;
  run([&]() -> Task<> {
    Signal signal(co_await net::this_coro::executor);
    other = std::thread([&] {
      int answered = 0;
      while (!is_over) {
        if (asked > answered) {
          ++answered;
          signal.notify();
        }
      }
    });
    for (int i = 0; i < kRounds; ++i) {
      ++asked;
      if (!co_await signal.wait(milliseconds(60'000))) ADD_FAILURE() << "lost in round " << i;
    }
    is_over = true;
    other.join();
  });
}

TEST(Signal, AWakeUpStillUnderWayOutlivesItsSignal) {
  run([]() -> Task<> {
    for (int i = 0; i < 100; ++i) {
      auto signal = std::make_unique<Signal>(co_await net::this_coro::executor);
      signal->notify();
      signal.reset();
    }
    co_await sleep_for(milliseconds(1));
  });
}

}  // namespace
}  // namespace flagstream::io
