#include "ingest/durable_append.h"

#include "io/await_callback.h"

namespace flagstream::ingest {

io::Task<Result<log::Appended>> durable_append(log::Appender& appender, log::Partition partition,
                                               log::Batch batch) {
  const io::Executor executor = co_await io::net::this_coro::executor;
  co_return co_await io::await_callback<Result<log::Appended>>([&](auto done) {
    // Behind what the executor has to do already, which may append, too: one write takes it all.
    // Before the batch is given away, so that it runs before the wait can end.
    io::net::post(executor, [&appender] { appender.start(); });
    appender.enqueue(partition, std::move(batch), std::move(done));
  });
}

}  // namespace flagstream::ingest
