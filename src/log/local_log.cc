#include "log/local_log.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "base/assert.h"
#include "log/caretaker.h"
#include "log/forget_request.h"
#include "log/local_reader.h"
#include "log/reader_registry.h"
#include "log/reader_watch.h"
#include "log/segment_search.h"
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
        forgotten(registry, {"flagstream_log_forgotten_segments_total",
                             "Segment files that an operator had deleted.", label(topic)}),
        quarantined(registry, {"flagstream_log_quarantined_bytes",
                               "Bytes of the topic's files known to be damaged.", label(topic)}),
        scrubbed(registry, {"flagstream_log_scrubbed_bytes_total",
                            "Bytes of sealed segment files read again from the disk and checked.",
                            label(topic)}),
        watermark_failures(registry,
                           {"flagstream_log_watermark_failures_total",
                            "Times that the durable watermark could not be saved.", label(topic)}),
        disk_mark(registry,
                  {"flagstream_log_disk_mark",
                   "0 the disk has room, 1 low, 2 down to the reserve, 3 critical.", label(topic)}),
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
  telemetry::Counter forgotten;
  telemetry::Gauge quarantined;
  telemetry::Counter scrubbed;
  telemetry::Counter watermark_failures;
  telemetry::Gauge disk_mark;
  telemetry::Gauge queue_bytes;
  telemetry::Gauge poisoned;
  telemetry::Gauge below_reserve;
  telemetry::Histogram commit_seconds;
};

constexpr auto kPoolRetry = std::chrono::seconds(5);
constexpr auto kPoolPause = std::chrono::milliseconds(2);  // after each MiB: up to 350 MB/s
constexpr auto kCare = std::chrono::seconds(1);  // of the watermark, and of one piece of a scrub
constexpr std::int64_t kReadersEvery = kMicrosPerSecond;

// A queue and one committer thread before a TopicWriter.  While a sync runs the next group gathers
// in the queue.
class LocalAppender final : public Appender {
 public:
  LocalAppender(std::string topic, std::unique_ptr<TopicWriter> writer,
                const TopicSettings& settings, const LocalLogSettings& of_log,
                io::FileSystem& files, const Clock& clock, telemetry::Registry& registry)
      : topic_(std::move(topic)),
        writer_(std::move(writer)),
        partitions_(writer_->page().partitions.size()),
        segment_bytes_(settings.segment_bytes),
        queue_bytes_max_(of_log.queue_bytes_max),
        compression_(of_log.compression),
        scrub_interval_(of_log.scrub_interval),
        refuse_at_(settings.options.refuse_at),
        quarantine_(writer_->quarantine()),
        files_(files),
        clock_(clock),
        folder_(settings.folder),
        probe_(registry, topic_),
        caretaker_(settings.folder, partitions_, quarantine_, files, clock),
        watch_(topic_, folder_, files, clock, registry) {
    tell_damage();
    committer_ = std::thread([this] { run(); });
    pool_filler_ = std::thread([this] { fill_pool(); });
    care_ = std::thread([this] { take_care(); });
  }

  ~LocalAppender() override {
    {
      const std::lock_guard lock(mutex_);
      is_stopping_ = true;
    }
    changed_.notify_all();
    care_changed_.notify_all();
    pool_changed_.notify_all();
    committer_.join();
    pool_filler_.join();
    care_.join();
  }

  void enqueue(Partition partition, Batch batch, Completion done) override {
    if (batch.size() > kBatchBytesMax)
      return done(fail(ErrorKind::TooLarge, "a batch is larger than 64 MiB"));
    if (partition >= partitions_)
      return done(fail(ErrorKind::InvalidArgument, "the topic has no such partition"));
    if (batch.count() == 0)
      return done(fail(ErrorKind::InvalidArgument, "a batch without records"));
    batch.compress(compression_);
    const std::size_t size = batch.size();
    {
      const std::lock_guard lock(mutex_);
      const bool is_full = queue_bytes_ > 0 && queue_bytes_ + size > queue_bytes_max_;
      if (!is_full && !is_stopping_) {
        queue_bytes_ += size;
        queue_.push_back({{.partition = partition, .batch = std::move(batch)}, std::move(done)});
        return;
      }
    }
    probe_.refused.add();
    done(fail(ErrorKind::ResourceExhausted, "too much waits to be written"));
  }

  void start() override {
    {
      const std::lock_guard lock(mutex_);
      if (queue_.empty()) return;
      is_started_ = true;
    }
    changed_.notify_one();
  }

  void set_retention(std::chrono::microseconds retention, std::uint64_t retention_bytes) override {
    const std::lock_guard lock(mutex_);
    new_retention_.emplace(retention, retention_bytes);
  }

 private:
  struct Waiting {
    TopicWriter::Pending pending;
    Completion done;
  };

