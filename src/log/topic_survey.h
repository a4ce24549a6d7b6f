// What a topic's folder holds at the moment, and what that means for its readers.  Read-only, in
// any process.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "io/file_system.h"
#include "log/log.h"
#include "log/quarantine.h"
#include "log/reader_registry.h"
#include "log/segment_format.h"

namespace flagstream::log {

struct SegmentExtent {
  SegmentHeader header;  // log id 0: it is lost, and its offsets are those of the file before
  std::uint64_t file_bytes = 0;
  std::uint64_t end = 0;  // of its durable frames, in bytes
};

// How far a reader is behind, and how near that is to the edge of retention.
struct ReaderLag {
  std::uint64_t records = 0;  // not read, ticks among them
  std::uint64_t bytes = 0;    // about: of the topic's files from the first of those records on
  double seconds = 0;         // since the first of them was appended, or a little more
  // From 0 to 1: how much of the window has passed for the file with the oldest record that the
  // reader would need after a restart; at 1 that file may go.  0: there is none, or no window.
  double retention_used = 0;
  // Records that it had not read are gone.
  bool has_fallen_off = false;
};

// `extents`: of the files kept, in order.
ReaderLag lag_of(const RegisteredReader& reader, const ControlPage& page,
                 const std::vector<SegmentExtent>& extents, std::chrono::microseconds retention,
                 std::uint64_t retention_bytes, MicrosUtc now);

struct TopicSurvey {
  std::string name;
  ControlPage page;
  std::vector<SegmentExtent> extents;
  std::uint64_t ready_files = 0;
  std::uint64_t file_bytes = 0;  // of all files, ready ones included
  std::vector<RegisteredReader> readers;
  std::vector<QuarantinedRange> quarantined;  // of the files kept

  std::uint64_t quarantined_bytes() const;
  std::uint64_t records() const;
  MicrosUtc newest_append() const;  // 0: none
  MicrosUtc oldest_append() const;  // not later than the oldest record's; 0: there is none
};

// NotFound: there is no such topic.  Files that are missing or lack a header are among the extents.
Result<TopicSurvey> survey_topic(io::FileSystem& files, const std::string& log_folder,
                                 const std::string& topic);
// Names, sorted.
Result<std::vector<std::string>> list_topics(io::FileSystem& files, const std::string& log_folder);

}  // namespace flagstream::log
