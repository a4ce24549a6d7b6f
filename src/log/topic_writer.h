// The only writer of a topic's files: recovery at open, group commit, roll, retention, the pool of
// ready files. No threads and no queue: LocalAppender (local_log.cc) drives it, and so does the
// crash explorer.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "io/file_system.h"
#include "log/log.h"
#include "log/segment_format.h"
#include "log/topic_survey.h"

namespace flagstream::log {

struct TopicSettings {
  std::string folder;
  std::uint64_t segment_bytes = 64ull << 20;
  std::uint32_t pool_segments = 4;
  std::uint64_t reserve_bytes = 0;
  TopicOptions options;
  Binding binding = Binding::Bound;
};

// Paths and names within a topic's folder.
std::string segment_path(const std::string& folder, std::uint64_t sequence);
std::string control_path(const std::string& folder);
std::string topic_path(const std::string& folder);

// A file of zeros that is whole and durable, or not there.  What has been written once can be
// written again without allocating blocks, which is what makes a sync cheap.
Result<void> make_ready_file(io::FileSystem& files, const std::string& path, std::uint64_t bytes);

// Not thread-safe.
class TopicWriter {
 public:
  // Conflict: another writer has the topic, or it has another partition count.  DataLoss: a file's
  // header is damaged.
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
  // Removes the files before that one, for good, whether retention would keep them or not; the
  // newest file stays.  How many.
  Result<std::size_t> forget(std::uint64_t keep_from);
  // Of the files kept.
  std::vector<SegmentExtent> extents() const;
  bool is_clock_doubted() const { return doubted_until_ != 0; }
  // Where the next ready file should be made (make_ready_file, on any thread); nullopt: there are
  // enough.
  std::optional<std::string> wanted_ready_file();
  void add_ready_file(std::string path);

  bool is_poisoned() const { return page_.is_poisoned; }
  bool is_below_reserve() const { return is_below_reserve_; }
  const ControlPage& page() const { return page_; }
  std::uint64_t quarantined_bytes() const { return quarantined_bytes_; }
  std::uint64_t expired_segments() const { return expired_segments_; }

 private:
  struct Segment {
    SegmentHeader header;
    std::uint64_t file_bytes = 0;
  };
  struct Scan {
    std::uint64_t end = 0;  // after the last whole group, or after what must have been durable
    bool is_clean = true;   // nothing but unwritten space follows
  };

  TopicWriter(TopicSettings settings, io::FileSystem& files, const Clock& clock)
      : settings_(std::move(settings)), files_(files), clock_(clock) {}

  Result<void> recover();
  Result<void> read_identity();
  Result<void> read_segments();
  Result<Scan> scan_last(const std::optional<ControlPage>& known);
  Result<void> roll(std::uint64_t frame_bytes);
  Result<std::string> take_ready_file(std::uint64_t bytes);
  std::string next_ready_path();
  Result<void> publish();
  Result<void> check_reserve();
  Result<void> commit(std::span<Pending> group);
  void watch_clock();
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
  std::deque<Segment> segments_;  // the last one is `active_`
  std::vector<std::string> pool_;
  std::uint64_t pool_names_ = 0;
  ControlPage page_;
  MicrosUtc last_time_ = 0;
  std::vector<MicrosUtc> last_data_;  // per partition, for ticks
  std::int64_t reserve_checked_ = 0;
  bool is_below_reserve_ = false;
  std::int64_t poisoned_at_ = 0;    // monotonic; or of the last attempt to go on
  MicrosUtc seen_time_ = 0;         // of day, when expire() looked last
  std::int64_t seen_at_ = 0;        // monotonic, then
  std::int64_t doubted_until_ = 0;  // monotonic; 0: the time of day is believed
  std::int64_t doubted_jump_ = 0;   // by which it was ahead
  std::uint64_t quarantined_bytes_ = 0;
  std::uint64_t expired_segments_ = 0;
};

}  // namespace flagstream::log
