#include "ingest/durable_append.h"

#include "io/await_callback.h"

namespace flagstream::ingest {

io::Task<Result<log::Appended>> durable_append(log::Appender& appender, log::Partition partition,
                                               log::Batch batch) {
  co_return co_await io::await_callback<Result<log::Appended>>(
      [&](auto done) { appender.append(partition, std::move(batch), std::move(done)); });
}

}  // namespace flagstream::ingest
