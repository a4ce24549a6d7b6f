#include "io/file_system.h"

#include "io/crash_point.h"

namespace flagstream::io {

Result<void> File::allocate(std::uint64_t) {
  return fail(ErrorKind::Unavailable, "the file system cannot allocate");
}

bool FileSystem::exists(const std::string& path) { return open(path, OpenMode::Read).has_value(); }

Result<std::string> FileSystem::read_file(const std::string& path) {
  FS_TRY(const auto file, open(path, OpenMode::Read));
  FS_TRY(const std::uint64_t size, file->size());
  std::string contents(size, '\0');
  FS_TRY(const std::size_t got, file->read_at(0, contents));
  contents.resize(got);
  return contents;
}

Result<void> FileSystem::replace_file(const std::string& path, std::string_view contents) {
  const std::string temporary = path + ".new";
  {
    FS_TRY(const auto file, open(temporary, OpenMode::Create));
    FS_TRY(file->truncate(0));
    const std::string_view parts[] = {contents};
    FS_TRY(file->write_at(0, parts));
    FS_TRY(file->sync());
  }
  FS_CRASH_POINT("file.replace.before_rename");
  FS_TRY(rename(temporary, path));
  FS_CRASH_POINT("file.replace.after_rename");
  const std::size_t slash = path.rfind('/');
  return sync_folder(slash == std::string::npos ? "." : path.substr(0, slash));
}

}  // namespace flagstream::io
