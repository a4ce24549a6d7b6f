#include "io/faulty_file_system.h"

#include <utility>

#include <fmt/format.h>

namespace flagstream::io {
namespace {

std::unexpected<Error> failure(int error, Call call, const std::string& path) {
  return flagstream::fail(error_from_errno(error, fmt::format("{} {}", to_string(call), path)));
}

}  // namespace

std::string_view to_string(Call call) {
  switch (call) {
    case Call::Open:
      return "open";
    case Call::Read:
      return "read";
    case Call::Write:
      return "write";
    case Call::Sync:
      return "sync";
    case Call::Truncate:
      return "truncate";
    case Call::Rename:
      return "rename";
    case Call::Link:
      return "link";
    case Call::Remove:
      return "remove";
    case Call::List:
      return "list";
    case Call::SyncFolder:
      return "sync folder";
  }
  std::unreachable();
}

class FaultyFileSystem::FaultyFile final : public File {
 public:
  FaultyFile(FaultyFileSystem& files, std::unique_ptr<File> below, std::string path)
      : files_(files), below_(std::move(below)), path_(std::move(path)) {}

  Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) const override {
    if (const Verdict verdict = files_.judge(Call::Read); verdict.error != 0)
      return failure(verdict.error, Call::Read, path_);
    return below_->read_at(offset, out);
  }

  Result<std::size_t> read_from_disk(std::uint64_t offset, std::span<char> out) const override {
    if (const Verdict verdict = files_.judge(Call::Read); verdict.error != 0)
      return failure(verdict.error, Call::Read, path_);
    return below_->read_from_disk(offset, out);
  }

  Result<void> write_at(std::uint64_t offset, std::span<const std::string_view> parts) override {
    const Verdict verdict = files_.judge(Call::Write);
    if (verdict.error == 0) return below_->write_at(offset, parts);
    if (verdict.is_done) {
      std::string whole;
      for (const std::string_view part : parts) whole += part;
      const std::string_view half[] = {std::string_view(whole).substr(0, whole.size() / 2)};
      FS_TRY(below_->write_at(offset, half));
    }
    return failure(verdict.error, Call::Write, path_);
  }

  Result<void> sync() override {
    if (is_lost_) return {};
    const auto synced = files_.pass(Call::Sync, path_, [&] { return below_->sync(); });
    is_lost_ = !synced;
    return synced;
  }

  Result<void> allocate(std::uint64_t bytes) override {
    return files_.pass(Call::Write, path_, [&] { return below_->allocate(bytes); });
  }
  Result<void> truncate(std::uint64_t size) override {
    return files_.pass(Call::Truncate, path_, [&] { return below_->truncate(size); });
  }
  Result<std::uint64_t> size() const override { return below_->size(); }
  Result<void> lock_exclusive() override { return below_->lock_exclusive(); }

 private:
  FaultyFileSystem& files_;
  std::unique_ptr<File> below_;
  std::string path_;
  bool is_lost_ = false;
};

void FaultyFileSystem::fail(const Fault& fault) {
  const std::lock_guard lock(mutex_);
  fault_ = fault;
  left_ = fault.first;
  failing_ = fault.count;
  has_failed_ = false;
}

void FaultyFileSystem::heal() {
  const std::lock_guard lock(mutex_);
  left_ = 0;
}

bool FaultyFileSystem::has_failed() const {
  const std::lock_guard lock(mutex_);
  return has_failed_;
}

FaultyFileSystem::Verdict FaultyFileSystem::judge(Call call) {
  const std::lock_guard lock(mutex_);
  if (left_ == 0 || call != fault_.call) return {};
  if (left_ > 1) {
    --left_;
    return {};
  }
  has_failed_ = true;
  if (--failing_ == 0) left_ = 0;
  return {.error = fault_.error, .is_done = fault_.is_done};
}

template <class Operation>
Result<void> FaultyFileSystem::pass(Call call, const std::string& path, Operation operation) {
  const Verdict verdict = judge(call);
  if (verdict.error == 0) return operation();
  if (verdict.is_done) FS_TRY(operation());
  return failure(verdict.error, call, path);
}

Result<std::unique_ptr<File>> FaultyFileSystem::open(const std::string& path, OpenMode mode) {
  if (const Verdict verdict = judge(Call::Open); verdict.error != 0)
    return failure(verdict.error, Call::Open, path);
  FS_TRY(auto file, below_.open(path, mode));
  return std::make_unique<FaultyFile>(*this, std::move(file), path);
}

Result<void> FaultyFileSystem::rename(const std::string& from, const std::string& to) {
  return pass(Call::Rename, to, [&] { return below_.rename(from, to); });
}

Result<void> FaultyFileSystem::link(const std::string& from, const std::string& to) {
  return pass(Call::Link, to, [&] { return below_.link(from, to); });
}

Result<void> FaultyFileSystem::remove(const std::string& path) {
  return pass(Call::Remove, path, [&] { return below_.remove(path); });
}

Result<std::vector<std::string>> FaultyFileSystem::list(const std::string& folder) {
  if (const Verdict verdict = judge(Call::List); verdict.error != 0)
    return failure(verdict.error, Call::List, folder);
  return below_.list(folder);
}

Result<void> FaultyFileSystem::sync_folder(const std::string& path) {
  return pass(Call::SyncFolder, path, [&] { return below_.sync_folder(path); });
}

}  // namespace flagstream::io
