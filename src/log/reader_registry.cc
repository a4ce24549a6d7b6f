#include "log/reader_registry.h"

#include <algorithm>

#include <unistd.h>

#include "base/bytes.h"
#include "log/segment_format.h"
#include "log/topic_writer.h"
#include "telemetry/tell.h"

namespace flagstream::log {
namespace {

constexpr std::uint32_t kReaderMagic = 0x44525246;  // "FRRD"
constexpr std::int64_t kWriteEvery = kMicrosPerSecond;
constexpr std::size_t kNameBytesMax = 64;
constexpr std::size_t kReaderFixedBytes = 48;
constexpr std::size_t kPositionBytes = 32;

}  // namespace

bool is_reader_name(std::string_view name) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  return !name.empty() && name.size() <= kNameBytesMax && name.front() != '.' &&
         name.find_first_not_of(kAllowed) == std::string_view::npos;
}

std::string readers_path(const std::string& folder) { return folder + "/readers"; }

std::string encode_reader(const RegisteredReader& reader) {
  std::string rest = reader.log_id.to_bytes();
  append_le(rest, reader.process);
  append_le(rest, reader.updated);
  append_le(rest, static_cast<std::uint64_t>(reader.name.size()));
  append_le(rest, static_cast<std::uint64_t>(reader.positions.size()));
  for (const ReaderPosition& each : reader.positions) {
    append_le(rest, std::uint64_t{each.partition});
    append_le(rest, each.next);
    append_le(rest, each.resume);
    append_le(rest, each.read_until);
  }
  return sealed(kReaderMagic, rest + reader.name);
}

std::optional<RegisteredReader> decode_reader(std::string_view bytes) {
  const auto rest = unsealed(kReaderMagic, bytes, "reader's file");
  if (!rest || rest->size() < kReaderFixedBytes) return std::nullopt;
  RegisteredReader reader;
  reader.log_id = *Id128::from_bytes(rest->substr(0, 16));
  reader.process = get_u64(rest->data() + 16);
  reader.updated = get_le<MicrosUtc>(rest->data() + 24);
  const std::uint64_t name_bytes = get_u64(rest->data() + 32);
  const std::uint64_t count = get_u64(rest->data() + 40);
  const std::size_t left = rest->size() - kReaderFixedBytes;
  if (name_bytes > left || count != (left - name_bytes) / kPositionBytes) return std::nullopt;
  for (std::size_t i = 0; i < count; ++i) {
    const char* at = rest->data() + kReaderFixedBytes + i * kPositionBytes;
    reader.positions.push_back({.partition = static_cast<Partition>(get_u64(at)),
                                .next = get_u64(at + 8),
                                .resume = get_u64(at + 16),
                                .read_until = get_le<MicrosUtc>(at + 24)});
  }
  reader.name = rest->substr(rest->size() - name_bytes);
  if (!is_reader_name(reader.name)) return std::nullopt;
  return reader;
}

std::vector<RegisteredReader> list_readers(io::FileSystem& files, const std::string& folder,
                                           Id128 log_id) {
  std::vector<RegisteredReader> readers;
  const auto names = files.list(readers_path(folder));
  if (!names) return readers;
  for (const std::string& name : *names) {
    if (readers.size() == kReadersMax) break;
    if (!is_reader_name(name)) continue;
    constexpr int kTries = 10;  // it may be being rewritten
    for (int i = 0; i < kTries; ++i) {
      const auto bytes = files.read_file(readers_path(folder) + "/" + name);
      if (!bytes) break;
      auto reader = decode_reader(*bytes);
      if (!reader) continue;
      if (reader->name == name && reader->log_id == log_id) readers.push_back(*std::move(reader));
      break;
    }
  }
  return readers;
}

Result<void> remove_reader(io::FileSystem& files, const std::string& folder,
                           const std::string& name) {
  if (!is_reader_name(name)) return fail(ErrorKind::NotFound, "there is no reader " + name);
  return files.remove(readers_path(folder) + "/" + name);
}

FileRegistration::FileRegistration(io::FileSystem& files, const Clock& clock, std::string folder,
                                   std::string name)
    : files_(files), clock_(clock), folder_(std::move(folder)), name_(std::move(name)) {}

FileRegistration::~FileRegistration() {
  if (has_news_) try_to_write();
}

void FileRegistration::tell(std::span<const ReaderPosition> positions) {
  const std::lock_guard lock(mutex_);
  for (const ReaderPosition& each : positions) positions_[each.partition] = each;
  has_news_ = true;
  const std::int64_t now = clock_.monotonic();
  if (written_ && now - *written_ < kWriteEvery) return;
  written_ = now;
  try_to_write();
}

void FileRegistration::try_to_write() {
  const auto done = write();
  if (done) has_news_ = false;
  if (!done && !is_failure_told_) {
    telemetry::warn("a reader cannot say how far it is; its lag is not watched",
                    {{"reader", name_}, {"folder", folder_}, {"error", done.error()}});
  }
  is_failure_told_ = !done;
}

// The file is opened each time: whoever removes the registration of a reader that lives after all
// must not make it invisible.
Result<void> FileRegistration::write() {
  FS_TRY(const std::string identity, files_.read_file(topic_path(folder_)));
  FS_TRY(const TopicIdentity topic, decode_topic_identity(identity));
  RegisteredReader reader{.name = name_,
                          .log_id = topic.log_id,
                          .process = static_cast<std::uint64_t>(::getpid()),
                          .updated = clock_.now(),
                          .positions = {}};
  for (const auto& [partition, position] : positions_) reader.positions.push_back(position);
  FS_TRY(files_.make_folder(readers_path(folder_)));
  FS_TRY(const auto file, files_.open(readers_path(folder_) + "/" + name_, io::OpenMode::Create));
  const std::string bytes = encode_reader(reader);
  const std::string_view parts[] = {bytes};
  return file->write_at(0, parts);
}

}  // namespace flagstream::log
