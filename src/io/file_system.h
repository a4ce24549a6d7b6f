// All disk access of the log, the checkpoints' manifests and the lake goes through here, so that
// tests can put an in-memory disk that crashes (MemoryFileSystem) or a failing one in its place.
//
// Paths are absolute or relative to the working folder; '/' separates.  Every call blocks.
// Thread-safe, except that one File must not be used by two threads at once unless a method says
// so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "io/signal.h"

namespace flagstream::io {

class File {
 public:
  virtual ~File() = default;  // closes; an advisory lock held through it is released

  // Reads up to out.size() bytes at `offset`; fewer only at the end of the file.  Any thread.
  virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) const = 0;
  // The same past the page cache, so that what is read is what a power loss would leave: after a
  // failed write-back the cache holds bytes that the disk has never seen.  What was written and not
  // synced may or may not be found.
  virtual Result<std::size_t> read_from_disk(std::uint64_t offset, std::span<char> out) const {
    return read_at(offset, out);
  }
  // Writes all the parts one after the other, starting at `offset`.  A short write is an error.
  virtual Result<void> write_at(std::uint64_t offset, std::span<const std::string_view> parts) = 0;
  // fdatasync: contents, and the size where it grew, survive power loss.  After a failure the file
  // must not be written again: the kernel may have dropped the dirty pages.
  virtual Result<void> sync() = 0;
  // Makes an empty file `bytes` of zeros, whose place on the disk is taken and not yet written.
  // Unavailable where the file system cannot; ResourceExhausted when the disk is full.
  virtual Result<void> allocate(std::uint64_t bytes);
  virtual Result<void> truncate(std::uint64_t size) = 0;
  virtual Result<std::uint64_t> size() const = 0;
  // Takes an exclusive advisory lock without waiting; Conflict when another process or File has it.
  virtual Result<void> lock_exclusive() = 0;
};

enum class OpenMode {
  Read,       // must exist
  ReadWrite,  // must exist
  Create,     // created, or opened if it exists
  CreateNew,  // Conflict if it exists
};

// Of the disk that a path is on, in bytes; free: for those without privileges.
struct DiskSpace {
  std::uint64_t free = 0;
  std::uint64_t total = 0;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  // Hard link; Conflict if `to` exists.
  virtual Result<void> link(const std::string& from, const std::string& to) = 0;
  virtual Result<void> remove(const std::string& path) = 0;
  // Makes the folder and its parents; no error if it exists.
  virtual Result<void> make_folder(const std::string& path) = 0;
  // Names (not paths) of the entries, sorted.
  virtual Result<std::vector<std::string>> list(const std::string& folder) = 0;
  // Makes creations, renames, links and removals in the folder survive power loss.
  virtual Result<void> sync_folder(const std::string& path) = 0;
  virtual Result<DiskSpace> disk_space(const std::string& path) = 0;
  // Of the word at `offset` (a multiple of 4, within the first 4 KiB).  Never fails: for a file
  // that cannot be mapped it is one that only pauses.
  virtual std::unique_ptr<Signal> open_signal(const std::string& path, std::uint64_t offset) = 0;

  bool exists(const std::string& path);
  Result<std::string> read_file(const std::string& path);
  // Temporary name, sync, rename, sync of the folder: readers see the old or the new contents,
  // whole.
  Result<void> replace_file(const std::string& path, std::string_view contents);
};

// Lets everybody else's reads and writes go before those of the calling thread, where the disk's
// scheduler knows priorities.
void lower_io_priority();

// The machine's own.  Lives for the whole process.
FileSystem& posix_file_system();

}  // namespace flagstream::io
