// Appends batches to a topic as its writer does, and the same bytes to bare files by every method
// that the disk offers, in turns; prints one JSON line for each: megabytes per second, and how long
// one batch took to be durable.
//
// Methods of bare files: write + fdatasync of each batch, buffered or past the page cache (direct),
// into a file that grows, one whose blocks are allocated and never written, or one that has been
// written before (recycled).  The topic's files have all been written before; once they are in the
// page cache, once not.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/file_system.h"
#include "log/topic_writer.h"

namespace {

using Time = std::chrono::steady_clock;

constexpr std::size_t kPage = 4096;

struct Options {
  std::string folder;
  std::size_t batch_bytes = 1 << 20;
  std::size_t round_bytes = 256 << 20;
  unsigned rounds = 5;
};

[[noreturn]] void give_up(const std::string& what) {
  std::cerr << "append: " << what << ": " << std::strerror(errno) << '\n';
  std::exit(1);
}

struct FreeBytes {
  void operator()(char* bytes) const { std::free(bytes); }
};
using AlignedBytes = std::unique_ptr<char, FreeBytes>;

AlignedBytes aligned_bytes(std::size_t size) {
  AlignedBytes bytes(static_cast<char*>(std::aligned_alloc(kPage, size)));
  std::mt19937_64 random(1);
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    const std::uint64_t word = random();
    std::memcpy(bytes.get() + i, &word, sizeof word);
  }
  return bytes;
}

// Appends one batch and returns once it is durable.
using AppendOne = std::function<void()>;

enum class Blocks { Growing, Allocated, Recycled };

// A bare file; begins again at its front after `round_bytes`.
class BareFile {
 public:
  BareFile(const Options& options, bool direct, Blocks blocks)
      : options_(options),
        path_(options.folder + "/bare"),
        bytes_(aligned_bytes(options.batch_bytes)),
        fd_(::open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | (direct ? O_DIRECT : 0), 0640)) {
    if (fd_ < 0) give_up("open " + path_);
    if (blocks == Blocks::Allocated && ::fallocate(fd_, 0, 0, size()) != 0) give_up("fallocate");
    if (blocks == Blocks::Recycled) {
      while (at_ < options_.round_bytes) append();
      at_ = 0;
    }
    if (::fsync(fd_) != 0) give_up("fsync");
  }
  ~BareFile() {
    ::close(fd_);
    ::unlink(path_.c_str());
  }
  BareFile(const BareFile&) = delete;
  BareFile& operator=(const BareFile&) = delete;

  void append() {
    const auto put = ::pwrite(fd_, bytes_.get(), options_.batch_bytes, static_cast<off_t>(at_));
    if (put != static_cast<ssize_t>(options_.batch_bytes)) give_up("write");
    if (::fdatasync(fd_) != 0) give_up("fdatasync");
    at_ += options_.batch_bytes;
  }

 private:
  off_t size() const { return static_cast<off_t>(options_.round_bytes); }

  const Options& options_;
  std::string path_;
  AlignedBytes bytes_;
  int fd_;
  std::size_t at_ = 0;
};

// A topic whose retention gives up as many files as it needs.
class Topic {
 public:
  Topic(const Options& options, const std::string& name)
      : folder_(options.folder + "/" + name), bytes_(aligned_bytes(options.batch_bytes)) {
    flagstream::log::TopicSettings settings;
    settings.folder = folder_;
    settings.options.partitions = 1;
    settings.options.retention_bytes = 2 * settings.segment_bytes;
    auto opened =
        flagstream::log::TopicWriter::open(settings, flagstream::io::posix_file_system(), clock_);
    if (!opened) give_up(opened.error().what);
    writer_ = std::move(*opened);
    batch_.add({{bytes_.get(), options.batch_bytes}});
    // Until every file that it takes has been one before.
    while (writer_->expired_segments() < settings.pool_segments + 4) append();
  }
  ~Topic() {
    writer_.reset();
    std::filesystem::remove_all(folder_);
  }
  Topic(const Topic&) = delete;
  Topic& operator=(const Topic&) = delete;

