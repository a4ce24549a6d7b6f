#include "app/log_cat.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <ostream>

#include <fmt/format.h>

#include "app/log_point.h"
#include "app/record_text.h"
#include "io/file_system.h"
#include "log/local_log.h"

namespace flagstream::app {
namespace {

constexpr std::size_t kReadBytes = 1u << 20;
constexpr auto kFollowWait = std::chrono::seconds(10);
constexpr log::Offset kNoStop = UINT64_MAX;

using Stops = std::map<log::Partition, log::Offset>;

struct Found {
  log::Partition partition = 0;
  log::Offset offset = 0;
  MicrosUtc append_time = 0;
  std::string_view record;
};
// False: that is enough.
using TakeRecord = std::function<Result<bool>(const Found&)>;
// A part of a partition that cannot be read.
using TakeGap = std::function<Result<void>(log::Partition, log::Offset up_to)>;

class RangeReader {
 public:
  RangeReader(const LogRange& range, bool follow, const Clock& clock)
      : range_(range),
        follow_(follow),
        clock_(clock),
        log_(log::open_local_log({.folder = range.log_folder}, io::posix_file_system(), clock,
                                 registry_)) {}

  // `between` runs whenever nothing more is there for now.
  Result<void> read(const TakeRecord& take, const TakeGap& gap,
                    const std::function<void()>& between) {
    FS_TRY(const auto reader, open());
    while (!is_done()) {
      FS_TRY(const log::Fetched fetched,
             reader->next(kReadBytes, follow_ ? kFollowWait : std::chrono::seconds(0)));
      switch (fetched.status) {
        case log::Fetched::Status::End:
          if (!follow_) return {};
          break;
        case log::Fetched::Status::OutOfRange:
        case log::Fetched::Status::Quarantined:
          FS_TRY(gap(fetched.partition, fetched.next_offset));
          next_[fetched.partition] = fetched.next_offset;
          reader->skip_to(fetched.partition, fetched.next_offset);
          break;
        case log::Fetched::Status::Frames:
          for (const log::Frame& frame : fetched.frames) {
            FS_TRY(const bool goes_on, take_frame(frame, take));
            if (!goes_on) return {};
          }
          between();
      }
    }
    return {};
  }

 private:
  Result<std::unique_ptr<log::Reader>> open() {
    FS_TRY(const LogPoint from, parse_log_point(range_.from, clock_.now()));
    FS_TRY(const LogPoint to, parse_log_point(range_.to, clock_.now()));
    FS_TRY(const log::TopicInfo info, log_->info(range_.topic));
    if (range_.partition && *range_.partition >= info.partitions.size()) {
      return fail(ErrorKind::InvalidArgument,
                  fmt::format("there are partitions 0 to {}", info.partitions.size() - 1));
    }
    const bool has_offset =
        from.kind == LogPoint::Kind::Offset || to.kind == LogPoint::Kind::Offset;
    if (has_offset && !range_.partition && info.partitions.size() > 1) {
      return fail(ErrorKind::InvalidArgument,
                  "an offset is one of a partition: give --partition, too");
    }
    std::vector<log::Start> starts;
    for (log::Partition p = 0; p < info.partitions.size(); ++p) {
      if (range_.partition && *range_.partition != p) continue;
      FS_TRY(const log::Offset start, place(from, p, info.partitions[p]));
      FS_TRY(const log::Offset stop, place(to, p, info.partitions[p]));
      starts.push_back({.partition = p, .offset = start});
      next_[p] = start;
      stops_[p] = follow_ && to.kind == LogPoint::Kind::End ? kNoStop : stop;
    }
    return log_->open_reader(range_.topic, info.log_id, starts);
  }

  Result<log::Offset> place(const LogPoint& point, log::Partition partition,
                            const log::PartitionRange& range) {
    switch (point.kind) {
      case LogPoint::Kind::Beginning:
        return range.begin;
      case LogPoint::Kind::End:
        return range.end;
      case LogPoint::Kind::Offset:
        return follow_ ? point.offset : std::min(point.offset, range.end);
      case LogPoint::Kind::Time:
        return log_->position_at(range_.topic, partition, point.time);
    }
    return fail(ErrorKind::InvalidArgument, "no place");
  }

  bool is_done() const {
    return std::ranges::all_of(
        stops_, [&](const auto& each) { return next_.at(each.first) >= each.second; });
  }

  Result<bool> take_frame(const log::Frame& frame, const TakeRecord& take) {
    Found found{.partition = frame.partition,
                .offset = frame.base_offset,
                .append_time = frame.append_time,
                .record = {}};
    for (const std::string_view record : frame.records) {
      if (found.offset >= stops_.at(frame.partition)) break;
      found.record = record;
      FS_TRY(const bool goes_on, take(found));
      if (!goes_on) return false;
      ++found.offset;
    }
    next_[frame.partition] = frame.end_offset();
    return true;
  }

