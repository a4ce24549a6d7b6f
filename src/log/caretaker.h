// What a topic needs beside its appends, and must not make them wait: its watermark made durable,
// its sealed files read again from the disk and checked, their indexes made again where they are
// missing, and damage recorded.  No thread of its own: LocalAppender (local_log.cc) has one for it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "io/file_system.h"
#include "log/quarantine.h"
#include "log/segment_scan.h"
#include "log/watermark.h"

namespace flagstream::log {

// A reader, in any process, has found bytes missing in that file: the caretaker checks it next.
// Costs nothing but that if it is wrong.
void note_suspect(io::FileSystem& files, const std::string& folder, std::uint64_t sequence);

// Not thread-safe, but works beside a TopicWriter of another thread.
class Caretaker {
 public:
  // All must outlive it.
  Caretaker(std::string folder, std::size_t partitions, Quarantine& quarantine,
            io::FileSystem& files, const Clock& clock);

  // Makes durable what readers were told by now, and what quarantine could not save before.  An
  // error means only that recovery after a power loss would know less.
  Result<void> keep_watermark();

  // Checks about `bytes` more of the sealed files, one after the other and then again; suspects
  // first, and with `only_suspects` nothing else.  Returns how many bytes were checked.
  std::uint64_t scrub(std::uint64_t bytes, bool only_suspects = false);

 private:
  struct Scrub {
    std::uint64_t sequence = 0;
    std::unique_ptr<io::File> file;
    std::uint64_t header_damage = 0;  // bytes
    SegmentScan scan;
    std::uint64_t done = 0;
    bool is_suspect = false;
  };

  // The next file to check; nullopt: there is none.
  std::optional<Scrub> choose(bool only_suspects);
  std::optional<std::uint64_t> next_suspect(const ControlPage& page);
  std::optional<Scrub> begin(std::uint64_t sequence);
  void finish(const Scrub& scrub);

  const std::string folder_;
  const std::size_t partitions_;
  Quarantine& quarantine_;
  io::FileSystem& files_;
  const Clock& clock_;
  std::optional<Watermark> watermark_;
  std::optional<Scrub> scrub_;
  std::optional<std::uint64_t> next_;  // file; none: it begins anywhere
};

}  // namespace flagstream::log
