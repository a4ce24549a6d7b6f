#include "app/data_folder.h"

#include <filesystem>

#include <fmt/format.h>

namespace flagstream::app {
namespace {

Result<void> check_or_write_version(io::FileSystem& files, const std::string& folder) {
  const std::string path = folder + "/VERSION";
  const std::string ours = fmt::format("flagstream-data {}\n", kDataVersion);
  if (!files.exists(path)) {
    FS_TRY(const auto entries, files.list(folder));
    for (const std::string& entry : entries) {
      if (entry != "LOCK") {
        return fail(
            ErrorKind::InvalidArgument,
            fmt::format("{} holds other things ({}); give an empty or new folder with --data",
                        folder, entry));
      }
    }
    return files.replace_file(path, ours);
  }
  FS_TRY(const std::string found, files.read_file(path));
  int version = 0;
  if (std::sscanf(found.c_str(), "flagstream-data %d", &version) != 1) {
    return fail(ErrorKind::InvalidArgument,
                fmt::format("{} is not a version file of ours; is this the right folder?", path));
  }
  if (version > kDataVersion) {
    return fail(ErrorKind::InvalidArgument,
                fmt::format("{} was written by a newer flagstream (data version {}, this one knows "
                            "{}); start that version",
                            folder, version, kDataVersion));
  }
  return {};
}

}  // namespace

DataFolder data_folder_at(const std::string& path) {
  return DataFolder{std::filesystem::absolute(path).lexically_normal().string(), nullptr};
}

Result<DataFolder> open_data_folder(io::FileSystem& files, const std::string& path) {
  DataFolder folder = data_folder_at(path);
  FS_TRY(files.make_folder(folder.path));
  FS_TRY(folder.lock, files.open(folder.path + "/LOCK", io::OpenMode::Create));
  if (const auto locked = folder.lock->lock_exclusive(); !locked) {
    if (locked.error().kind != ErrorKind::Conflict) return fail(locked.error());
    return fail(
        ErrorKind::Conflict,
        fmt::format(
            "{} is in use by another flagstream; stop it, or give another folder with --data",
            folder.path));
  }
  FS_TRY(check_or_write_version(files, folder.path));
  for (const std::string& part :
       {folder.log(), folder.state(), folder.lake(), folder.crash_notes(), folder.run()}) {
    FS_TRY(files.make_folder(part));
  }
  FS_TRY(files.sync_folder(folder.path));
  return folder;
}

Result<DataFolder> join_data_folder(io::FileSystem& files, const std::string& path) {
  DataFolder folder = data_folder_at(path);
  if (files.exists(folder.path + "/VERSION")) {
    FS_TRY(check_or_write_version(files, folder.path));
    return folder;
  }
  FS_TRY(folder, open_data_folder(files, path));
  folder.lock = nullptr;
  return folder;
}

}  // namespace flagstream::app
