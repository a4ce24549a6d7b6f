#include "control/secret_file.h"

#include <filesystem>

namespace flagstream::control {

Result<void> keep_for_owner(const std::string& path) {
  using std::filesystem::perms;
  std::error_code failed;
  std::filesystem::permissions(path, perms::owner_read | perms::owner_write, failed);
  if (failed) return fail(error_from_errno(failed.value(), "set the mode of " + path));
  return {};
}

Result<void> write_secret_file(io::FileSystem& files, const std::string& path,
                               std::string_view contents) {
  const std::string temporary = path + ".new";  // what replace_file() goes through
  FS_TRY(files.open(temporary, io::OpenMode::Create));
  FS_TRY(keep_for_owner(temporary));
  return files.replace_file(path, contents);
}

}  // namespace flagstream::control
