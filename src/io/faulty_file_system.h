// Passes every call on to another file system, except those that a test has told it to fail.  For
// loops that fail the first call of a kind, then the second, and so on until a run gets by without:
//
//     for (std::uint64_t call = 1;; ++call) {
//       FaultyFileSystem files(disk);
//       files.fail({.call = Call::Sync, .first = call});
//       ... run, heal, check ...
//       if (!files.has_failed()) break;
//     }
#pragma once

#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "io/file_system.h"

namespace flagstream::io {

enum class Call { Open, Read, Write, Sync, Truncate, Rename, Link, Remove, List, SyncFolder };
inline constexpr Call kAllCalls[] = {Call::Open,     Call::Read,      Call::Write, Call::Sync,
                                     Call::Truncate, Call::Rename,    Call::Link,  Call::Remove,
                                     Call::List,     Call::SyncFolder};
std::string_view to_string(Call call);

struct Fault {
  Call call = Call::Write;
  std::uint64_t first = 1;  // the call of that kind that fails, from 1
  std::uint64_t count = 1;  // how many fail, one after the other
  int error = EIO;
  // A failing call that changes the disk does it before it fails; of a write only the first half.
  bool is_done = false;
};

// Thread-safe as far as what is below is.
class FaultyFileSystem final : public FileSystem {
 public:
  // `below` must live longer.
  explicit FaultyFileSystem(FileSystem& below) : below_(below) {}

  // Takes the place of the fault before; calls count anew.
  void fail(const Fault& fault);
  void heal();
  bool has_failed() const;

  // After a failed sync the other syncs of that File succeed and do nothing, as on Linux, where the
  // error is told once and the pages count as clean.
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> link(const std::string& from, const std::string& to) override;
  Result<void> remove(const std::string& path) override;
  Result<void> make_folder(const std::string& path) override { return below_.make_folder(path); }
  Result<std::vector<std::string>> list(const std::string& folder) override;
  Result<void> sync_folder(const std::string& path) override;
  Result<DiskSpace> disk_space(const std::string& path) override { return below_.disk_space(path); }
  std::unique_ptr<Signal> open_signal(const std::string& path, std::uint64_t offset) override {
    return below_.open_signal(path, offset);
  }

 private:
  class FaultyFile;
  // The error that this call must end with, if any.
  struct Verdict {
    int error = 0;
    bool is_done = false;
  };
  Verdict judge(Call call);
  template <class Operation>
  Result<void> pass(Call call, const std::string& path, Operation operation);

  FileSystem& below_;
  mutable std::mutex mutex_;
  Fault fault_;
  std::uint64_t left_ = 0;  // calls until the first that fails; 0: none is to fail
  std::uint64_t failing_ = 0;
  bool has_failed_ = false;
};

}  // namespace flagstream::io
