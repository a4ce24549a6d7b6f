#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <new>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/file_system.h"
#include "io/posix_signal.h"
#include "telemetry/tell.h"

namespace flagstream::io {
namespace {

constexpr std::size_t kPartsPerWrite = 256;
constexpr std::size_t kDirectAlignment = 4096;
constexpr std::size_t kDirectBytes = 1 << 20;  // of one direct read

// What direct reads read into.
class AlignedBuffer {
 public:
  explicit AlignedBuffer(std::size_t bytes)
      : data_(static_cast<char*>(::operator new(bytes, std::align_val_t(kDirectAlignment)))) {}
  ~AlignedBuffer() { ::operator delete(data_, std::align_val_t(kDirectAlignment)); }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  char* data() { return data_; }

 private:
  char* data_;
};

void warn_of_refused_direct_reads(const std::string& path) {
  static std::atomic<bool> is_told{false};
  if (!is_told.exchange(true)) {
    telemetry::warn(
        "the file system refuses direct reads: what is verified may be what its cache "
        "holds",
        {{"path", path}});
  }
}

std::unexpected<Error> failed(std::string_view operation, const std::string& path) {
  return fail(error_from_errno(errno, std::string(operation) + " " + path));
}

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { ::close(fd_); }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) const override {
    return read_all(fd_, offset, out);
  }

  Result<std::size_t> read_from_disk(std::uint64_t offset, std::span<char> out) const override {
    // The same file again: its name may be another's by now.
    const std::string name = "/proc/self/fd/" + std::to_string(fd_);
    const int direct = ::open(name.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (direct < 0) {
      warn_of_refused_direct_reads(path_);
      return read_uncached(offset, out);
    }
    auto done = read_direct(direct, offset, out);
    ::close(direct);
    return done;
  }

  Result<void> write_at(std::uint64_t offset, std::span<const std::string_view> parts) override {
    while (!parts.empty()) {
      const auto now = parts.first(std::min(parts.size(), kPartsPerWrite));
      std::array<iovec, kPartsPerWrite> vectors;
      std::size_t bytes = 0;
      for (std::size_t i = 0; i < now.size(); ++i) {
        vectors[i] = {const_cast<char*>(now[i].data()), now[i].size()};
        bytes += now[i].size();
      }
      FS_TRY(write_all(std::span(vectors).first(now.size()), offset, bytes));
      offset += bytes;
      parts = parts.subspan(now.size());
    }
    return {};
  }

  Result<void> sync() override {
    if (::fdatasync(fd_) != 0) return failed("sync", path_);
    return {};
  }

  Result<void> allocate(std::uint64_t bytes) override {
    while (::fallocate(fd_, 0, 0, static_cast<off_t>(bytes)) != 0) {
      if (errno == EINTR) continue;
      if (errno == EOPNOTSUPP) return File::allocate(bytes);
      return failed("allocate", path_);
    }
    return {};
  }

  Result<void> truncate(std::uint64_t size) override {
    if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) return failed("truncate", path_);
    return {};
  }

  Result<std::uint64_t> size() const override {
    struct stat about{};
    if (::fstat(fd_, &about) != 0) return failed("stat", path_);
    return static_cast<std::uint64_t>(about.st_size);
  }

  Result<void> lock_exclusive() override {
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return {};
    if (errno == EWOULDBLOCK) return fail(ErrorKind::Conflict, path_ + " is locked");
    return failed("lock", path_);
  }

 private:
  Result<std::size_t> read_all(int fd, std::uint64_t offset, std::span<char> out) const {
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t got =
          ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return failed("read", path_);
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

  Result<std::size_t> read_direct(int fd, std::uint64_t offset, std::span<char> out) const {
    const auto down = [](std::uint64_t at) { return at / kDirectAlignment * kDirectAlignment; };
    AlignedBuffer buffer(
        std::min<std::uint64_t>(kDirectBytes, down(out.size() + 2 * kDirectAlignment)));
    std::size_t done = 0;
    while (done < out.size()) {
      const std::uint64_t from = down(offset + done);
      const std::size_t skip = offset + done - from;
      const std::size_t want = std::min<std::uint64_t>(
          kDirectBytes, down(skip + out.size() - done + kDirectAlignment - 1));
      ssize_t got = 0;
      do {
        got = ::pread(fd, buffer.data(), want, static_cast<off_t>(from));
      } while (got < 0 && errno == EINTR);
      if (got < 0 && errno == EINVAL) {  // opened, but refused after all
        warn_of_refused_direct_reads(path_);
        return read_uncached(offset, out);
      }
      if (got < 0) return failed("read from the disk", path_);
      if (static_cast<std::size_t>(got) <= skip) break;
      const std::size_t take = std::min<std::size_t>(got - skip, out.size() - done);
      std::memcpy(out.data() + done, buffer.data() + skip, take);
      done += take;
      if (static_cast<std::size_t>(got) < want) break;  // the end of the file
    }
    return done;
  }

  Result<std::size_t> read_uncached(std::uint64_t offset, std::span<char> out) const {
    (void)::posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(out.size()),
                          POSIX_FADV_DONTNEED);
    return read_all(fd_, offset, out);
  }

