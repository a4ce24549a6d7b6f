#include "control/publish_loop.h"

#include <utility>

#include "telemetry/tell.h"

namespace flagstream::control {
namespace {

constexpr std::chrono::milliseconds kRetryPause{500};

}  // namespace

PublishLoop::PublishLoop(std::unique_ptr<catalog::Publisher> recovered, Open open)
    : publisher_(std::move(recovered)),
      open_(std::move(open)),
      thread_([this](const std::stop_token& stop) { work(stop); }) {}

PublishLoop::~PublishLoop() {
  thread_.request_stop();
  thread_.join();
}

void PublishLoop::notify() {
  {
    const std::lock_guard lock(mutex_);
    has_work_ = true;
  }
  wake_.notify_one();
}

void PublishLoop::work(const std::stop_token& stop) {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, stop, [this] { return has_work_; });
      // What was committed just before the stop is published, too.
      if (!has_work_) return;
      has_work_ = false;
    }
    const Result<void> published = publish();
    is_healthy_ = published.has_value();
    if (published) continue;
    telemetry::warn("changes cannot be published yet", {{"error", published.error()}});
    publisher_.reset();
    std::unique_lock lock(mutex_);
    has_work_ = true;
    // Woken early by a stop only: an edit does not make the log come back.
    wake_.wait_for(lock, stop, kRetryPause, [] { return false; });
    if (stop.stop_requested()) return;
  }
}

Result<void> PublishLoop::publish() {
  if (publisher_ == nullptr) {
    FS_TRY(auto opened, open_());
    FS_TRY(opened->recover());
    publisher_ = std::move(opened);
    return {};
  }
  FS_TRY(publisher_->publish());
  return {};
}

}  // namespace flagstream::control
