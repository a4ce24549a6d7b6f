#include "environment/memberships.h"

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>

#include "environment/member_set.h"
#include "environment/membership_record.h"
#include "telemetry/tell.h"

namespace flagstream::environment {
namespace {

constexpr char kReaderName[] = "gateway";
constexpr std::size_t kReadBytes = 4u << 20;
constexpr std::chrono::milliseconds kReadDeadline{200};
constexpr std::chrono::milliseconds kTopicRetry{50};
constexpr std::int64_t kStaleAfter = 2 * kMicrosPerMinute;

struct Probe {
  explicit Probe(telemetry::Registry& registry)
      : records(registry, {"flagstream_environment_membership_records_total",
                           "Records of memberships that were read.", ""}),
        skipped(registry, {"flagstream_environment_membership_records_skipped_total",
                           "Records of memberships that could not be used.", ""}),
        members(registry, {"flagstream_environment_members",
                           "Contexts that big segments include or exclude.", ""}) {}

  telemetry::Counter records;
  telemetry::Counter skipped;
  telemetry::Gauge members;
};

struct Generation {
  MemberSet included;
  MemberSet excluded;
};

template <class Apply>
void for_each_member(std::string_view members, Apply apply) {
  for (; !members.empty(); members.remove_prefix(kMemberBytes))
    apply(*Id128::from_bytes(members.substr(0, kMemberBytes)));
}

}  // namespace

class Memberships::Follower {
 public:
  Follower(log::Log& log, const Clock& clock, telemetry::Registry& registry)
      : log_(log), clock_(clock), probe_(registry) {
    thread_ = std::thread([this] { run(); });
  }
  ~Follower() {
    {
      const std::lock_guard lock(mutex_);
      is_stopping_ = true;
      if (reader_ != nullptr) reader_->wake();
    }
    moved_.notify_all();
    thread_.join();
  }

  State state() const {
    const std::lock_guard lock(mutex_);
    if (is_absent_) return State::Absent;
    if (!is_loaded_) return State::Loading;
    const bool is_late = clock_.monotonic() - current_at_ > kStaleAfter;
    return is_late || has_hole_ ? State::Stale : State::Current;
  }

  std::optional<bool> find(std::uint64_t generation, std::string_view context_key) const {
    const auto members = generation_of(generation);
    if (members == nullptr) return std::nullopt;
    const Id128 member = member_of(context_key);
    if (members->included.contains(member)) return true;
    if (members->excluded.contains(member)) return false;
    return std::nullopt;
  }

  Result<void> wait_for(std::uint64_t sequence, std::chrono::milliseconds deadline) {
    std::unique_lock lock(mutex_);
    if (reader_ != nullptr) reader_->wake();
    const bool is_there =
        moved_.wait_for(lock, deadline, [&] { return is_stopping_ || last_sequence_ >= sequence; });
    if (is_there && !is_stopping_) return {};
    return fail(ErrorKind::Unavailable, "memberships are not read up to here yet");
  }

 private:
  std::shared_ptr<Generation> generation_of(std::uint64_t generation) const {
    const std::shared_lock lock(generations_mutex_);
    const auto found = generations_.find(generation);
    return found == generations_.end() ? nullptr : found->second;
  }

  bool is_stopping() const {
    const std::lock_guard lock(mutex_);
    return is_stopping_;
  }

  void run() {
    std::string last_failure;
    while (!is_stopping()) {
      const auto followed = follow();
      std::unique_lock lock(mutex_);
      reader_.reset();
      if (!followed && followed.error().kind == ErrorKind::NotFound) {
        is_absent_ = true;
      } else if (!followed && followed.error().what != last_failure) {
        last_failure = followed.error().what;
        telemetry::warn("memberships cannot be read", {{"error", followed.error()}});
      }
      moved_.wait_for(lock, kTopicRetry, [this] { return is_stopping_; });
    }
  }

  // Another log than before is read from its beginning.
  Result<void> begin() {
    FS_TRY(const log::TopicInfo info, log_.info(std::string(kMembershipsTopic)));
    const log::PartitionRange range = info.partitions.at(0);
    if (info.log_id != log_id_ || next_ > range.end) {
      {
        // First, so that nobody takes what is gone for an answer.
        const std::lock_guard lock(mutex_);
        is_loaded_ = false;
        has_hole_ = false;
        last_sequence_ = 0;
      }
      const std::unique_lock lock(generations_mutex_);
      generations_.clear();
      log_id_ = info.log_id;
      next_ = range.begin;
    }
    loaded_at_ = range.end;
    const log::Start start{.partition = 0, .offset = next_};
    FS_TRY(auto opened,
           log_.open_reader(std::string(kMembershipsTopic), info.log_id, std::span(&start, 1)));
    registration_ = log_.register_reader(std::string(kMembershipsTopic), kReaderName);
    const std::lock_guard lock(mutex_);
    is_absent_ = false;
    reader_ = std::move(opened);
    return {};
  }

