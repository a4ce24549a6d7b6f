#include "control/worker.h"

namespace flagstream::control {

Worker::Worker(std::size_t threads, std::size_t waiting_max)
    : context_(static_cast<int>(threads)), work_(context_.get_executor()), waiting_max_(waiting_max) {
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { context_.run(); });
}

Worker::~Worker() {
  work_.reset();
  threads_.clear();
}

}  // namespace flagstream::control
