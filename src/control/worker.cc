#include "control/worker.h"

namespace flagstream::control {

Worker::Worker(std::size_t threads, std::size_t calls_max) : calls_max_(calls_max) {
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

Worker::~Worker() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  wake_.notify_all();
  threads_.clear();
}

std::size_t Worker::refused() const {
  const std::lock_guard lock(mutex_);
  return refused_;
}

bool Worker::admit() {
  const std::lock_guard lock(mutex_);
  if (admitted_ >= calls_max_) {
    ++refused_;
    return false;
  }
  ++admitted_;
  return true;
}

void Worker::post(Call call) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(call));
  }
  wake_.notify_one();
}

void Worker::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return is_stopping_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    Call call = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    call();
    call = nullptr;  // what it captured goes before the next one is admitted
    lock.lock();
    --admitted_;
  }
}

}  // namespace flagstream::control
