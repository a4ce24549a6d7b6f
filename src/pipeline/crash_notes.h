// What a stage remembers about records that crashed it: a handler of fatal signals notes the record
// that the faulting thread was folding, and a record noted kCrashesUntilPassedOver times is passed
// over from then on.
//
// SIGKILL and power loss run no handler, so they never cost a record.  The file, one line a note:
//
//     LOG_ID(32 hex digits) PARTITION OFFSET\n
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>

#include <signal.h>

#include "base/error.h"
#include "base/id.h"
#include "log/log.h"

namespace flagstream::pipeline {

inline constexpr std::uint32_t kCrashesUntilPassedOver = 3;

// The notes of one stage.  Thread-safe.
class CrashNotes {
 public:
  // Makes the folder if needed.  Lines that are no notes are ignored.
  static Result<std::unique_ptr<CrashNotes>> open(const std::string& folder,
                                                  const std::string& stage);
  ~CrashNotes();
  CrashNotes(const CrashNotes&) = delete;
  CrashNotes& operator=(const CrashNotes&) = delete;

  // How often the record had crashed the stage when the notes were opened.
  std::uint32_t crashes(const Id128& log_id, log::Partition partition, log::Offset offset) const;
  bool is_empty(log::Partition partition) const;

  // A checkpoint holds what became of every record of the partition below `end`.
  Result<void> drop_below(const Id128& log_id, log::Partition partition, log::Offset end);

 private:
  friend class FoldingMark;
  using Record = std::tuple<Id128, log::Partition, log::Offset>;

  explicit CrashNotes(int file) : file_(file) {}
  Result<void> rewrite();

  const int file_;  // opened beforehand, for the handler
  mutable std::mutex mutex_;
  std::map<Record, std::uint32_t> crashes_;
};

// Installs the handlers of SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT, once for the process, and
// gives the calling thread a stack for them while it lives.  After its note a handler leaves the
// signal to whatever handled it before.  One per thread.
class CrashHandling {
 public:
  CrashHandling();
  ~CrashHandling();
  CrashHandling(const CrashHandling&) = delete;
  CrashHandling& operator=(const CrashHandling&) = delete;

 private:
  void* memory_ = nullptr;
  stack_t stack_before_{};
};

// While it lives, a crash of the calling thread is noted for the record last given to at().
class FoldingMark {
 public:
  FoldingMark(const CrashNotes& notes, const Id128& log_id, log::Partition partition);
  ~FoldingMark();
  FoldingMark(const FoldingMark&) = delete;
  FoldingMark& operator=(const FoldingMark&) = delete;

  void at(log::Offset offset);

 private:
  int mark_file_ = -1;
};

}  // namespace flagstream::pipeline
