#include "io/pause.h"

#include <memory>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <gtest/gtest.h>

namespace flagstream::io {
namespace {

TEST(Pause, LastsUntilItIsEndedAndThenGoesOnInTheNextTurn) {
  net::io_context context(1);
  Pause pause;
  int waits = 0;
  net::co_spawn(
      context.get_executor(),
      [&]() -> Task<> {
        while (waits < 2) {
          co_await pause.wait();
          ++waits;
        }
      },
      [](std::exception_ptr failure) {
        if (failure) std::rethrow_exception(failure);
      });
  context.poll();
  EXPECT_TRUE(pause.is_waiting());
  pause.end();
  EXPECT_FALSE(pause.is_waiting());
  EXPECT_EQ(waits, 0) << "not inside of end()";
  pause.end();  // nobody waits: forgotten
  context.restart();
  context.poll();
  EXPECT_EQ(waits, 1);
  EXPECT_TRUE(pause.is_waiting());
  pause.end();
  context.restart();
  context.run();
  EXPECT_EQ(waits, 2);
}

}  // namespace
}  // namespace flagstream::io
