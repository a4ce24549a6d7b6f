#include "log/local_log.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "log/local_reader.h"
#include "log/topic_writer.h"
#include "telemetry/tell.h"

namespace flagstream::log {
namespace {

constexpr std::size_t kGroupBytesMax = 4u << 20;
constexpr auto kHousekeeping = std::chrono::milliseconds(250);

struct AppenderProbe {
  AppenderProbe(telemetry::Registry& registry, const std::string& topic)
      : records(registry,
                {"flagstream_log_appended_records_total", "Records made durable.", label(topic)}),
        bytes(registry, {"flagstream_log_appended_bytes_total", "Bytes of records made durable.",
                         label(topic)}),
        stored_bytes(registry,
                     {"flagstream_log_stored_bytes_total",
                      "Bytes written for them: fewer where batches are compressed.", label(topic)}),
        groups(registry,
               {"flagstream_log_groups_total", "Writes with one sync each.", label(topic)}),
        failures(registry,
                 {"flagstream_log_append_failures_total", "Appends that failed.", label(topic)}),
        refused(registry, {"flagstream_log_queue_refused_total",
                           "Appends refused because the queue was full.", label(topic)}),
        expired(registry, {"flagstream_log_expired_segments_total",
                           "Segment files that retention gave up.", label(topic)}),
        quarantined(registry, {"flagstream_log_quarantined_bytes",
                               "Damaged bytes found when the topic was opened.", label(topic)}),
        queue_bytes(registry,
                    {"flagstream_log_queue_bytes", "Bytes that wait to be written.", label(topic)}),
        poisoned(registry,
                 {"flagstream_log_poisoned",
                  "1 after an I/O error, until a new file could be begun.", label(topic)}),
        below_reserve(registry, {"flagstream_log_below_reserve",
                                 "1 while the disk is down to its reserve and appends are refused.",
                                 label(topic)}),
        commit_seconds(registry, {"flagstream_log_commit_seconds", "Time of one write and sync.",
                                  label(topic)}) {}

  static std::string label(const std::string& topic) { return "topic=\"" + topic + "\""; }

  telemetry::Counter records;
  telemetry::Counter bytes;
  telemetry::Counter stored_bytes;
  telemetry::Counter groups;
  telemetry::Counter failures;
  telemetry::Counter refused;
  telemetry::Counter expired;
  telemetry::Gauge quarantined;
  telemetry::Gauge queue_bytes;
  telemetry::Gauge poisoned;
  telemetry::Gauge below_reserve;
  telemetry::Histogram commit_seconds;
};

constexpr auto kPoolRetry = std::chrono::seconds(5);

// A queue and one committer thread before a TopicWriter.  While a sync runs the next group gathers
// in the queue.
class LocalAppender final : public Appender {
 public:
  LocalAppender(std::string topic, std::unique_ptr<TopicWriter> writer,
                const TopicSettings& settings, const LocalLogSettings& log, io::FileSystem& files,
                const Clock& clock, telemetry::Registry& registry)
      : topic_(std::move(topic)),
        writer_(std::move(writer)),
        partitions_(writer_->page().partitions.size()),
        segment_bytes_(settings.segment_bytes),
        queue_bytes_max_(log.queue_bytes_max),
        compression_(log.compression),
        files_(files),
        clock_(clock),
        probe_(registry, topic_) {
    probe_.quarantined.set(static_cast<double>(writer_->quarantined_bytes()));
    if (writer_->quarantined_bytes() > 0) {
      telemetry::error("damage found in a topic; readers step over it and report it",
                       {{"topic", topic_}, {"bytes", writer_->quarantined_bytes()}});
    }
    committer_ = std::thread([this] { run(); });
    pool_filler_ = std::thread([this] { fill_pool(); });
  }

  ~LocalAppender() override {
    {
      const std::lock_guard lock(mutex_);
      is_stopping_ = true;
    }
    changed_.notify_all();
    pool_changed_.notify_all();
    committer_.join();
    pool_filler_.join();
  }

  void append(Partition partition, Batch batch, Completion done) override {
    if (batch.size() > kBatchBytesMax)
      return done(fail(ErrorKind::TooLarge, "a batch is larger than 64 MiB"));
    if (partition >= partitions_)
      return done(fail(ErrorKind::InvalidArgument, "the topic has no such partition"));
    if (batch.count() == 0)
      return done(fail(ErrorKind::InvalidArgument, "a batch without records"));
    batch.compress(compression_);
    const std::size_t size = batch.size();
    {
      const std::unique_lock lock(mutex_);
      const bool is_full = queue_bytes_ > 0 && queue_bytes_ + size > queue_bytes_max_;
      if (!is_full && !is_stopping_) {
        queue_bytes_ += size;
        queue_.push_back({{.partition = partition, .batch = std::move(batch)}, std::move(done)});
        if (queue_.size() == 1) changed_.notify_one();
        return;
      }
    }
    probe_.refused.add();
    done(fail(ErrorKind::ResourceExhausted, "too much waits to be written"));
  }