  Result<void> follow() {
    FS_TRY(begin());
    note_position(false);
    while (!is_stopping()) {
      FS_TRY(const log::Fetched fetched, reader_->next(kReadBytes, kReadDeadline));
      switch (fetched.status) {
        case log::Fetched::Status::Frames:
          FS_TRY(take(fetched.frames));
          note_position(false);
          break;
        case log::Fetched::Status::End: {
          FS_TRY(const log::TopicInfo info, log_.info(std::string(kMembershipsTopic)));
          if (info.log_id != log_id_ || next_ > info.partitions.at(0).end) return {};
          note_position(true);
          read_until_ = clock_.now();
          break;
        }
        case log::Fetched::Status::OutOfRange:
        case log::Fetched::Status::Quarantined:
          telemetry::error("memberships have a gap: big segments may be wrong",
                           {{"from", next_}, {"to", fetched.next_offset}});
          next_ = fetched.next_offset;
          reader_->skip_to(0, next_);
          const std::lock_guard lock(mutex_);
          has_hole_ = true;
          break;
      }
      // Kept in memory only: a restart reads it all again.
      const log::ReaderPosition at{
          .partition = 0, .next = next_, .resume = next_, .read_until = read_until_};
      if (registration_ != nullptr) registration_->tell(std::span(&at, 1));
    }
    return {};
  }

  Result<void> take(std::span<const log::Frame> frames) {
    for (const log::Frame& frame : frames) {
      for (std::size_t i = 0; i < frame.records.size(); ++i) {
        const log::Offset offset = frame.base_offset + i;
        if (offset < next_) continue;
        auto change = decode_membership_record(frame.records[i]);
        probe_.records.add();
        if (change) {
          apply(*change);
        } else if (change.error().kind == ErrorKind::InvalidArgument) {
          return fail(std::move(change).error());
        } else {
          probe_.skipped.add();
        }
        next_ = offset + 1;
      }
    }
    return {};
  }

  void apply(const proto::MembershipChange& change) {
    // A repeat after a crash of the publisher.
    if (change.sequence() <= last_sequence_) return;
    if (last_sequence_ != 0 && change.sequence() != last_sequence_ + 1) {
      telemetry::error("memberships lack changes: big segments may be wrong",
                       {{"after", last_sequence_}, {"next", change.sequence()}});
      const std::lock_guard lock(mutex_);
      has_hole_ = true;
    }
    auto members = change.reset() ? nullptr : generation_of(change.generation());
    if (members == nullptr) {
      members = std::make_shared<Generation>();
      const std::unique_lock lock(generations_mutex_);
      generations_[change.generation()] = members;
    }
    // A key leaves one list before it enters the other.
    for_each_member(change.included_remove(), [&](const Id128& m) { members->included.erase(m); });
    for_each_member(change.excluded_remove(), [&](const Id128& m) { members->excluded.erase(m); });
    for_each_member(change.included_add(), [&](const Id128& m) { members->included.insert(m); });
    for_each_member(change.excluded_add(), [&](const Id128& m) { members->excluded.insert(m); });
    const std::lock_guard lock(mutex_);
    last_sequence_ = change.sequence();
  }

  void note_position(bool is_at_end) {
    {
      const std::shared_lock lock(generations_mutex_);
      std::size_t members = 0;
      for (const auto& [number, each] : generations_)
        members += each->included.size() + each->excluded.size();
      probe_.members.set(static_cast<double>(members));
    }
    {
      const std::lock_guard lock(mutex_);
      is_loaded_ = is_loaded_ || next_ >= loaded_at_;
      if (is_at_end || next_ >= loaded_at_) current_at_ = clock_.monotonic();
    }
    moved_.notify_all();
  }

  log::Log& log_;
  const Clock& clock_;
  Probe probe_;

  mutable std::shared_mutex generations_mutex_;
  std::map<std::uint64_t, std::shared_ptr<Generation>> generations_;

  mutable std::mutex mutex_;  // guards what follows up to the blank line
  std::condition_variable moved_;
  bool is_stopping_ = false;
  bool is_absent_ = false;  // known to be; before the log has answered nothing is known
  bool is_loaded_ = false;
  bool has_hole_ = false;
  std::int64_t current_at_ = 0;          // monotonic: when the end was last reached
  std::uint64_t last_sequence_ = 0;      // written by the follower's thread only
  std::unique_ptr<log::Reader> reader_;  // replaced under it, used by the follower's thread

  // The follower's thread only.
  Id128 log_id_;
  log::Offset next_ = 0;
  log::Offset loaded_at_ = 0;                              // the end when it began
  MicrosUtc read_until_ = 0;                               // what was appended before is read
  std::unique_ptr<log::ReaderRegistration> registration_;  // may be null
  std::thread thread_;
};

Memberships::Memberships(std::unique_ptr<Follower> follower) : follower_(std::move(follower)) {}
Memberships::~Memberships() = default;

std::unique_ptr<Memberships> Memberships::start(log::Log& log, const Clock& clock,
                                                telemetry::Registry& registry) {
  return std::unique_ptr<Memberships>(
      new Memberships(std::make_unique<Follower>(log, clock, registry)));
}

Memberships::State Memberships::state() const { return follower_->state(); }
std::optional<bool> Memberships::find(std::uint64_t generation,
                                      std::string_view context_key) const {
  return follower_->find(generation, context_key);
}
Result<void> Memberships::wait_for(std::uint64_t sequence, std::chrono::milliseconds deadline) {
  return follower_->wait_for(sequence, deadline);
}

}  // namespace flagstream::environment
