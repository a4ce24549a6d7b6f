// A thread (or a few) for work that blocks: databases, child processes.  A coroutine of the server's shard awaits
// run() and goes on where it was, so the shard never waits for a disk.
#pragma once

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <cstddef>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "io/task.h"

namespace flagstream::control {

class Worker {
 public:
  // At most `waiting_max` calls wait or run at once.
  Worker(std::size_t threads, std::size_t waiting_max);
  // Finishes what runs and waits.  Nobody may be awaiting run() any more.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // f() on a thread of this worker; with one thread, calls run in the order they came.  ResourceExhausted when too
  // many wait already.  `f` is moved, and destroyed on the caller's side.
  template <class F, class T = std::invoke_result_t<F&>>
  io::Task<Result<T>> run(F f) {
    if (waiting_.fetch_add(1) >= waiting_max_) {
      waiting_.fetch_sub(1);
      co_return fail(ErrorKind::ResourceExhausted, "too many requests wait: try again");
    }
    T answer = co_await io::net::co_spawn(context_, call(f), io::net::use_awaitable_t<io::Executor>());
    waiting_.fetch_sub(1);
    co_return answer;
  }

 private:
  template <class F, class T = std::invoke_result_t<F&>>
  static io::Task<T> call(F& f) {
    co_return f();
  }

  io::net::io_context context_;
  io::net::executor_work_guard<io::Executor> work_;
  std::atomic<std::size_t> waiting_{0};
  const std::size_t waiting_max_;
  std::vector<std::jthread> threads_;
};

}  // namespace flagstream::control
