#include "log/verify.h"

#include <algorithm>
#include <optional>

#include "log/local_reader.h"
#include "log/segment_format.h"
#include "log/segment_scan.h"
#include "log/topic_writer.h"

namespace flagstream::log {
namespace {

constexpr std::size_t kWindowBytes = 4u << 20;

// The bytes of a file, a window at a time.
class Window {
 public:
  Window(const io::File& file, std::uint64_t end) : file_(file), end_(end) {}

  // From `at` on: at least `bytes`, unless the file ends before.  A page that cannot be read is
  // zeros.
  std::string_view from(std::uint64_t at, std::size_t bytes) {
    if (at < begin_ || at + bytes > begin_ + buffer_.size()) {
      begin_ = at;
      buffer_.resize(std::min<std::uint64_t>(std::max(bytes, kWindowBytes), end_ - at));
      std::uint64_t unreadable_bytes = 0;
      buffer_.resize(read_as_found(file_, at, buffer_, unreadable_bytes));
    }
    return std::string_view(buffer_).substr(at - begin_);
  }

 private:
  const io::File& file_;
  const std::uint64_t end_;
  std::uint64_t begin_ = 0;
  std::string buffer_;
};

class Verifier {
 public:
  Verifier(io::FileSystem& files, std::string folder) : files_(files), folder_(std::move(folder)) {}

  Result<Verified> run() {
    FS_TRY(const ControlPage first, read_control_page(files_, folder_));
    for (const PartitionEnd& each : first.partitions) next_.push_back(each.begin);
    for (std::uint64_t sequence = first.first_sequence; sequence <= first.last_sequence;
         ++sequence) {
      if (const auto done = check_file(first, sequence); !done) {
        FS_TRY(const ControlPage now, read_control_page(files_, folder_));
        if (sequence >= now.first_sequence) {
          if (done.error().kind != ErrorKind::NotFound) return fail(done.error());
          found_.damages.push_back({.file = name_of(sequence), .what = "the file is missing"});
          continue;
        }
        for (std::size_t p = 0; p < next_.size(); ++p)
          next_[p] = std::max(next_[p], now.partitions[p].begin);
      }
    }
    const std::string last = name_of(first.last_sequence);
    for (Partition p = 0; p < next_.size(); ++p) expect(p, first.partitions[p].end, last);
    return std::move(found_);
  }

 private:
  // Of what was durable in a file.
  struct End {
    std::uint64_t at = 0;
    bool is_known = true;
  };

  std::string name_of(std::uint64_t sequence) const {
    return segment_path(folder_, sequence).substr(folder_.size() + 1);
  }

  void expect(Partition partition, Offset offset, const std::string& file) {
    if (offset > next_.at(partition)) {
      found_.missing.push_back(
          {.partition = partition, .begin = next_[partition], .end = offset, .file = file});
      next_[partition] = offset;
    }
  }

  // An error: the file cannot be opened.
  Result<void> check_file(const ControlPage& page, std::uint64_t sequence) {
    const std::string name = name_of(sequence);
    FS_TRY(const auto file, files_.open(folder_ + "/" + name, io::OpenMode::Read));
    ++found_.files;
    const std::uint64_t begin = segment_header_bytes(page.partitions.size());
    std::string bytes(begin, '\0');
    std::uint64_t unreadable_bytes = 0;
    const std::size_t got = read_as_found(*file, 0, bytes, unreadable_bytes);
    auto header = decode_segment_header(std::string_view(bytes).substr(0, got));
    if (header && (header->log_id != page.log_id || header->sequence != sequence ||
                   header->partitions.size() != page.partitions.size()))
      header = fail(ErrorKind::DataLoss, "the header is another file's");
    if (!header) {
      FS_TRY(const std::uint64_t size, file->size());
      found_.damages.push_back(
          {.file = name, .at = 0, .bytes = size, .what = std::move(header).error().what});
      return {};  // nothing tells its frames from others; what is missing shows in the next file
    }
    for (Partition p = 0; p < next_.size(); ++p) expect(p, header->partitions[p].end, name);
    End end{.at = page.durable_end};
    if (sequence != page.last_sequence) {
      const auto after = read_segment_header(files_, folder_, sequence + 1, page.partitions.size());
      FS_TRY(const std::uint64_t size, file->size());
      end = after ? End{.at = after->previous_end} : End{.at = size, .is_known = false};
    }
    check_frames(*file, *header, begin, end, name);
    return {};
  }

  void check_frames(const io::File& file, const SegmentHeader& header, std::uint64_t begin,
                    End limit, const std::string& name) {
    const std::uint64_t end = limit.at;
    const std::uint64_t seed = seed_of(header, Binding::Bound);
    Window window(file, end);
    std::optional<std::uint64_t> damaged_from;
    const auto close_damage = [&](std::uint64_t at) {
      if (!damaged_from) return;
      found_.damages.push_back({.file = name,
                                .at = *damaged_from,
                                .bytes = at - *damaged_from,
                                .what = "no frame that fits its checksum"});
      damaged_from.reset();
    };
    std::uint64_t at = begin;
    while (at + kFrameHeaderBytes <= end) {
      const std::string_view bytes = window.from(at, kFrameHeaderBytes);
      if (bytes.size() < kFrameHeaderBytes) break;  // the file was cut short
      auto frame = decode_frame_header(bytes, seed);
      if (frame && at + frame->stored_bytes() <= end) {
        frame = decode_frame(window.from(at, frame->stored_bytes()), seed);
      } else {
        frame.reset();
      }
      if (!frame || frame->partition >= next_.size()) {
        if (!damaged_from) damaged_from = at;
        at += kFrameAlignment;
        continue;
      }
      close_damage(at);
      expect(frame->partition, frame->base_offset, name);
      next_[frame->partition] =
          std::max(next_[frame->partition], frame->base_offset + frame->records);
      ++found_.frames;
      found_.records += frame->records;
      found_.bytes += frame->stored_bytes();
      at += frame->stored_bytes();
    }
    // Where the end is not known, what follows the last frame may never have been written.
    if (limit.is_known && (damaged_from || at < end)) {
      if (!damaged_from) damaged_from = at;
      close_damage(end);
    }
  }

  io::FileSystem& files_;
  const std::string folder_;
  std::vector<Offset> next_;  // by partition: the first offset not seen
  Verified found_;
};

}  // namespace

Result<Verified> verify_topic(io::FileSystem& files, const std::string& folder) {
  return Verifier(files, folder).run();
}

}  // namespace flagstream::log
