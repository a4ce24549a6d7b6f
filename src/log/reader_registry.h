// Who reads a topic, and how far: one small file for each reader in `readers/` of the topic's
// folder, so that operators and the topic's writer see who lags, also while the reader is dead.
// Layout: docs/formats/log.md.  Nothing waits for a reader on its account.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "io/file_system.h"
#include "log/log.h"

namespace flagstream::log {

// A registration that nobody has renewed for so long is removed.
inline constexpr std::int64_t kRegistrationLifetimeMicros = kMicrosPerDay;
inline constexpr std::size_t kReadersMax = 64;  // of one topic that anybody looks at

struct RegisteredReader {
  std::string name;
  Id128 log_id;
  std::uint64_t process = 0;
  MicrosUtc updated = 0;
  std::vector<ReaderPosition> positions;
};

// Letters, digits, '.', '_' and '-', at most 64, no '.' in front: a file's name and a label.
bool is_reader_name(std::string_view name);
std::string readers_path(const std::string& folder);

std::string encode_reader(const RegisteredReader& reader);
// nullopt: torn or damaged.
std::optional<RegisteredReader> decode_reader(std::string_view bytes);

// By name; what cannot be read, or is of another log, is left out.  Empty if nobody ever
// registered.
std::vector<RegisteredReader> list_readers(io::FileSystem& files, const std::string& folder,
                                           Id128 log_id);
// NotFound: there is none of that name.
Result<void> remove_reader(io::FileSystem& files, const std::string& folder,
                           const std::string& name);

// Writes the file about once a second, in place and without a sync: it is a view, no state.
class FileRegistration final : public ReaderRegistration {
 public:
  // `files` and `clock` must outlive it.
  FileRegistration(io::FileSystem& files, const Clock& clock, std::string folder, std::string name);
  ~FileRegistration() override;

  void tell(std::span<const ReaderPosition> positions) override;

 private:
  Result<void> write();
  void try_to_write();

  io::FileSystem& files_;
  const Clock& clock_;
  const std::string folder_;
  const std::string name_;

  std::mutex mutex_;
  std::map<Partition, ReaderPosition> positions_;
  std::optional<std::int64_t> written_;  // monotonic
  bool has_news_ = false;
  bool is_failure_told_ = false;
};

}  // namespace flagstream::log
