#include "control/worker.h"

#include <latch>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include "control/probe.h"

namespace flagstream::control {
namespace {

// Runs the tasks to their ends on one loop, as a shard does.
template <class... Tasks>
void run_all(Tasks... tasks) {
  io::net::io_context context(1);
  const auto fail_on_exception = [](std::exception_ptr failure) { EXPECT_EQ(failure, nullptr); };
  (io::net::co_spawn(context.get_executor(), std::move(tasks), fail_on_exception), ...);
  context.run();
}

TEST(Worker, AnswersOnTheCallersThread) {
  Worker worker(1, 4);
  const auto here = std::this_thread::get_id();
  bool is_done = false;
  run_all([&]() -> io::Task<> {
    std::thread::id there;
    const Result<int> answer = co_await worker.run([&]() -> Result<int> {
      there = std::this_thread::get_id();
      return 7;
    });
    EXPECT_EQ(*answer, 7);
    EXPECT_NE(there, here);
    EXPECT_EQ(std::this_thread::get_id(), here);
    const Result<void> failed =
        co_await worker.run([]() -> Result<void> { return fail(ErrorKind::NotFound, "x"); });
    EXPECT_EQ(failed.error().kind, ErrorKind::NotFound);
    is_done = true;
  }());
  EXPECT_TRUE(is_done);
}

TEST(Worker, RefusesWhatIsOverItsLimitAndGoesOn) {
  Worker worker(1, 2);
  std::latch go(1);
  std::vector<int> order;
  const auto call = [&](int number) -> io::Task<> {
    const Result<void> answer = co_await worker.run([&]() -> Result<void> {
      go.wait();
      order.push_back(number);
      return {};
    });
    EXPECT_TRUE(answer);
  };
  const auto refused = [&]() -> io::Task<> {
    const Result<void> answer = co_await worker.run([]() -> Result<void> { return {}; });
    EXPECT_EQ(answer.error().kind, ErrorKind::Unavailable);
    go.count_down();
  };
  run_all(call(1), call(2), refused());
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  EXPECT_EQ(worker.refused(), 1u);
}

TEST(Masked, ShowsKindAndEndOfACredentialOnly) {
  EXPECT_EQ(masked("sdk-01234567-89ab-cdef-0123-456789abcdef"), "sdk-…cdef");
  EXPECT_EQ(masked("0123456789abcdef0123456789abcdef0123"), "…0123");
  EXPECT_EQ(masked("sdk-short"), "…");
}

}  // namespace
}  // namespace flagstream::control
