// The way from folds to output topics: one queue per (sink, partition), at most one append of each
// under way, so that records reach the log in the order in which they were made whatever an append
// does.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "log/log.h"

namespace flagstream::pipeline {

class SinkQueue;

// What the queues of one worker share: bounds on bytes, and the first failure.
class SinkGroup {
 public:
  // `sending_bytes_max`: given to appenders and not yet durable (one larger batch may pass alone).
  explicit SinkGroup(std::size_t sending_bytes_max) : sending_bytes_max_(sending_bytes_max) {}

  // Blocks until at most `bytes_max` are neither durable nor failed.  The first failure; after it
  // nothing more is appended.
  Result<void> wait_for_room(std::size_t bytes_max);
  // Blocks until no append is under way, failed or not.
  void settle();

 private:
  friend class SinkQueue;
  using Lock = std::unique_lock<std::mutex>;

  void pump(Lock& lock);
  Result<void> outcome() const;

  const std::size_t sending_bytes_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<SinkQueue*> ready_;   // have something to send and nothing under way
  std::size_t waiting_bytes_ = 0;  // queued or sending
  std::size_t sending_bytes_ = 0;
  std::size_t sending_ = 0;  // appends
  std::optional<Error> failure_;
};

// add() and flush() belong to one thread.  The group must have settled before it goes.
class SinkQueue {
 public:
  SinkQueue(SinkGroup& group, log::Appender& appender, log::Partition partition)
      : group_(group), appender_(appender), partition_(partition) {}
  SinkQueue(const SinkQueue&) = delete;
  SinkQueue& operator=(const SinkQueue&) = delete;

  void add(std::string_view record);
  // Sends what was added.  Small batches are held back while one is under way, unless `all`: they
  // grow until it is durable.
  void flush(bool all);
  bool has_open() const { return open_.count() > 0; }

 private:
  friend class SinkGroup;
  void send(SinkGroup::Lock& lock);
  void complete(std::size_t bytes, Result<log::Appended> outcome);

  SinkGroup& group_;
  log::Appender& appender_;
  const log::Partition partition_;
  log::Batch open_;
  // Under the group's mutex:
  std::deque<log::Batch> queued_;
  bool is_busy_ = false;  // sending, or ready
};

}  // namespace flagstream::pipeline
