// The durable log: what every role hands its records to the next one through.
//
// A topic is an ordered set of partitions; records of one partition are totally ordered and
// numbered densely from 0 (their offset).  A producer's batch is one frame: it is stored and read
// whole or not at all. Positions compare only within one log id.
//
// Backends: local (local_log.h), later Kafka.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "log/compression.h"

namespace flagstream::log {

using Partition = std::uint32_t;
using Offset = std::uint64_t;

// The first byte of every record in every topic, the second being the version of that kind's layout
// (1). Readers skip and count kinds that they do not know.
enum class RecordKind : std::uint8_t {
  Payload = 1,     // events/payload.h
  Tick = 2,        // no contents: time passes in an idle partition
  Event = 3,       // events/event.h
  Reject = 4,      // events/event.h
  Config = 5,      // environment/config_record.h
  Membership = 6,  // environment/membership_record.h
};

// Records of one producer for one partition, encoded as they are stored.
class Batch {
 public:
  // The record is the parts, one after the other.
  // Precondition: it is not compressed.
  void add(std::initializer_list<std::string_view> parts);
  // Compresses it if that saves a tenth at least.
  void compress(Compression how);
  std::uint32_t count() const { return count_; }
  // Of bytes(), as they are stored.
  std::size_t size() const { return bytes_.size(); }
  const std::string& bytes() const { return bytes_; }
  Compression compression() const { return compression_; }
  // Before it was compressed.
  std::size_t plain_size() const {
    return compression_ == Compression::None ? bytes_.size() : plain_bytes_;
  }
  void clear() { *this = Batch(); }

 private:
  std::string bytes_;  // (length u32le, record)*, or what they were compressed to
  std::uint32_t count_ = 0;
  Compression compression_ = Compression::None;
  std::size_t plain_bytes_ = 0;  // if compressed
};

struct Appended {
  Offset first_offset = 0;
  MicrosUtc append_time = 0;  // never decreases within a topic
};

// The only writer of a topic.  Thread-safe.
class Appender {
 public:
  // Called once the batch is durable, or has failed; on the committer's thread, so it must be short
  // and must not block.  Errors: ResourceExhausted (queue or disk full: retry later), TooLarge,
  // Unavailable (the writer is poisoned or closed), Indeterminate (it may have been stored).
  using Completion = std::move_only_function<void(Result<Appended>)>;

  virtual ~Appender() = default;  // completes or fails everything first
  // Takes a batch to be written with others once start() is called, or a little later without it.
  virtual void enqueue(Partition partition, Batch batch, Completion done) = 0;
  // Has what was enqueued written as soon as can be.
  virtual void start() = 0;
  // Both.
  void append(Partition partition, Batch batch, Completion done);
  // Replaces what TopicOptions said; within a second whole files go by it.  Without effect where
  // nothing is ever deleted.
  virtual void set_retention(std::chrono::microseconds /*retention*/,
                             std::uint64_t /*retention_bytes*/) {}
  // Blocks until durable.
  Result<Appended> append_and_wait(Partition partition, Batch batch);
};

// One batch, as read.  Views live until the next call of the reader's next().
struct Frame {
  Partition partition = 0;
  Offset base_offset = 0;
  MicrosUtc append_time = 0;
  std::vector<std::string_view> records;
  std::uint64_t stored_bytes = 0;  // what it takes on disk, for lag in bytes

  Offset end_offset() const { return base_offset + records.size(); }
};

struct Fetched {
  enum class Status {
    Frames,       // `frames` holds at least one
    End,          // nothing below the durable watermark until the deadline
    OutOfRange,   // `partition` wants an offset that retention has deleted; `next_offset` is the
                  // first kept
    Quarantined,  // damage: the offsets of `partition` up to `next_offset` cannot be read
  };
  Status status = Status::End;
  std::span<const Frame> frames;  // partitions mixed, each in order
  Partition partition = 0;
  Offset next_offset = 0;
};

// Reads several partitions of one topic, in any process.  Not thread-safe, except wake().
class Reader {
 public:
  virtual ~Reader() = default;
  // Waits at most `deadline` for records below the durable watermark; `bytes_max` bounds what one
  // call returns (at least one frame comes).  After OutOfRange or Quarantined nothing more comes
  // from that partition until skip_to().
  virtual Result<Fetched> next(std::size_t bytes_max, std::chrono::milliseconds deadline) = 0;
  virtual void skip_to(Partition partition, Offset offset) = 0;
  // Makes a waiting next() return End now.  Any thread.
  virtual void wake() = 0;
};

// How far a reader is in one partition.
struct ReaderPosition {
  Partition partition = 0;
  Offset next = 0;           // the first record not read
  Offset resume = 0;         // the first that it would read again after a restart
  MicrosUtc read_until = 0;  // what was appended before is read
};

// A reader that shows how far it is to whoever watches the topic.  What it tells last stays when it
// ends.  Thread-safe.
class ReaderRegistration {
 public:
  virtual ~ReaderRegistration() = default;
  // Cheap: may be called often, and is written about once a second.  Partitions that are not told
  // stay as they were.  Cannot fail: nobody depends on it.
  virtual void tell(std::span<const ReaderPosition> positions) = 0;
};

struct Start {
  Partition partition = 0;
  Offset offset = 0;  // of the first record wanted
};

struct PartitionRange {
  Offset begin = 0;     // first offset kept
  Offset end = 0;       // one past the last durable record
  Offset data_end = 0;  // one past the last durable record that is no tick: ticks count in no lag
  MicrosUtc last_append = 0;  // append time of that record; 0 if there is none
};

struct TopicInfo {
  Id128 log_id;
  std::vector<PartitionRange> partitions;
};

// How full the disk is (disk_watch.h), from better to worse.
enum class DiskMark { None, Low, Reserve, Critical };

struct TopicOptions {
  Partition partitions = 16;               // fixed when the topic is made
  std::chrono::microseconds retention{0};  // 0: for ever
  std::uint64_t retention_bytes = 0;       // 0: no bound by size
  bool ticks = false;  // the writer appends a tick to each idle partition: each second
                       // for a minute after its last record, then each 10 s
  // Appends, from that mark on; none: never.
  std::optional<DiskMark> refuse_at = std::nullopt;
};

// A store of topics.  Thread-safe.
class Log {
 public:
  virtual ~Log() = default;
  // Makes the topic if it does not exist, takes its ownership (Conflict if another process has it)
  // and recovers it.
  virtual Result<std::unique_ptr<Appender>> open_appender(const std::string& topic,
                                                          const TopicOptions& options) = 0;
  // NotFound while the topic does not exist.  Conflict when `log_id` (zero: any) is not the
  // topic's.
  virtual Result<std::unique_ptr<Reader>> open_reader(const std::string& topic, Id128 log_id,
                                                      std::span<const Start> starts) = 0;
  // `name`: of a stage or role, letters, digits, '.', '_' and '-'.  Null where nobody watches.
  virtual std::unique_ptr<ReaderRegistration> register_reader(const std::string& topic,
                                                              const std::string& name) = 0;
  virtual Result<TopicInfo> info(const std::string& topic) = 0;
  // The first offset whose append time is at or after `time`; the end if there is none.
  virtual Result<Offset> position_at(const std::string& topic, Partition partition,
                                     MicrosUtc time) = 0;
};

}  // namespace flagstream::log
