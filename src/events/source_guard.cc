#include "events/source_guard.h"

#include "base/bytes.h"

namespace flagstream::events {
namespace {

constexpr std::size_t kIdBytes = 16;
constexpr std::size_t kEntryBytes = kIdBytes + 8 + 4 + 4;

}  // namespace

bool SourceGuard::take(const Id128& log_id, const SourcePosition& position) {
  const auto [entry, is_first] = highest_.try_emplace(log_id, position);
  if (is_first) return true;
  if (position <= entry->second) return false;
  entry->second = position;
  return true;
}

std::string SourceGuard::encode() const {
  std::string out;
  out.reserve(highest_.size() * kEntryBytes);
  for (const auto& [log_id, position] : highest_) {
    out += log_id.to_bytes();
    append_be64(out, position.offset);
    append_be32(out, position.index);
    append_be32(out, position.part);
  }
  return out;
}

Result<SourceGuard> SourceGuard::decode(std::string_view bytes) {
  if (bytes.size() % kEntryBytes != 0)
    return fail(ErrorKind::DataLoss, "highest sources: not a whole number of entries");
  SourceGuard guard;
  for (; !bytes.empty(); bytes.remove_prefix(kEntryBytes)) {
    const char* at = bytes.data() + kIdBytes;
    const Id128 log_id = *Id128::from_bytes(bytes.substr(0, kIdBytes));
    const SourcePosition position{
        .offset = get_be64(at), .index = get_be32(at + 8), .part = get_be32(at + 12)};
    if (!guard.highest_.empty() && guard.highest_.rbegin()->first >= log_id)
      return fail(ErrorKind::DataLoss, "highest sources: log ids are not in order");
    guard.highest_.emplace_hint(guard.highest_.end(), log_id, position);
  }
  return guard;
}

}  // namespace flagstream::events
