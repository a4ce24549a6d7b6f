// The thread that carries committed changes into the topic `config`.
//
// It keeps one Publisher open.  After a failure it lets go of the topic and opens it anew a moment
// later, which also recovers a writer whose disk failed; what was not published still waits in the
// catalog's outbox.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>

#include "base/error.h"
#include "catalog/publisher.h"

namespace flagstream::control {

class PublishLoop {
 public:
  // Opens a publisher that has not recovered yet; called on the loop's thread.
  using Open = std::function<Result<std::unique_ptr<catalog::Publisher>>()>;

  // `recovered` has been through recover().
  PublishLoop(std::unique_ptr<catalog::Publisher> recovered, Open open);
  // Publishes what waits, if that works at once, and lets go of the topic.
  ~PublishLoop();
  PublishLoop(const PublishLoop&) = delete;
  PublishLoop& operator=(const PublishLoop&) = delete;

  // Something was committed.  Any thread; does not block.
  void notify();
  // Whether the last attempt to publish worked.  Any thread.
  bool is_healthy() const { return is_healthy_; }

 private:
  void work(const std::stop_token& stop);
  Result<void> publish();

  std::unique_ptr<catalog::Publisher> publisher_;  // null after a failure
  Open open_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  bool has_work_ = true;
  std::atomic<bool> is_healthy_{true};
  std::jthread thread_;
};

}  // namespace flagstream::control
