// A disk in memory that can lose power: what was not synced survives sector by sector as chance has
// it.  For tests.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "io/file_system.h"

namespace flagstream::io {

// Not thread-safe across crash(); otherwise one thread at a time, too: tests that use it drive
// everything themselves.
class MemoryFileSystem final : public FileSystem {
 public:
  static constexpr std::size_t kSectorBytes = 512;

  MemoryFileSystem();
  ~MemoryFileSystem() override;

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> link(const std::string& from, const std::string& to) override;
  Result<void> remove(const std::string& path) override;
  Result<void> make_folder(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& folder) override;
  Result<void> sync_folder(const std::string& path) override;
  Result<DiskSpace> disk_space(const std::string&) override;
  // One thread drives everything: what a wait is for cannot come, and the time is over at once.
  std::unique_ptr<Signal> open_signal(const std::string&, std::uint64_t) override;

  // The disk as it may be found after a power failure now: of what was not synced each sector is
  // there or not, and of the changes of names in each folder a prefix is.  This disk goes on
  // unchanged.
  std::unique_ptr<MemoryFileSystem> crash(std::mt19937_64& random) const;

  // The disk as another process finds it after this one was killed: nothing is lost, and what a
  // failed sync has left in the cache is still there.
  std::unique_ptr<MemoryFileSystem> kill() const;
  // Media damage: the bit is another one, in the cache and on the disk.
  void flip_bit(const std::string& path, std::uint64_t bit);

  // Called before each operation that changes the disk or makes a change durable.
  std::function<void()> before_change;
  // The next sync of a file fails with EIO, what it should have synced counts as not synced for
  // ever, and a later one does not tell: as Linux does.
  bool fail_next_sync = false;
  // Which of the dirty sectors reach the disk when a sync fails; unset: none.
  std::function<bool()> is_kept_by_failed_sync;
  // Bytes of all files together; writes beyond it fail with ENOSPC.
  std::uint64_t capacity = UINT64_MAX;

 private:
  struct Inode;
  class MemoryFile;
  struct NameChange {
    std::string folder;
    std::string path;
    std::shared_ptr<Inode> inode;  // null: the name goes
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;

  void change(const std::string& path, std::shared_ptr<Inode> inode);
  void about_to_change();

  Names names_;
  Names durable_names_;
  std::vector<NameChange> changes_;
};

}  // namespace flagstream::io
