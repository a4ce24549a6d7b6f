// Waits, in any process, until a word of a file is another one.
#pragma once

#include <chrono>
#include <cstdint>

namespace flagstream::io {

// One 32-bit word of a file that one process rewrites (File::write_at) and others wait for.  It is
// never touched but by the kernel: a file that is shorter, truncated or on a disk that is full
// costs nobody more than a longer wait.  Who waits needs no right but to read the file.
class Signal {
 public:
  virtual ~Signal() = default;

  // Wakes every wait() for that word, in every process.  Call it once the word has been written.
  // Any thread.
  virtual void notify() = 0;
  // Returns once the word is not `seen`, after interrupt() and after `at_most`; where words of
  // files cannot be waited for, after a pause that grows while `seen` stays the same.  May return
  // for no reason, and returns at most about once a millisecond, so that a word that changes all
  // the time does not cost more than one that is looked at.  Answers how long it waited.  One
  // thread at a time.
  virtual std::chrono::microseconds wait(std::uint32_t seen, std::chrono::microseconds at_most) = 0;
  // Makes wait() return at once until take_interrupt().  Any thread.
  virtual void interrupt() = 0;
  // Whether interrupt() was called since the last time.  The thread that waits.
  virtual bool take_interrupt() = 0;
};

}  // namespace flagstream::io
