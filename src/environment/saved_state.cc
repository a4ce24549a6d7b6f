#include "environment/saved_state.h"

#include "base/bytes.h"
#include "base/checksum.h"

namespace flagstream::environment {
namespace {

constexpr std::uint32_t kMagic = 0x53475346;  // "FSGS"
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeadBytes = 12;
constexpr std::size_t kFixedBytes = 32;

}  // namespace

Result<void> save_state(io::FileSystem& files, const std::string& path, const SavedState& state) {
  std::string rest = state.log_id.to_bytes();
  append_le(rest, state.next_offset);
  append_le(rest, state.current_as_of);
  for (const std::string& record : state.records) {
    append_le(rest, static_cast<std::uint32_t>(record.size()));
    rest += record;
  }
  std::string out;
  append_le(out, kMagic);
  append_le(out, kVersion);
  append_le(out, crc32c(0, rest));
  return files.replace_file(path, out + rest);
}

Result<SavedState> load_state(io::FileSystem& files, const std::string& path) {
  FS_TRY(const std::string bytes, files.read_file(path));
  const auto damaged = [&] { return fail(ErrorKind::DataLoss, path + " is damaged"); };
  if (bytes.size() < kHeadBytes + kFixedBytes || get_u32(bytes.data()) != kMagic) return damaged();
  const std::uint32_t version = get_u32(bytes.data() + 4);
  if (version > kVersion) {
    return fail(ErrorKind::InvalidArgument, path + " has version " + std::to_string(version) +
                                                ", this release reads up to " +
                                                std::to_string(kVersion));
  }
  if (version == 0) return damaged();
  std::string_view rest = std::string_view(bytes).substr(kHeadBytes);
  if (crc32c(0, rest) != get_u32(bytes.data() + 8)) return damaged();
  SavedState state;
  state.log_id = *Id128::from_bytes(rest.substr(0, 16));
  state.next_offset = get_u64(rest.data() + 16);
  state.current_as_of = get_le<MicrosUtc>(rest.data() + 24);
  rest.remove_prefix(kFixedBytes);
  while (!rest.empty()) {
    if (rest.size() < 4 || get_u32(rest.data()) > rest.size() - 4) return damaged();
    const std::uint32_t size = get_u32(rest.data());
    state.records.emplace_back(rest.substr(4, size));
    rest.remove_prefix(4 + size);
  }
  return state;
}

}  // namespace flagstream::environment