  void append() {
    flagstream::log::TopicWriter::Pending one{.partition = 0, .batch = std::move(batch_)};
    writer_->write({&one, 1});
    if (!one.outcome) give_up(one.outcome.error().what);
    batch_ = std::move(one.batch);
    if (const auto done = writer_->expire(); !done) give_up(done.error().what);
  }

  // Takes ready files out of the page cache, as those are whose retention was days.
  void evict() const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      if (!entry.path().filename().string().starts_with("pool-")) continue;
      const int fd = ::open(entry.path().c_str(), O_RDONLY);
      if (fd < 0 || ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0) give_up("evict");
      ::close(fd);
    }
  }

 private:
  std::string folder_;
  AlignedBytes bytes_;
  flagstream::SystemClock clock_;
  flagstream::log::Batch batch_;
  std::unique_ptr<flagstream::log::TopicWriter> writer_;
};

struct Figures {
  std::vector<double> megabytes_per_second;  // of each round
  std::vector<double> micros;                // of each batch
};

// `between` is not measured.
void measure(
    const Options& options, const AppendOne& append, Figures& figures,
    const std::function<void()>& between = [] {}) {
  double micros = 0;
  std::size_t bytes = 0;
  for (; bytes < options.round_bytes; bytes += options.batch_bytes) {
    const auto began = Time::now();
    append();
    figures.micros.push_back(
        std::chrono::duration<double, std::micro>(Time::now() - began).count());
    micros += figures.micros.back();
    between();
  }
  figures.megabytes_per_second.push_back(static_cast<double>(bytes) / micros);
}

double quantile(std::vector<double> values, double q) {
  std::ranges::sort(values);
  return values[std::min(values.size() - 1,
                         static_cast<std::size_t>(q * static_cast<double>(values.size())))];
}

void print(const std::string& method, const Figures& figures) {
  std::cout << fmt::format(
      R"({{"method":"{}","megabytes_per_second":{:.1f},"slowest":{:.1f},"fastest":{:.1f},"p50_us":{:.0f},"p99_us":{:.0f}}})"
      "\n",
      method, quantile(figures.megabytes_per_second, 0.5),
      quantile(figures.megabytes_per_second, 0), quantile(figures.megabytes_per_second, 1),
      quantile(figures.micros, 0.5), quantile(figures.micros, 0.99));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Compares a topic's appends with bare writes to the same disk.", "append");
  Options options;
  app.add_option("--folder", options.folder, "on the disk to measure; must exist")->required();
  app.add_option("--batch-bytes", options.batch_bytes)->check(CLI::Range(4096, 16 << 20));
  app.add_option("--round-bytes", options.round_bytes)->check(CLI::Range(16 << 20, 1 << 30));
  app.add_option("--rounds", options.rounds)->check(CLI::Range(1, 100));
  CLI11_PARSE(app, argc, argv);
  options.batch_bytes -= options.batch_bytes % kPage;
  options.round_bytes -= options.round_bytes % options.batch_bytes;

  struct Bare {
    std::string name;
    bool direct;
    Blocks blocks;
    Figures figures;
  };
  std::vector<Bare> all = {
      {"buffered, growing", false, Blocks::Growing, {}},
      {"buffered, recycled", false, Blocks::Recycled, {}},
      {"direct, growing", true, Blocks::Growing, {}},
      {"direct, allocated", true, Blocks::Allocated, {}},
      {"direct, recycled", true, Blocks::Recycled, {}},
  };
  Figures topic_figures;
  Figures evicted_figures;
  Topic topic(options, "topic");
  Topic evicted(options, "evicted");
  for (unsigned round = 0; round < options.rounds; ++round) {
    for (Bare& each : all) {
      BareFile file(options, each.direct, each.blocks);
      measure(options, [&] { file.append(); }, each.figures);
    }
    measure(options, [&] { topic.append(); }, topic_figures);
    measure(options, [&] { evicted.append(); }, evicted_figures, [&] { evicted.evict(); });
  }
  for (const Bare& each : all) print(each.name, each.figures);
  print("topic", topic_figures);
  print("topic, files not in the cache", evicted_figures);
  return 0;
}
