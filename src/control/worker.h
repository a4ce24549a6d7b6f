// A thread (or a few) for work that blocks: databases, queries over the lake.  A coroutine of the
// server's shard awaits run() and goes on where it was, so the shard never waits for a disk.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "io/await_callback.h"
#include "io/task.h"

namespace flagstream::control {

class Worker {
 public:
  // At most `calls_max` calls wait or run at once.
  Worker(std::size_t threads, std::size_t calls_max);
  // Finishes what runs and waits.  Nobody may be awaiting run() any more.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // f() on a thread of this worker; with one thread, calls run in the order they came.  `f` returns
  // a Result and stays in the caller's coroutine, so it may refer to what lives there.  Unavailable
  // when too many wait already.
  template <class F, class T = std::invoke_result_t<F&>>
  io::Task<T> run(F f) {
    if (!admit()) co_return fail(ErrorKind::Unavailable, "too many requests wait: try again");
    co_return co_await io::await_callback<T>(
        [this, &f](auto done) { post([&f, done = std::move(done)]() mutable { done(f()); }); });
  }

  // Calls that were not admitted.
  std::size_t refused() const;

 private:
  using Call = std::move_only_function<void()>;
  bool admit();
  void post(Call call);
  void work();

  const std::size_t calls_max_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Call> waiting_;  // calls_max_ bounds it
  std::size_t admitted_ = 0;  // waiting or running
  std::size_t refused_ = 0;
  bool is_stopping_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace flagstream::control