 private:
  struct Waiting {
    TopicWriter::Pending pending;
    Completion done;
  };

  // Appends that are not served before the end fail with the queue.
  std::vector<Waiting> take_group() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kHousekeeping, [&] { return !queue_.empty() || is_stopping_; });
    std::vector<Waiting> group;
    std::size_t bytes = 0;
    while (!queue_.empty() &&
           (group.empty() || bytes + queue_.front().pending.batch.size() <= kGroupBytesMax)) {
      bytes += queue_.front().pending.batch.size();
      group.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    queue_bytes_ -= bytes;
    probe_.queue_bytes.set(static_cast<double>(queue_bytes_));
    return group;
  }

  void run() {
    std::vector<TopicWriter::Pending> pending;
    std::int64_t housekept = clock_.monotonic();
    for (;;) {
      std::vector<Waiting> group = take_group();
      if (!group.empty()) {
        pending.clear();
        for (Waiting& each : group) pending.push_back(std::move(each.pending));
        write(pending);
        for (std::size_t i = 0; i < group.size(); ++i) group[i].done(std::move(pending[i].outcome));
      }
      const std::int64_t now = clock_.monotonic();
      if (group.empty() || now - housekept > 1'000 * kHousekeeping.count()) {
        housekept = now;
        housekeep();
      }
      const std::lock_guard lock(mutex_);
      if (is_stopping_ && queue_.empty()) return;
    }
  }

  void write(std::vector<TopicWriter::Pending>& pending) {
    const std::int64_t begin = clock_.monotonic();
    adopt_ready_files();
    writer_->write(pending);
    probe_.commit_seconds.observe(static_cast<double>(clock_.monotonic() - begin) /
                                  kMicrosPerSecond);
    probe_.groups.add();
    for (const TopicWriter::Pending& each : pending) {
      if (each.outcome) {
        probe_.records.add(each.batch.count());
        probe_.bytes.add(each.batch.plain_size());
        probe_.stored_bytes.add(each.batch.size());
      } else {
        probe_.failures.add();
      }
    }
    tell_changes(pending);
  }

  // Once at each change, not for each of the appends that fail.
  void tell_changes(const std::vector<TopicWriter::Pending>& pending) {
    if (writer_->is_poisoned() != (probe_.poisoned.value() != 0)) {
      probe_.poisoned.set(writer_->is_poisoned() ? 1 : 0);
      if (!writer_->is_poisoned()) {
        telemetry::info("the log's writer goes on in a new file", {{"topic", topic_}});
      } else if (!pending.empty() && !pending.back().outcome) {
        telemetry::error(
            "the log's writer has failed and refuses everything until it can begin a new file",
            {{"topic", topic_}, {"error", pending.back().outcome.error()}});
      }
    }
    if (writer_->is_below_reserve() != (probe_.below_reserve.value() != 0)) {
      probe_.below_reserve.set(writer_->is_below_reserve() ? 1 : 0);
      if (writer_->is_below_reserve()) {
        telemetry::error("the disk is down to its reserve (log.reserve): appends are refused",
                         {{"topic", topic_}});
      } else {
        telemetry::info("the disk has room again: appends are taken", {{"topic", topic_}});
      }
    }
  }

  void housekeep() {
    std::vector<TopicWriter::Pending> ticks = writer_->due_ticks();
    if (!ticks.empty()) write(ticks);
    const std::uint64_t before = writer_->expired_segments();
    const bool was_doubted = writer_->is_clock_doubted();
    const auto done = writer_->expire();
    if (writer_->is_clock_doubted() && !was_doubted) {
      telemetry::warn("the clock has jumped ahead: nothing is deleted for its age for an hour",
                      {{"topic", topic_}});
    }
    if (!done)
      telemetry::warn("retention cannot give up a file",
                      {{"topic", topic_}, {"error", done.error()}});
    probe_.expired.add(writer_->expired_segments() - before);
    adopt_ready_files();
    if (is_pool_file_wanted_.load()) return;
    if (auto path = writer_->wanted_ready_file()) {
      const std::lock_guard lock(mutex_);
      pool_path_ = *std::move(path);
      is_pool_file_wanted_.store(true);
      pool_changed_.notify_one();
    }
  }

  void adopt_ready_files() {
    std::vector<std::string> ready;
    {
      const std::lock_guard lock(mutex_);
      ready.swap(ready_files_);
    }
    for (std::string& path : ready) writer_->add_ready_file(std::move(path));
  }

