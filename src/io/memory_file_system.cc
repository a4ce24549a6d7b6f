#include "io/memory_file_system.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace flagstream::io {
namespace {

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

}  // namespace

struct MemoryFileSystem::Inode {
  struct Write {
    std::uint64_t offset = 0;
    std::string bytes;
  };
  std::string contents;
  std::string durable;
  std::vector<Write> unsynced;
  bool is_lost = false;  // a sync failed: the cache holds what will never reach the disk
  bool is_locked = false;

  // Writes to `image` those of the dirty sectors that `is_kept` chooses.
  template <class IsKept>
  void keep(std::string& image, const IsKept& is_kept) const {
    for (const Write& write : unsynced) {
      for (std::size_t at = 0; at < write.bytes.size();) {
        const std::uint64_t offset = write.offset + at;
        const std::size_t size =
            std::min<std::size_t>(kSectorBytes - offset % kSectorBytes, write.bytes.size() - at);
        if (is_kept()) {
          if (image.size() < offset + size) image.resize(offset + size);
          image.replace(offset, size, write.bytes, at, size);
        }
        at += size;
      }
    }
  }
};

class MemoryFileSystem::MemoryFile final : public File {
 public:
  MemoryFile(MemoryFileSystem& disk, std::shared_ptr<Inode> inode)
      : disk_(disk), inode_(std::move(inode)) {}
  ~MemoryFile() override {
    if (has_lock_) inode_->is_locked = false;
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) const override {
    const std::string& from = inode_->contents;
    if (offset >= from.size()) return std::size_t{0};
    const std::size_t size = std::min<std::size_t>(out.size(), from.size() - offset);
    std::memcpy(out.data(), from.data() + offset, size);
    return size;
  }

  // As the kernel does: what is dirty is written first.
  Result<std::size_t> read_from_disk(std::uint64_t offset, std::span<char> out) const override {
    if (!inode_->is_lost) return read_at(offset, out);
    std::string from = inode_->durable;
    inode_->keep(from, [] { return true; });
    if (offset >= inode_->contents.size()) return std::size_t{0};
    const std::size_t size = std::min<std::size_t>(out.size(), inode_->contents.size() - offset);
    std::memset(out.data(), 0, size);
    if (offset < from.size()) {
      std::memcpy(out.data(), from.data() + offset,
                  std::min<std::size_t>(size, from.size() - offset));
    }
    return size;
  }

  Result<void> write_at(std::uint64_t offset, std::span<const std::string_view> parts) override {
    disk_.about_to_change();
    std::string bytes;
    for (const std::string_view part : parts) bytes += part;
    if (offset + bytes.size() > disk_.capacity) return fail(error_from_errno(ENOSPC, "write"));
    if (inode_->contents.size() < offset + bytes.size())
      inode_->contents.resize(offset + bytes.size());
    inode_->contents.replace(offset, bytes.size(), bytes);
    inode_->unsynced.push_back({offset, std::move(bytes)});
    return {};
  }

  Result<void> allocate(std::uint64_t bytes) override {
    const std::string zeros(bytes, '\0');
    const std::string_view parts[] = {zeros};
    return write_at(0, parts);
  }

  Result<void> sync() override {
    disk_.about_to_change();
    if (std::exchange(disk_.fail_next_sync, false)) {
      inode_->is_lost = true;
      if (disk_.is_kept_by_failed_sync) inode_->keep(inode_->durable, disk_.is_kept_by_failed_sync);
      inode_->unsynced.clear();
      return fail(error_from_errno(EIO, "sync"));
    }
    for (const Inode::Write& write : inode_->unsynced) {
      if (inode_->durable.size() < write.offset + write.bytes.size())
        inode_->durable.resize(write.offset + write.bytes.size());
      inode_->durable.replace(write.offset, write.bytes.size(), write.bytes);
    }
    inode_->unsynced.clear();
    return {};
  }

  Result<void> truncate(std::uint64_t size) override {
    disk_.about_to_change();
    inode_->contents.resize(size);
    inode_->durable.resize(std::min<std::size_t>(inode_->durable.size(), size));
    return {};
  }

  Result<std::uint64_t> size() const override { return inode_->contents.size(); }

  Result<void> lock_exclusive() override {
    if (inode_->is_locked) return fail(ErrorKind::Conflict, "the file is locked");
    inode_->is_locked = true;
    has_lock_ = true;
    return {};
  }

 private:
  MemoryFileSystem& disk_;
  std::shared_ptr<Inode> inode_;
  bool has_lock_ = false;
};

MemoryFileSystem::MemoryFileSystem() = default;
MemoryFileSystem::~MemoryFileSystem() = default;

void MemoryFileSystem::about_to_change() {
  if (before_change) before_change();
}

void MemoryFileSystem::change(const std::string& path, std::shared_ptr<Inode> inode) {
  if (inode == nullptr) {
    names_.erase(path);
  } else {
    names_[path] = inode;
  }
  changes_.push_back({folder_of(path), path, std::move(inode)});
}

Result<std::unique_ptr<File>> MemoryFileSystem::open(const std::string& path, OpenMode mode) {
  const auto found = names_.find(path);
  const bool exists = found != names_.end();
  if (!exists && (mode == OpenMode::Read || mode == OpenMode::ReadWrite))
    return fail(error_from_errno(ENOENT, "open " + path));
  if (exists && mode == OpenMode::CreateNew) return fail(error_from_errno(EEXIST, "open " + path));
  if (exists) return std::make_unique<MemoryFile>(*this, found->second);
  about_to_change();
  auto inode = std::make_shared<Inode>();
  change(path, inode);
  return std::make_unique<MemoryFile>(*this, std::move(inode));
}

