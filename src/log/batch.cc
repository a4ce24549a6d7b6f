#include <condition_variable>
#include <mutex>
#include <optional>

#include "base/assert.h"
#include "base/bytes.h"
#include "log/log.h"

namespace flagstream::log {

void Batch::add(std::initializer_list<std::string_view> parts) {
  FS_ASSERT(compression_ == Compression::None, "nothing is added to a compressed batch");
  std::size_t size = 0;
  for (const std::string_view part : parts) size += part.size();
  bytes_.reserve(bytes_.size() + sizeof(std::uint32_t) + size);
  append_le(bytes_, static_cast<std::uint32_t>(size));
  for (const std::string_view part : parts) bytes_ += part;
  ++count_;
}

void Batch::compress(Compression how) {
  if (compression_ != Compression::None) return;
  auto block = log::compress(how, bytes_);
  if (!block) return;
  plain_bytes_ = bytes_.size();
  bytes_ = *std::move(block);
  compression_ = how;
}

void Appender::append(Partition partition, Batch batch, Completion done) {
  enqueue(partition, std::move(batch), std::move(done));
  start();
}

Result<Appended> Appender::append_and_wait(Partition partition, Batch batch) {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Result<Appended>> outcome;
  append(partition, std::move(batch), [&](Result<Appended> result) {
    const std::lock_guard lock(mutex);
    outcome = std::move(result);
    changed.notify_one();
  });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return outcome.has_value(); });
  return *std::move(outcome);
}

}  // namespace flagstream::log