  void fill_pool() {
    std::unique_lock lock(mutex_);
    for (;;) {
      pool_changed_.wait(lock, [&] { return is_stopping_ || is_pool_file_wanted_.load(); });
      if (is_stopping_) return;
      const std::string path = pool_path_;
      lock.unlock();
      const auto made = make_ready_file(files_, path, segment_bytes_);
      if (!made)
        telemetry::warn("no segment file can be made ready",
                        {{"topic", topic_}, {"error", made.error()}});
      lock.lock();
      if (made) {
        ready_files_.push_back(path);
      } else {  // most likely the disk is full: do not fill it with attempts
        pool_changed_.wait_for(lock, kPoolRetry, [&] { return is_stopping_; });
      }
      is_pool_file_wanted_.store(false);
    }
  }

  const std::string topic_;
  std::unique_ptr<TopicWriter> writer_;  // the committer's, once it runs
  const std::size_t partitions_;
  const std::uint64_t segment_bytes_;
  const std::size_t queue_bytes_max_;
  const Compression compression_;
  io::FileSystem& files_;
  const Clock& clock_;
  AppenderProbe probe_;

  std::mutex mutex_;
  std::condition_variable changed_;       // for the committer
  std::condition_variable pool_changed_;  // for the pool's filler
  std::deque<Waiting> queue_;
  std::size_t queue_bytes_ = 0;
  bool is_stopping_ = false;
  std::string pool_path_;
  std::atomic<bool> is_pool_file_wanted_{false};
  std::vector<std::string> ready_files_;
  std::thread committer_;
  std::thread pool_filler_;
};

class LocalLog final : public Log {
 public:
  LocalLog(LocalLogSettings settings, io::FileSystem& files, const Clock& clock,
           telemetry::Registry& registry)
      : settings_(std::move(settings)), files_(files), clock_(clock), registry_(registry) {}

  Result<std::unique_ptr<Appender>> open_appender(const std::string& topic,
                                                  const TopicOptions& options) override {
    const TopicSettings settings{.folder = folder_of(topic),
                                 .segment_bytes = settings_.segment_bytes,
                                 .pool_segments = settings_.pool_segments,
                                 .reserve_bytes = settings_.reserve_bytes,
                                 .options = options,
                                 .takes_compressed = settings_.compression != Compression::None};
    FS_TRY(auto writer, TopicWriter::open(settings, files_, clock_));
    return std::make_unique<LocalAppender>(topic, std::move(writer), settings, settings_, files_,
                                           clock_, registry_);
  }

  Result<std::unique_ptr<Reader>> open_reader(const std::string& topic, Id128 log_id,
                                              std::span<const Start> starts) override {
    return LocalReader::open(files_, folder_of(topic), log_id, starts);
  }

  Result<TopicInfo> info(const std::string& topic) override {
    FS_TRY(const ControlPage page, read_control_page(files_, folder_of(topic)));
    TopicInfo info{.log_id = page.log_id, .partitions = {}};
    for (const PartitionEnd& each : page.partitions) {
      info.partitions.push_back({.begin = each.begin,
                                 .end = each.end,
                                 .data_end = each.data_end,
                                 .last_append = each.last_append});
    }
    return info;
  }

  Result<Offset> position_at(const std::string& topic, Partition partition,
                             MicrosUtc time) override {
    const std::string folder = folder_of(topic);
    FS_TRY(const ControlPage page, read_control_page(files_, folder));
    if (partition >= page.partitions.size())
      return fail(ErrorKind::InvalidArgument, "the topic has no such partition");
    Start start{.partition = partition, .offset = page.partitions[partition].begin};
    for (std::uint64_t sequence = page.last_sequence; sequence > page.first_sequence; --sequence) {
      FS_TRY(const SegmentHeader header,
             read_segment_header(files_, folder, sequence, page.partitions.size()));
      if (header.created >= time) continue;
      start.offset = std::max(start.offset, header.partitions[partition].end);
      break;
    }
    FS_TRY(const auto reader, LocalReader::open(files_, folder, page.log_id, std::span(&start, 1)));
    for (;;) {
      FS_TRY(const Fetched fetched, reader->next(1 << 20, std::chrono::milliseconds(0)));
      switch (fetched.status) {
        case Fetched::Status::End:
          return std::max(start.offset, page.partitions[partition].end);
        case Fetched::Status::OutOfRange:
        case Fetched::Status::Quarantined:
          reader->skip_to(partition, fetched.next_offset);
          continue;
        case Fetched::Status::Frames:
          for (const Frame& frame : fetched.frames) {
            if (frame.append_time >= time) return frame.base_offset;
          }
      }
    }
  }

 private:
  std::string folder_of(const std::string& topic) const { return settings_.folder + "/" + topic; }

  const LocalLogSettings settings_;
  io::FileSystem& files_;
  const Clock& clock_;
  telemetry::Registry& registry_;
};

}  // namespace

std::unique_ptr<Log> open_local_log(LocalLogSettings settings, io::FileSystem& files,
                                    const Clock& clock, telemetry::Registry& registry) {
  return std::make_unique<LocalLog>(std::move(settings), files, clock, registry);
}

}  // namespace flagstream::log
