#include "log/forget_request.h"

#include "base/bytes.h"
#include "log/segment_format.h"

namespace flagstream::log {
namespace {

constexpr std::uint32_t kForgetMagic = 0x54474646;  // "FFGT"
constexpr std::size_t kForgetBytes = 24;

std::string path_in(const std::string& folder) { return folder + "/forget"; }

}  // namespace

Result<void> ask_to_forget(io::FileSystem& files, const std::string& folder,
                           const ForgetRequest& request) {
  std::string rest = request.log_id.to_bytes();
  append_le(rest, request.keep_from);
  return files.replace_file(path_in(folder), sealed(kForgetMagic, rest));
}

bool is_forget_asked(io::FileSystem& files, const std::string& folder) {
  return files.exists(path_in(folder));
}

Result<std::optional<ForgetRequest>> read_forget_request(io::FileSystem& files,
                                                         const std::string& folder) {
  const auto bytes = files.read_file(path_in(folder));
  if (!bytes && bytes.error().kind == ErrorKind::NotFound) return std::optional<ForgetRequest>();
  if (!bytes) return fail(bytes.error());
  const auto rest = unsealed(kForgetMagic, *bytes, "request to forget");
  if (!rest || rest->size() < kForgetBytes) {
    FS_TRY(remove_forget_request(files, folder));
    return fail(ErrorKind::DataLoss, "the request to forget is damaged");
  }
  return std::optional(ForgetRequest{.log_id = *Id128::from_bytes(rest->substr(0, 16)),
                                     .keep_from = get_u64(rest->data() + 16)});
}

Result<void> remove_forget_request(io::FileSystem& files, const std::string& folder) {
  return files.remove(path_in(folder));
}

}  // namespace flagstream::log
