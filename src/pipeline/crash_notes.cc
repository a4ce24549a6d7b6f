#include "pipeline/crash_notes.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"

namespace flagstream::pipeline {
namespace {

constexpr std::size_t kStackBytes = 64u << 10;
constexpr std::size_t kLogIdDigits = 32;
constexpr std::array kFatalSignals = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

// What the thread is folding.  Plain data, so that a handler may read it; the fences keep the
// compiler from moving writes across a fold.
struct Folding {
  int file = -1;  // -1: nothing
  std::array<char, kLogIdDigits> log_id{};
  log::Partition partition = 0;
  log::Offset offset = 0;
};
constinit thread_local Folding folding;

std::array<struct sigaction, kFatalSignals.size()> handlers_before;

// Async-signal-safe.  Returns one past the last digit.
char* write_digits(char* at, std::uint64_t number) {
  std::array<char, 20> digits;
  std::size_t count = 0;
  do {
    digits[count++] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number > 0);
  while (count > 0) *at++ = digits[--count];
  return at;
}

void note_and_leave(int signal, siginfo_t* info, void*) {
  const int error_before = errno;
  if (folding.file >= 0) {
    std::array<char, kLogIdDigits + 2 + 20 + 20 + 1> line;
    char* at = std::copy(folding.log_id.begin(), folding.log_id.end(), line.data());
    *at++ = ' ';
    at = write_digits(at, folding.partition);
    *at++ = ' ';
    at = write_digits(at, folding.offset);
    *at++ = '\n';
    [[maybe_unused]] const auto written =
        ::write(folding.file, line.data(), static_cast<std::size_t>(at - line.data()));
    folding.file = -1;
  }
  for (std::size_t i = 0; i < kFatalSignals.size(); ++i) {
    if (kFatalSignals[i] == signal) ::sigaction(signal, &handlers_before[i], nullptr);
  }
  // A fault happens again when its instruction does; a signal that was sent has to be sent again.
  if (info->si_code <= 0) ::raise(signal);
  errno = error_before;
}

void install_handlers() {
  static const bool is_installed = [] {
    struct sigaction action{};
    action.sa_sigaction = note_and_leave;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    for (std::size_t i = 0; i < kFatalSignals.size(); ++i)
      ::sigaction(kFatalSignals[i], &action, &handlers_before[i]);
    return true;
  }();
  FS_ASSERT(is_installed, "static initialisation ran");
}

struct Note {
  Id128 log_id;
  log::Partition partition = 0;
  log::Offset offset = 0;
};

std::optional<Note> parse_note(std::string_view line) {
  Note note;
  const auto id = Id128::from_hex(line.substr(0, kLogIdDigits));
  if (!id || line.size() <= kLogIdDigits || line[kLogIdDigits] != ' ') return std::nullopt;
  note.log_id = *id;
  const char* const end = line.data() + line.size();
  const auto first = std::from_chars(line.data() + kLogIdDigits + 1, end, note.partition);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != ' ') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, note.offset);
  if (second.ec != std::errc() || second.ptr != end) return std::nullopt;
  return note;
}

Result<std::string> read_all(int file) {
  std::string text;
  std::array<char, 4096> piece;
  for (;;) {
    const auto got = ::pread(file, piece.data(), piece.size(), static_cast<off_t>(text.size()));
    if (got < 0) return fail(error_from_errno(errno, "read crash notes"));
    if (got == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace

Result<std::unique_ptr<CrashNotes>> CrashNotes::open(const std::string& folder,
                                                     const std::string& stage) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail(error_from_errno(error.value(), "make the folder " + folder));
  const std::string path = folder + "/" + stage + ".notes";
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) return fail(error_from_errno(errno, "open " + path));
  std::unique_ptr<CrashNotes> notes(new CrashNotes(file));
  FS_TRY(const std::string text, read_all(file));
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (const auto note = parse_note(line))
      ++notes->crashes_[{note->log_id, note->partition, note->offset}];
  }
  return notes;
}

CrashNotes::~CrashNotes() { ::close(file_); }

std::uint32_t CrashNotes::crashes(const Id128& log_id, log::Partition partition,
                                  log::Offset offset) const {
  const std::lock_guard lock(mutex_);
  const auto found = crashes_.find({log_id, partition, offset});
  return found == crashes_.end() ? 0 : found->second;
}

bool CrashNotes::is_empty(log::Partition partition) const {
  const std::lock_guard lock(mutex_);
  return std::ranges::none_of(crashes_, [&](const auto& each) {
    return std::get<log::Partition>(each.first) == partition;
  });
}

Result<void> CrashNotes::drop_below(const Id128& log_id, log::Partition partition,
                                    log::Offset end) {
  const std::lock_guard lock(mutex_);
  const auto dropped = std::erase_if(crashes_, [&](const auto& each) {
    const auto& [its_log, its_partition, its_offset] = each.first;
    return its_partition == partition && (its_log != log_id || its_offset < end);
  });
  if (dropped == 0) return {};
  return rewrite();
}

// A crash in between loses notes or keeps too many: some records are tried again, none is lost.
Result<void> CrashNotes::rewrite() {
  std::string text;
  for (const auto& [record, count] : crashes_) {
    const auto& [log_id, partition, offset] = record;
    for (std::uint32_t i = 0; i < count; ++i) {
      text +=
          log_id.to_hex() + " " + std::to_string(partition) + " " + std::to_string(offset) + "\n";
    }
  }
  if (::ftruncate(file_, 0) != 0) return fail(error_from_errno(errno, "shorten crash notes"));
  if (text.empty()) return {};
  const auto written = ::write(file_, text.data(), text.size());
  if (written < 0) return fail(error_from_errno(errno, "write crash notes"));
  return {};
}

CrashHandling::CrashHandling() {
  install_handlers();
  memory_ =
      ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  FS_ASSERT(memory_ != MAP_FAILED, "a thread has room for one more stack");
  stack_t stack{};
  stack.ss_sp = memory_;
  stack.ss_size = kStackBytes;
  ::sigaltstack(&stack, &stack_before_);
}

CrashHandling::~CrashHandling() {
  ::sigaltstack(&stack_before_, nullptr);
  ::munmap(memory_, kStackBytes);
}

FoldingMark::FoldingMark(const CrashNotes& notes, const Id128& log_id, log::Partition partition) {
  const std::string digits = log_id.to_hex();
  std::ranges::copy(digits, folding.log_id.begin());
  folding.partition = partition;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  mark_file_ = notes.file_;
}

FoldingMark::~FoldingMark() {
  folding.file = -1;
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

void FoldingMark::at(log::Offset offset) {
  folding.offset = offset;
  folding.file = mark_file_;
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

}  // namespace flagstream::pipeline
