#include "pipeline/sink.h"

#include <utility>

#include "io/crash_point.h"

namespace flagstream::pipeline {
namespace {

constexpr std::size_t kBatchBytes = 1u << 20;

}  // namespace

Result<void> SinkGroup::outcome() const {
  if (failure_) return fail(*failure_);
  return {};
}

Result<void> SinkGroup::wait_for_room(std::size_t bytes_max) {
  Lock lock(mutex_);
  changed_.wait(lock, [&] { return failure_ || waiting_bytes_ <= bytes_max; });
  return outcome();
}

void SinkGroup::settle() {
  Lock lock(mutex_);
  changed_.wait(lock, [&] { return sending_ == 0 && (failure_ || waiting_bytes_ == 0); });
}

void SinkGroup::pump(Lock& lock) {
  while (!ready_.empty() && !failure_) {
    SinkQueue& next = *ready_.front();
    const std::size_t bytes = next.queued_.front().size();
    if (sending_bytes_ > 0 && sending_bytes_ + bytes > sending_bytes_max_) return;
    ready_.pop_front();
    next.send(lock);
  }
}

void SinkQueue::add(std::string_view record) {
  open_.add({record});
  if (open_.size() >= kBatchBytes) flush(true);
}

void SinkQueue::flush(bool all) {
  if (open_.count() == 0) return;
  SinkGroup::Lock lock(group_.mutex_);
  if (is_busy_ && !all) return;
  group_.waiting_bytes_ += open_.size();
  queued_.push_back(std::exchange(open_, log::Batch()));
  if (is_busy_) return;
  is_busy_ = true;
  group_.ready_.push_back(this);
  group_.pump(lock);
}

void SinkQueue::send(SinkGroup::Lock& lock) {
  log::Batch batch = std::move(queued_.front());
  queued_.pop_front();
  const std::size_t bytes = batch.size();
  group_.sending_bytes_ += bytes;
  ++group_.sending_;
  lock.unlock();
  appender_.append(partition_, std::move(batch), [this, bytes](Result<log::Appended> outcome) {
    complete(bytes, std::move(outcome));
  });
  lock.lock();
}

void SinkQueue::complete(std::size_t bytes, Result<log::Appended> outcome) {
  if (outcome) FS_CRASH_POINT("pipeline.after_sink_append");
  SinkGroup::Lock lock(group_.mutex_);
  SinkGroup& group = group_;
  group.sending_bytes_ -= bytes;
  group.waiting_bytes_ -= bytes;
  if (!outcome && !group.failure_) group.failure_ = std::move(outcome).error();
  is_busy_ = !queued_.empty();
  if (is_busy_) group.ready_.push_back(this);
  group.pump(lock);
  // Last of all, for whoever waits may then take the queues away.
  --group.sending_;
  group.changed_.notify_all();
}

}  // namespace flagstream::pipeline
