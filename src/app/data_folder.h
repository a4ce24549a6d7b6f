// The data folder: made on first use, guarded by a lock and a format version.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "io/file_system.h"

namespace flagstream::app {

// The layout below the data folder.  Changes only with docs/formats/data-folder.md and a migration.
inline constexpr int kDataVersion = 1;

struct DataFolder {
  std::string path;                // absolute
  std::unique_ptr<io::File> lock;  // held while the supervisor lives

  std::string log() const { return path + "/log"; }
  std::string state() const { return path + "/state"; }
  std::string lake() const { return path + "/lake"; }
  std::string crash_notes() const { return path + "/crash"; }
  std::string run() const { return path + "/run"; }
  std::string results() const { return path + "/results.db"; }
  std::string catalog() const { return path + "/catalog.db"; }
  std::string control_socket() const { return run() + "/control.sock"; }
};

// Makes the folder if needed and takes its lock.  Conflict: another flagstream uses it.
// InvalidArgument: it was written by a newer version, or holds other things.  The message is one
// sentence that says what to do.
Result<DataFolder> open_data_folder(io::FileSystem& files, const std::string& path);
// The same for a process beside others: a role alone, a command.  Takes no lock, except for the
// moment in which it makes a new folder.
Result<DataFolder> join_data_folder(io::FileSystem& files, const std::string& path);
// The paths alone, for who reads what may not be there.
DataFolder data_folder_at(const std::string& path);

}  // namespace flagstream::app
