#include "io/posix_signal.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <thread>

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

namespace flagstream::io {
namespace {

using std::chrono::microseconds;

constexpr std::size_t kMappedBytes = 4096;
constexpr microseconds kPauseMin = std::chrono::milliseconds(1);
constexpr microseconds kPauseMax = std::chrono::milliseconds(50);
constexpr microseconds kInterruptAgain{20};

// False: the kernel cannot wait for that word.
bool futex_wait(const void* word, int operation, std::uint32_t expected, microseconds at_most) {
  const timespec time{.tv_sec = static_cast<time_t>(at_most.count() / kMicrosPerSecond),
                      .tv_nsec = static_cast<long>(at_most.count() % kMicrosPerSecond * 1'000)};
  return ::syscall(SYS_futex, word, operation, expected, &time, nullptr, 0) == 0 ||
         errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT;
}

void futex_wake(const void* word, int operation) {
  ::syscall(SYS_futex, word, operation, INT_MAX, nullptr, nullptr, 0);
}

// The word is mapped for reading, so that processes that map it have one name for it.
class PosixSignal final : public Signal {
 public:
  PosixSignal(const std::string& path, std::uint64_t offset) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return;
    void* mapped = ::mmap(nullptr, kMappedBytes, PROT_READ, MAP_SHARED, fd, 0);
    ::close(fd);
    if (mapped == MAP_FAILED) return;
    mapped_ = mapped;
    word_ = static_cast<const char*>(mapped) + offset;
  }
  ~PosixSignal() override {
    if (mapped_ != nullptr) ::munmap(mapped_, kMappedBytes);
  }
  PosixSignal(const PosixSignal&) = delete;
  PosixSignal& operator=(const PosixSignal&) = delete;

  void notify() override {
    if (word_ != nullptr) futex_wake(word_, FUTEX_WAKE);
  }

  microseconds wait(std::uint32_t seen, microseconds at_most) override {
    const std::int64_t begin = clock_.monotonic();
    is_waiting_.store(true);
    const microseconds since(begin - returned_);
    if (since < kPauseMin) pause(std::min(at_most, kPauseMin - since));
    pause_ = seen == seen_ ? std::min(2 * pause_, kPauseMax) : kPauseMin;
    seen_ = seen;
    const microseconds left = at_most - microseconds(clock_.monotonic() - begin);
    if (left.count() > 0 && !is_interrupted_.load() &&
        (word_ == nullptr || !futex_wait(word_, FUTEX_WAIT, seen, left)))
      pause(std::min(left, pause_));
    is_waiting_.store(false);
    returned_ = clock_.monotonic();
    return microseconds(returned_ - begin);
  }

  // The waiter may have looked at the flag and not sleep yet: so until it has been seen to go.
  void interrupt() override {
    is_interrupted_.store(true);
    while (is_waiting_.load() && is_interrupted_.load()) {
      notify();
      futex_wake(&own_word_, FUTEX_WAKE_PRIVATE);
      std::this_thread::sleep_for(kInterruptAgain);
    }
  }

  bool take_interrupt() override { return is_interrupted_.exchange(false); }

 private:
  void pause(microseconds time) {
    if (!is_interrupted_.load()) (void)futex_wait(&own_word_, FUTEX_WAIT_PRIVATE, 0, time);
  }

  const SystemClock clock_;
  void* mapped_ = nullptr;
  const void* word_ = nullptr;
  const std::uint32_t own_word_ = 0;  // never another: who waits for it is only interrupted
  std::atomic<bool> is_waiting_{false};
  std::atomic<bool> is_interrupted_{false};
  // The waiting thread's.
  std::int64_t returned_ = 0;
  std::uint32_t seen_ = 0;
  microseconds pause_ = kPauseMin;
};

}  // namespace

std::unique_ptr<Signal> open_posix_signal(const std::string& path, std::uint64_t offset) {
  return std::make_unique<PosixSignal>(path, offset);
}

}  // namespace flagstream::io