  Result<void> write_all(std::span<iovec> vectors, std::uint64_t offset, std::size_t bytes) {
    while (bytes > 0) {
      const ssize_t put = ::pwritev(fd_, vectors.data(), static_cast<int>(vectors.size()),
                                    static_cast<off_t>(offset));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return failed("write", path_);
      if (put == 0) return fail(ErrorKind::Unavailable, "write " + path_ + ": nothing was taken");
      auto left = static_cast<std::size_t>(put);
      offset += left;
      bytes -= left;
      while (left > 0 && left >= vectors.front().iov_len) {
        left -= vectors.front().iov_len;
        vectors = vectors.subspan(1);
      }
      if (left > 0) {
        vectors.front().iov_base = static_cast<char*>(vectors.front().iov_base) + left;
        vectors.front().iov_len -= left;
      }
      while (!vectors.empty() && vectors.front().iov_len == 0) vectors = vectors.subspan(1);
    }
    return {};
  }

  int fd_;
  std::string path_;
};

int flags_of(OpenMode mode) {
  switch (mode) {
    case OpenMode::Read:
      return O_RDONLY;
    case OpenMode::ReadWrite:
      return O_RDWR;
    case OpenMode::Create:
      return O_RDWR | O_CREAT;
    case OpenMode::CreateNew:
      return O_RDWR | O_CREAT | O_EXCL;
  }
  std::unreachable();
}

class PosixFileSystem final : public FileSystem {
 public:
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    const int fd = ::open(path.c_str(), flags_of(mode) | O_CLOEXEC | O_NONBLOCK, 0640);
    if (fd < 0) return failed("open", path);
    struct stat about{};
    // Neither a folder nor a pipe that somebody put in the file's place.
    if (::fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
      ::close(fd);
      return fail(ErrorKind::InvalidArgument, path + " is no regular file");
    }
    return std::make_unique<PosixFile>(fd, path);
  }

  Result<void> rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return failed("rename to", to);
    return {};
  }

  Result<void> link(const std::string& from, const std::string& to) override {
    if (::link(from.c_str(), to.c_str()) != 0) return failed("link", to);
    return {};
  }

  Result<void> remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) return failed("remove", path);
    return {};
  }

  Result<void> make_folder(const std::string& path) override {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error) return fail(error_from_errno(error.value(), "make folder " + path));
    return {};
  }

  Result<std::vector<std::string>> list(const std::string& folder) override {
    DIR* entries = ::opendir(folder.c_str());
    if (entries == nullptr) return failed("list", folder);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(entries)) {
      const std::string_view name(entry->d_name);
      if (name != "." && name != "..") names.emplace_back(name);
    }
    const int error = errno;
    ::closedir(entries);
    if (error != 0) return fail(error_from_errno(error, "list " + folder));
    std::ranges::sort(names);
    return names;
  }

  Result<void> sync_folder(const std::string& path) override {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return failed("open", path);
    const int status = ::fsync(fd) == 0 ? 0 : errno;
    ::close(fd);
    if (status != 0) return fail(error_from_errno(status, "sync folder " + path));
    return {};
  }

  Result<DiskSpace> disk_space(const std::string& path) override {
    struct statvfs about{};
    if (::statvfs(path.c_str(), &about) != 0) return failed("free space of", path);
    return DiskSpace{.free = static_cast<std::uint64_t>(about.f_bavail) * about.f_frsize,
                     .total = static_cast<std::uint64_t>(about.f_blocks) * about.f_frsize};
  }

  std::unique_ptr<Signal> open_signal(const std::string& path, std::uint64_t offset) override {
    return open_posix_signal(path, offset);
  }
};

}  // namespace

void lower_io_priority() {
  constexpr int kThisThread = 1;                    // IOPRIO_WHO_PROCESS with id 0
  constexpr int kLowestBestEffort = (2 << 13) | 7;  // not idle: that could wait for ever
  (void)::syscall(SYS_ioprio_set, kThisThread, 0, kLowestBestEffort);
}

FileSystem& posix_file_system() {
  static PosixFileSystem files;
  return files;
}

}  // namespace flagstream::io
