// Waiting for the log inside a coroutine.
#pragma once

#include "io/task.h"
#include "log/log.h"

namespace flagstream::ingest {

// Completes once the batch is durable or has failed.  The log reports on its own thread; the caller
// goes on on the executor that it runs on, which has one thread.  `appender` must outlive the wait.
io::Task<Result<log::Appended>> durable_append(log::Appender& appender, log::Partition partition,
                                               log::Batch batch);

}  // namespace flagstream::ingest