  const LogRange& range_;
  const bool follow_;
  const Clock& clock_;
  telemetry::Registry registry_;
  std::unique_ptr<log::Log> log_;
  Stops stops_;
  std::map<log::Partition, log::Offset> next_;
};

int report(const Console& console, const std::string& topic, const Error& error) {
  console.err << "flagstream: topic " << topic << ": " << error.what << '\n';
  if (error.kind == ErrorKind::InvalidArgument) return kExitUsage;
  return error.kind == ErrorKind::NotFound ? kExitNotFound : kExitFailed;
}

std::string line_of(const Found& found, Bodies bodies) {
  return fmt::format("{{\"partition\":{},\"offset\":{},\"appendUs\":{},{}}}\n", found.partition,
                     found.offset, found.append_time, record_members(found.record, bodies));
}

std::string gap_line(log::Partition partition, log::Offset up_to) {
  return fmt::format("{{\"partition\":{},\"missingUpTo\":{}}}\n", partition, up_to);
}

// Text that goes to a file which is there once it is whole.
class OutputFile {
 public:
  static Result<OutputFile> make(const std::string& path) {
    OutputFile output(path);
    FS_TRY(output.file_, io::posix_file_system().open(output.temporary(), io::OpenMode::Create));
    FS_TRY(output.file_->truncate(0));
    return output;
  }
  Result<void> write(std::string_view text) {
    const std::string_view parts[] = {text};
    FS_TRY(file_->write_at(size_, parts));
    size_ += text.size();
    return {};
  }
  Result<void> finish() {
    FS_TRY(file_->sync());
    return io::posix_file_system().rename(temporary(), path_);
  }
  void give_up() { (void)io::posix_file_system().remove(temporary()); }

 private:
  explicit OutputFile(std::string path) : path_(std::move(path)) {}
  std::string temporary() const { return path_ + ".new"; }

  std::string path_;
  std::unique_ptr<io::File> file_;
  std::uint64_t size_ = 0;
};

using Write = std::function<Result<void>(std::string_view)>;

Result<void> export_to(const ExportOptions& options, const Clock& clock, const Write& write) {
  const bool wants_bodies = options.format == "bodies";
  const auto take = [&](const Found& found) -> Result<bool> {
    std::string line = wants_bodies ? one_line_body(found.record) : line_of(found, Bodies::Whole);
    if (wants_bodies && !line.empty()) line += '\n';
    FS_TRY(write(line));
    return true;
  };
  const auto gap = [&](log::Partition partition, log::Offset up_to) -> Result<void> {
    return wants_bodies ? Result<void>() : write(gap_line(partition, up_to));
  };
  return RangeReader(options.range, false, clock).read(take, gap, [] {});
}

}  // namespace

int log_cat(const CatOptions& options, const Clock& clock, const Console& console) {
  std::uint64_t left = options.records_max.value_or(UINT64_MAX);
  const auto take = [&](const Found& found) -> Result<bool> {
    if (left == 0) return false;
    console.out << line_of(found, Bodies::Sizes);
    return --left > 0 && console.out.good();
  };
  const auto gap = [&](log::Partition partition, log::Offset up_to) -> Result<void> {
    console.out << gap_line(partition, up_to);
    return {};
  };
  const auto done = RangeReader(options.range, options.follow, clock).read(take, gap, [&] {
    console.out.flush();
  });
  console.out.flush();
  return done ? kExitDone : report(console, options.range.topic, done.error());
}

int log_export(const ExportOptions& options, const Clock& clock, const Console& console) {
  if (options.format == "bodies" && options.range.topic != "payloads") {
    return report(console, options.range.topic,
                  Error(ErrorKind::InvalidArgument, "only payloads have bodies"));
  }
  if (options.output == "-") {
    const auto done = export_to(options, clock, [&](std::string_view text) -> Result<void> {
      console.out << text;
      if (console.out.good()) return {};
      return fail(ErrorKind::Unavailable, "the output takes no more");
    });
    return done ? kExitDone : report(console, options.range.topic, done.error());
  }
  auto output = OutputFile::make(options.output);
  if (!output) {
    console.err << "flagstream: " << output.error().what << '\n';
    return kExitFailed;
  }
  auto done = export_to(options, clock, [&](std::string_view text) { return output->write(text); });
  if (done) done = output->finish();
  if (done) return kExitDone;
  output->give_up();
  return report(console, options.range.topic, done.error());
}

}  // namespace flagstream::app
