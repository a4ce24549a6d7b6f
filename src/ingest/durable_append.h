// Waiting for the log inside a coroutine.
#pragma once

#include "base/clock.h"
#include "io/task.h"
#include "log/log.h"

namespace flagstream::ingest {

// Completes once the batch is durable or has failed.  What the caller's loop appends meanwhile is
// written with it: it waits until the loop finds nothing more to append, half a millisecond at
// most.
//
// The log reports on its own thread; the caller goes on on the executor that it runs on, which has
// one thread.  `appender` and `clock` must outlive the loop.
io::Task<Result<log::Appended>> durable_append(log::Appender& appender, const Clock& clock,
                                               log::Partition partition, log::Batch batch);

}  // namespace flagstream::ingest
