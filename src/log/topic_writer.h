// The only writer of a topic's files: recovery at open, group commit, roll, retention, the pool of
// ready files. No threads and no queue: LocalAppender (local_log.cc) drives it, and so does the
// crash explorer.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "io/file_system.h"
#include "log/clock_watch.h"
#include "log/disk_watch.h"
#include "log/log.h"
#include "log/quarantine.h"
#include "log/segment_format.h"
#include "log/segment_index.h"
#include "log/segment_pool.h"
#include "log/segment_scan.h"
#include "log/topic_survey.h"
#include "log/watermark.h"

namespace flagstream::log {

struct TopicSettings {
  std::string folder;
  std::uint64_t segment_bytes = 64ull << 20;
  std::uint32_t pool_segments = 4;
  std::uint64_t reserve_bytes = 0;   // of the disk (DiskMarks)
  std::uint64_t critical_bytes = 0;  // the same
  TopicOptions options;
  bool takes_compressed = false;  // batches that are compressed can come
  Binding binding = Binding::Bound;
};

// Paths and names within a topic's folder.
std::string segment_path(const std::string& folder, std::uint64_t sequence);
std::string control_path(const std::string& folder);
std::string topic_path(const std::string& folder);

// Not thread-safe.
class TopicWriter {
 public:
  // Conflict: another writer has the topic, or it has another partition count.  DataLoss: the file
  // `topic` is damaged.  What else is damaged is quarantined and stepped over.
  static Result<std::unique_ptr<TopicWriter>> open(TopicSettings settings, io::FileSystem& files,
                                                   const Clock& clock);

  struct Pending {
    Partition partition = 0;
    Batch batch;
    Result<Appended> outcome = fail(ErrorKind::Unavailable, "not written");
  };
  // Makes all of them durable, as one group where they fit into one file, and sets each outcome.
  // After an I/O error nothing is written to that file any more: everything is refused until, a
  // second later at the earliest, a new file could be begun behind what is durable.
  void write(std::span<Pending> group);
  // Ticks for the partitions that are due one.
  std::vector<Pending> due_ticks();
  // Gives up whole files that the retention window has left.  A time of day that jumps ahead by
  // more than an hour could take everything at once: the age of files counts again when that time
  // has stood for an hour, or when the clock is back.
  Result<void> expire();
  // What expire() goes by from now on, as in TopicOptions.
  void set_retention(std::chrono::microseconds retention, std::uint64_t retention_bytes) {
    settings_.options.retention = retention;
    settings_.options.retention_bytes = retention_bytes;
  }
  const TopicOptions& options() const { return settings_.options; }
  // Removes the files before that one, for good, whether retention would keep them or not; the
  // newest file stays.  How many.
  Result<std::size_t> forget(std::uint64_t keep_from);
  // Of the files kept.
  std::vector<SegmentExtent> extents() const;
  bool is_clock_doubted() const { return clock_watch_.is_doubted(); }
  // Where the next ready file should be made (make_ready_file, on any thread); nullopt: there are
  // enough.
  std::optional<std::string> wanted_ready_file();
  void add_ready_file(std::string path) { pool_.add(std::move(path)); }

  bool is_poisoned() const { return page_.is_poisoned; }
  DiskMark disk_mark() { return disk_.mark(); }
  const ControlPage& page() const { return page_; }
  // Shared with whoever finds damage while the writer works.  Lives as long as the writer.
  Quarantine& quarantine() { return quarantine_; }
  std::uint64_t expired_segments() const { return expired_segments_; }

 private:
  struct Segment {
    SegmentHeader header;
    std::uint64_t file_bytes = 0;
    bool has_failed = false;  // an I/O error: its blocks are not used again
  };

  TopicWriter(TopicSettings settings, io::FileSystem& files, const Clock& clock)
      : settings_(std::move(settings)),
        files_(files),
        clock_(clock),
        quarantine_(files, settings_.folder),
        pool_(settings_.folder, settings_.segment_bytes, files),
        disk_(
            {.reserve_bytes = settings_.reserve_bytes, .critical_bytes = settings_.critical_bytes},
            settings_.folder, files, clock),
        clock_watch_(clock) {}

  Result<void> recover();
  Result<void> read_identity();
  std::optional<ControlPage> read_known_page();
  Result<void> read_segments(const std::optional<ControlPage>& known);
  Result<Segment> read_segment(std::uint64_t sequence, const std::optional<ControlPage>& known);
  // True: writing can go on behind the last frame.
  Result<bool> scan_last(const std::optional<ControlPage>& known);
  void read_ends_before_last();
  void quarantine_missing_files(const std::optional<ControlPage>& known);
  void verify_after_error();
  void seal_index();
  Result<void> roll(std::uint64_t frame_bytes);
  Result<std::unique_ptr<io::File>> begin_file(const std::string& ready,
                                               const SegmentHeader& header);
  std::uint32_t pool_files_max();
  Result<void> publish();
  Result<void> check_disk();
  Result<void> commit(std::span<Pending> group);
  enum class Contents { MayStay, Vanish };
  Result<void> give_up_first(Contents contents);
  void poison();
  // True: a new file was begun, and the writer takes records again.
  bool heal();

  TopicSettings settings_;
  io::FileSystem& files_;
  const Clock& clock_;
  std::unique_ptr<io::File> lock_;
  std::unique_ptr<io::File> control_;
  std::unique_ptr<io::Signal> published_;
  std::unique_ptr<io::File> active_;
  std::deque<Segment> segments_;       // the last one is `active_`
  std::optional<SegmentIndex> index_;  // of `active_`; none while that cannot be read
  Quarantine quarantine_;
  SegmentPool pool_;
  std::vector<std::string> leftovers_;  // given up, and could not be removed or used again
  ControlPage page_;
  MicrosUtc last_time_ = 0;
  std::vector<MicrosUtc> last_data_;  // per partition, for ticks
  DiskWatch disk_;
  std::int64_t poisoned_at_ = 0;  // monotonic; or of the last attempt to go on
  ClockWatch clock_watch_;
  bool is_verified_after_error_ = false;
  std::uint64_t expired_segments_ = 0;
};

}  // namespace flagstream::log