  // Appends that are not served before the end fail with the queue.
  std::vector<Waiting> take_group() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kHousekeeping, [&] { return is_started_ || is_stopping_; });
    std::vector<Waiting> group;
    std::size_t bytes = 0;
    while (!queue_.empty() &&
           (group.empty() || bytes + queue_.front().pending.batch.size() <= kGroupBytesMax)) {
      bytes += queue_.front().pending.batch.size();
      group.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    queue_bytes_ -= bytes;
    is_started_ = !queue_.empty();
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
    tell_disk();
  }

  void tell_disk() {
    const auto was = static_cast<DiskMark>(probe_.disk_mark.value());
    const DiskMark mark = writer_->disk_mark();
    if (mark == was) return;
    probe_.disk_mark.set(static_cast<double>(mark));
    const bool is_refused = refuse_at_ && mark >= *refuse_at_;
    probe_.below_reserve.set(is_refused ? 1 : 0);
    switch (mark) {
      case DiskMark::None:
        return telemetry::info("the disk has room again", {{"topic", topic_}});
      case DiskMark::Low:
        return telemetry::error("the disk is nearly down to its reserve (log.reserve)",
                                {{"topic", topic_}});
      case DiskMark::Reserve:
        return telemetry::error("the disk is down to its reserve (log.reserve)",
                                {{"topic", topic_}, {"refused", is_refused}});
      case DiskMark::Critical:
        return telemetry::error("the disk is full but for what configuration and checkpoints need",
                                {{"topic", topic_}, {"refused", is_refused}});
    }
  }

  void tell_damage() {
    const auto bytes = static_cast<double>(quarantine_.bytes());
    if (bytes > probe_.quarantined.value()) {
      telemetry::error("damage found in a topic; readers step over it and report it",
                       {{"topic", topic_}, {"bytes", bytes}});
    }
    probe_.quarantined.set(bytes);
  }

  // Each second: the watermark, and a piece of the scrub as large as its interval asks for.
  void take_care() {
    io::lower_io_priority();
    const std::uint64_t piece =
        scrub_interval_.count() == 0
            ? segment_bytes_
            : std::max<std::uint64_t>(segment_bytes_ * kMicrosPerSecond / scrub_interval_.count(),
                                      1);
    bool is_kept = true;
    std::unique_lock lock(mutex_);
    while (!care_changed_.wait_for(lock, kCare, [&] { return is_stopping_; })) {
      lock.unlock();
      const auto kept = caretaker_.keep_watermark();
      if (!kept) probe_.watermark_failures.add();
      if (!kept && is_kept)
        telemetry::warn("the log's watermark cannot be saved",
                        {{"topic", topic_}, {"error", kept.error()}});
      is_kept = kept.has_value();
      probe_.scrubbed.add(caretaker_.scrub(piece, scrub_interval_.count() == 0));
      tell_damage();
      lock.lock();
    }
  }

  void adopt_retention() {
    const std::lock_guard lock(mutex_);
    if (new_retention_) writer_->set_retention(new_retention_->first, new_retention_->second);
    new_retention_.reset();
  }

  void housekeep() {
    adopt_retention();
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
    if (const std::int64_t now = clock_.monotonic(); now - readers_seen_ >= kReadersEvery) {
      readers_seen_ = now;
      forget();
      watch_.look(writer_->page(), writer_->extents(), writer_->options());
    }
    adopt_ready_files();
    tell_disk();
    if (is_pool_file_wanted_.load()) return;
    if (auto path = writer_->wanted_ready_file()) {
      const std::lock_guard lock(mutex_);
      pool_path_ = *std::move(path);
      is_pool_file_wanted_.store(true);
      pool_changed_.notify_one();
    }
  }

  void forget() {
    const auto asked = read_forget_request(files_, folder_);
    if (asked && !*asked) return;
    const auto done = [&]() -> Result<void> {
      if (!asked) return fail(asked.error());
      const ForgetRequest& request = **asked;
      const auto refused = [&](std::string why) {
        (void)remove_forget_request(files_, folder_);
        return fail(ErrorKind::Conflict, std::move(why));
      };
      if (request.log_id != writer_->page().log_id) return refused("it is for another log");
      const auto count = writer_->forget(request.keep_from);
      if (!count) return refused(count.error().what);
      probe_.forgotten.add(*count);
      telemetry::warn("segment files were deleted because an operator asked for it",
                      {{"topic", topic_}, {"files", *count}, {"keptFrom", request.keep_from}});
      return remove_forget_request(files_, folder_);
    }();
    if (!done)
      telemetry::warn("a request to forget cannot be followed",
                      {{"topic", topic_}, {"error", done.error()}});
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
      const auto made = make_ready_file(files_, path, segment_bytes_, kPoolPause);
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
  const std::chrono::microseconds scrub_interval_;
  const std::optional<DiskMark> refuse_at_;
  Quarantine& quarantine_;
  io::FileSystem& files_;
  const Clock& clock_;
  const std::string folder_;
  AppenderProbe probe_;
  Caretaker caretaker_;  // its thread's
  ReaderWatch watch_;
  std::int64_t readers_seen_ = 0;  // monotonic

  std::mutex mutex_;
  std::condition_variable changed_;       // for the committer
  std::condition_variable pool_changed_;  // for the pool's filler
  std::condition_variable care_changed_;  // for the caretaker
  std::deque<Waiting> queue_;
  std::size_t queue_bytes_ = 0;
  bool is_started_ = false;  // something of the queue is to be written now
  bool is_stopping_ = false;
  std::optional<std::pair<std::chrono::microseconds, std::uint64_t>> new_retention_;
  std::string pool_path_;
  std::atomic<bool> is_pool_file_wanted_{false};
  std::vector<std::string> ready_files_;
  std::thread committer_;
  std::thread pool_filler_;
  std::thread care_;
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
                                 .critical_bytes = critical_bytes(settings_.segment_bytes),
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

  std::unique_ptr<ReaderRegistration> register_reader(const std::string& topic,
                                                      const std::string& name) override {
    FS_ASSERT(is_reader_name(name), "a reader's name is a file's name and a label");
    return std::make_unique<FileRegistration>(files_, clock_, folder_of(topic), name);
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
    return find_time(files_, folder, page, partition, time);
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