Result<void> MemoryFileSystem::rename(const std::string& from, const std::string& to) {
  about_to_change();
  const auto found = names_.find(from);
  if (found == names_.end()) return fail(error_from_errno(ENOENT, "rename " + from));
  const auto inode = found->second;
  change(to, inode);
  change(from, nullptr);
  return {};
}

Result<void> MemoryFileSystem::link(const std::string& from, const std::string& to) {
  about_to_change();
  const auto found = names_.find(from);
  if (found == names_.end()) return fail(error_from_errno(ENOENT, "link " + from));
  if (names_.contains(to)) return fail(error_from_errno(EEXIST, "link " + to));
  change(to, found->second);
  return {};
}

Result<void> MemoryFileSystem::remove(const std::string& path) {
  about_to_change();
  if (!names_.contains(path)) return fail(error_from_errno(ENOENT, "remove " + path));
  change(path, nullptr);
  return {};
}

Result<void> MemoryFileSystem::make_folder(const std::string&) { return {}; }

Result<std::vector<std::string>> MemoryFileSystem::list(const std::string& folder) {
  std::vector<std::string> out;
  for (const auto& [path, inode] : names_) {
    if (folder_of(path) == folder) out.push_back(path.substr(folder.size() + 1));
  }
  return out;
}

Result<void> MemoryFileSystem::sync_folder(const std::string& path) {
  about_to_change();
  std::erase_if(changes_, [&](const NameChange& each) {
    if (each.folder != path) return false;
    if (each.inode == nullptr) {
      durable_names_.erase(each.path);
    } else {
      durable_names_[each.path] = each.inode;
    }
    return true;
  });
  return {};
}

Result<DiskSpace> MemoryFileSystem::disk_space(const std::string&) {
  std::uint64_t used = 0;
  for (const auto& [path, inode] : names_) used += inode->contents.size();
  return DiskSpace{.free = capacity > used ? capacity - used : 0, .total = capacity};
}

void MemoryFileSystem::flip_bit(const std::string& path, std::uint64_t bit) {
  const auto flip = [bit](std::string& image) {
    if (bit / 8 < image.size()) image[bit / 8] = static_cast<char>(image[bit / 8] ^ (1 << bit % 8));
  };
  flip(names_.at(path)->contents);
  flip(names_.at(path)->durable);
}

std::unique_ptr<Signal> MemoryFileSystem::open_signal(const std::string&, std::uint64_t) {
  class NothingComes final : public Signal {
   public:
    void notify() override {}
    std::chrono::microseconds wait(std::uint32_t, std::chrono::microseconds at_most) override {
      return at_most;
    }
    void interrupt() override { is_interrupted_ = true; }
    bool take_interrupt() override { return std::exchange(is_interrupted_, false); }

   private:
    bool is_interrupted_ = false;
  };
  return std::make_unique<NothingComes>();
}

std::unique_ptr<MemoryFileSystem> MemoryFileSystem::kill() const {
  auto found = std::make_unique<MemoryFileSystem>();
  std::map<const Inode*, std::shared_ptr<Inode>> copies;
  const auto copy_of = [&](const std::shared_ptr<Inode>& inode) {
    if (inode == nullptr) return inode;
    std::shared_ptr<Inode>& copy = copies[inode.get()];
    if (copy == nullptr) {
      copy = std::make_shared<Inode>(*inode);
      copy->is_locked = false;
    }
    return copy;
  };
  for (const auto& [path, inode] : names_) found->names_[path] = copy_of(inode);
  for (const auto& [path, inode] : durable_names_) found->durable_names_[path] = copy_of(inode);
  for (const NameChange& each : changes_)
    found->changes_.push_back({each.folder, each.path, copy_of(each.inode)});
  found->capacity = capacity;
  return found;
}

std::unique_ptr<MemoryFileSystem> MemoryFileSystem::crash(std::mt19937_64& random) const {
  Names names = durable_names_;
  std::map<std::string, bool> is_cut;  // by folder
  for (std::size_t i = 0; i < changes_.size(); ++i) {
    const NameChange& each = changes_[i];
    // A rename is two changes that the disk makes as one.
    const bool is_second_of_rename =
        each.inode == nullptr && i > 0 && changes_[i - 1].inode != nullptr &&
        names_.contains(changes_[i - 1].path) && changes_[i - 1].folder == each.folder;
    if (!is_second_of_rename && random() % 2 == 0) is_cut[each.folder] = true;
    if (is_cut[each.folder]) continue;
    if (each.inode == nullptr) {
      names.erase(each.path);
    } else {
      names[each.path] = each.inode;
    }
  }
  auto found = std::make_unique<MemoryFileSystem>();
  std::map<const Inode*, std::shared_ptr<Inode>> copies;
  for (const auto& [path, inode] : names) {
    std::shared_ptr<Inode>& copy = copies[inode.get()];
    if (copy == nullptr) {
      copy = std::make_shared<Inode>();
      copy->durable = inode->durable;
      inode->keep(copy->durable, [&] { return random() % 2 == 0; });
      copy->contents = copy->durable;
    }
    found->names_[path] = copy;
  }
  found->durable_names_ = found->names_;
  found->capacity = capacity;
  return found;
}

}  // namespace flagstream::io
