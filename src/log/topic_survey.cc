#include "log/topic_survey.h"

#include <algorithm>
#include <optional>
#include <ranges>

#include "log/local_reader.h"
#include "log/segment_scan.h"
#include "log/topic_writer.h"

namespace flagstream::log {
namespace {

constexpr double as_seconds(std::int64_t micros) {
  return static_cast<double>(micros) / kMicrosPerSecond;
}

// The last file in which that record can stand.
std::size_t extent_of(const std::vector<SegmentExtent>& extents, Partition partition,
                      Offset offset) {
  std::size_t at = extents.size() - 1;
  while (at > 0 && extents[at].header.partitions.at(partition).end > offset) --at;
  return at;
}

std::uint64_t frame_bytes(const SegmentExtent& extent, const ControlPage& page) {
  const std::uint64_t header_bytes = segment_header_bytes(page.partitions.size());
  return extent.end > header_bytes ? extent.end - header_bytes : 0;
}

// About where in the topic that record stands: bytes of frames from there to the end.
std::uint64_t bytes_from(const std::vector<SegmentExtent>& extents, const ControlPage& page,
                         Partition partition, Offset offset) {
  const std::size_t at = extent_of(extents, partition, offset);
  std::uint64_t bytes = 0;
  for (std::size_t i = at; i < extents.size(); ++i) bytes += frame_bytes(extents[i], page);
  const Offset first = extents[at].header.partitions[partition].end;
  const Offset end = at + 1 < extents.size() ? extents[at + 1].header.partitions[partition].end
                                             : page.partitions[partition].end;
  if (end <= first || offset <= first) return bytes;
  const double read =
      static_cast<double>(std::min(offset, end) - first) / static_cast<double>(end - first);
  const auto in_file = static_cast<double>(frame_bytes(extents[at], page));
  return bytes - static_cast<std::uint64_t>(read * in_file);
}

// Of a window that a file leaves when the file after it is as old as the window, or when the files
// from it on are larger than the window.
double window_used(const std::vector<SegmentExtent>& extents, std::size_t at,
                   std::chrono::microseconds retention, std::uint64_t retention_bytes,
                   MicrosUtc now) {
  if (at + 1 >= extents.size()) return 0;  // the newest file stays
  double used = 0;
  if (retention.count() > 0) {
    used = static_cast<double>(now - extents[at + 1].header.created) /
           static_cast<double>(retention.count());
  }
  if (retention_bytes > 0) {
    std::uint64_t bytes = 0;
    for (std::size_t i = at; i < extents.size(); ++i) bytes += extents[i].file_bytes;
    used = std::max(used, static_cast<double>(bytes) / static_cast<double>(retention_bytes));
  }
  return std::clamp(used, 0.0, 1.0);
}

bool is_lost(const Error& error) {
  return error.kind == ErrorKind::DataLoss || error.kind == ErrorKind::NotFound;
}

// nullopt: retention has taken a file meanwhile.
Result<std::optional<std::vector<SegmentExtent>>> read_extents(io::FileSystem& files,
                                                               const std::string& folder,
                                                               const ControlPage& page) {
  std::vector<SegmentExtent> extents;
  for (std::uint64_t sequence = page.first_sequence; sequence <= page.last_sequence; ++sequence) {
    SegmentExtent extent;
    const auto file = files.open(segment_path(folder, sequence), io::OpenMode::Read);
    auto header = file
                      ? read_segment_header(files, folder, sequence, page.partitions.size(), **file)
                      : Result<SegmentHeader>(fail(file.error()));
    if (file) {
      FS_TRY(extent.file_bytes, (*file)->size());
    }
    extent.end = extent.file_bytes;
    if (header) {
      if (!extents.empty()) extents.back().end = header->previous_end;
      extent.header = *std::move(header);
    } else {
      FS_TRY(const ControlPage now, read_control_page(files, folder));
      if (now.first_sequence > sequence) return std::optional<std::vector<SegmentExtent>>();
      if (!is_lost(header.error())) return fail(std::move(header).error());
      extent.header.sequence = sequence;
      for (std::size_t p = 0; p < page.partitions.size(); ++p) {
        extent.header.partitions.push_back(
            extents.empty() ? SegmentHeader::Partition{.end = page.partitions[p].begin}
                            : extents.back().header.partitions[p]);
      }
    }
    extents.push_back(std::move(extent));
  }
  if (!extents.empty()) extents.back().end = page.durable_end;
  return std::optional(std::move(extents));
}

}  // namespace

ReaderLag lag_of(const RegisteredReader& reader, const ControlPage& page,
                 const std::vector<SegmentExtent>& extents, std::chrono::microseconds retention,
                 std::uint64_t retention_bytes, MicrosUtc now) {
  ReaderLag lag;
  if (extents.empty()) return lag;
  for (const ReaderPosition& at : reader.positions) {
    if (at.partition >= page.partitions.size()) continue;
    const PartitionEnd& kept = page.partitions[at.partition];
    if (at.resume < kept.begin) {
      lag.has_fallen_off = true;
      lag.retention_used = 1;
    }
    if (at.resume < kept.data_end) {
      const std::size_t file = extent_of(extents, at.partition, std::max(at.resume, kept.begin));
      lag.retention_used =
          std::max(lag.retention_used, window_used(extents, file, retention, retention_bytes, now));
    }
    if (at.next >= kept.data_end) continue;
    const Offset next = std::max(at.next, kept.begin);
    lag.records += kept.data_end > next ? kept.data_end - next : 0;
    lag.bytes = std::max(lag.bytes, bytes_from(extents, page, at.partition, next));
    const MicrosUtc appended =
        std::max(at.read_until, extents[extent_of(extents, at.partition, next)].header.created);
    lag.seconds = std::max(lag.seconds, as_seconds(now - appended));
  }
  return lag;
}

std::uint64_t TopicSurvey::quarantined_bytes() const {
  std::uint64_t bytes = 0;
  for (const QuarantinedRange& each : quarantined) bytes += each.range.end - each.range.begin;
  return bytes;
}

std::uint64_t TopicSurvey::records() const {
  std::uint64_t count = 0;
  for (const PartitionEnd& each : page.partitions) count += each.end - each.begin;
  return count;
}

MicrosUtc TopicSurvey::newest_append() const {
  MicrosUtc newest = 0;
  for (const PartitionEnd& each : page.partitions) newest = std::max(newest, each.last_append);
  return newest;
}

MicrosUtc TopicSurvey::oldest_append() const {
  return records() == 0 || extents.empty() ? 0 : extents.front().header.created;
}

Result<TopicSurvey> survey_topic(io::FileSystem& files, const std::string& log_folder,
                                 const std::string& topic) {
  const std::string folder = log_folder + "/" + topic;
  constexpr int kTries = 10;  // retention may take a file from under us
  for (int i = 0;; ++i) {
    TopicSurvey survey;
    survey.name = topic;
    FS_TRY(survey.page, read_control_page(files, folder));
    FS_TRY(auto extents, read_extents(files, folder, survey.page));
    if (!extents && i < kTries) continue;
    if (!extents) return fail(ErrorKind::Unavailable, "retention is faster than the survey");
    survey.extents = *std::move(extents);
    // Of a file whose header is lost nobody is told that it is older than it is.
    MicrosUtc created = survey.newest_append();
    for (SegmentExtent& each : survey.extents | std::views::reverse) {
      if (each.header.log_id.is_zero()) each.header.created = created;
      created = each.header.created;
    }
    FS_TRY(const auto names, files.list(folder));
    for (const std::string& name : names) {
      if (!name.ends_with(".seg")) continue;
      survey.ready_files += name.starts_with("pool-") ? 1 : 0;
      const auto file = files.open(folder + "/" + name, io::OpenMode::Read);
      if (file) survey.file_bytes += (*file)->size().value_or(0);
    }
    survey.readers = list_readers(files, folder, survey.page.log_id);
    survey.quarantined = read_quarantine(files, folder);
    std::erase_if(survey.quarantined, [&](const QuarantinedRange& each) {
      return each.sequence < survey.page.first_sequence;
    });
    return survey;
  }
}

Result<std::vector<std::string>> list_topics(io::FileSystem& files, const std::string& log_folder) {
  FS_TRY(std::vector<std::string> names, files.list(log_folder));
  std::erase_if(names, [&](const std::string& name) {
    return !files.exists(topic_path(log_folder + "/" + name));
  });
  return names;
}

}  // namespace flagstream::log
