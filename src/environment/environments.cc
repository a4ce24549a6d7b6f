#include "environment/environments.h"

#include <atomic>
#include <list>
#include <mutex>
#include <thread>

#include "base/hash.h"
#include "environment/config_record.h"
#include "environment/fold.h"
#include "environment/saved_state.h"
#include "environment/view.h"
#include "telemetry/tell.h"

namespace flagstream::environment {
namespace {

constexpr std::size_t kReadBytes = 4u << 20;
constexpr auto kReadDeadline = std::chrono::milliseconds(200);
constexpr auto kTopicRetry = std::chrono::milliseconds(50);
constexpr std::int64_t kSaveEvery = kMicrosPerSecond;
// What is shown is saved before it is shown, so that a restart never goes back behind it; a state
// over this is saved once a second instead.
constexpr std::size_t kSaveFirstBytesMax = 4u << 20;
constexpr std::int64_t kNever = -1;
constexpr char kReaderName[] = "gateway";

struct Probe {
  explicit Probe(telemetry::Registry& registry)
      : records(registry,
                {"flagstream_environment_records_total", "Records of config that were read.", ""}),
        skipped(registry, {"flagstream_environment_skipped_records",
                           "Records of config that could not be used.", ""}),
        dropped(registry, {"flagstream_environment_dropped_items",
                           "Items of config that waited in vain: over a limit.", ""}),
        gaps(registry,
             {"flagstream_environment_gaps", "Environments that wait for a missing revision.", ""}),
        environments(registry, {"flagstream_environment_environments", "Environments known.", ""}),
        saves(registry, {"flagstream_environment_saves_total", "Times the state was saved.", ""}),
        save_failures(registry, {"flagstream_environment_save_failures_total",
                                 "Times it could not be saved.", ""}),
        waits_failed(registry, {"flagstream_environment_waits_failed_total",
                                "Waits for the end of config that were in vain.", ""}),
        expiring_key_uses(registry, {"flagstream_environment_expiring_key_uses_total",
                                     "Times a key that will expire opened its environment.", ""}),
        age_seconds(registry, {"flagstream_environment_age_seconds",
                               "Since the end of config was last reached.", ""}) {}

  telemetry::Counter records;
  telemetry::Gauge skipped;
  telemetry::Gauge dropped;
  telemetry::Gauge gaps;
  telemetry::Gauge environments;
  telemetry::Counter saves;
  telemetry::Counter save_failures;
  telemetry::Counter waits_failed;
  telemetry::Counter expiring_key_uses;
  telemetry::Gauge age_seconds;
};

using Done = std::move_only_function<void(Result<void>)>;

// Null: nobody's.
const KeyOwner* owner_of(const Lookups& lookups, const Credential& credential) {
  const auto found = lookups.keys.find(credential.name);
  const bool is_found = found != lookups.keys.end() && found->second.kind == credential.kind;
  return is_found ? &found->second : nullptr;
}

bool is_over(const KeyOwner& owner, MicrosUtc now) {
  return owner.expires != 0 && now >= owner.expires;
}

}  // namespace

class Environments::Follower {
 public:
  Follower(FollowerSettings settings, log::Log& log, io::FileSystem& files, const Clock& clock,
           telemetry::Registry& registry)
      : settings_(std::move(settings)),
        log_(log),
        files_(files),
        clock_(clock),
        probe_(registry),
        started_at_(clock.monotonic()),
        expired_until_(clock.now()) {
    load();
    thread_ = std::thread([this] { run(); });
  }

  ~Follower() {
    is_stopping_.store(true);
    {
      const std::lock_guard lock(mutex_);
      if (reader_ != nullptr) reader_->wake();
    }
    thread_.join();
    if (is_dirty_ || current_at_.load() > saved_at_) save();
    for (std::list<Waiting>* each : {&arrived_, &waiting_}) {
      for (Waiting& call : *each) call.done(fail(ErrorKind::Unavailable, "the gateway stops"));
    }
  }

  std::shared_ptr<const View> view() const {
    const std::lock_guard lock(mutex_);
    return view_;
  }
  bool has_configuration() const { return has_configuration_.load(); }
  void count_expiring_key() { probe_.expiring_key_uses.add(); }
  std::uint64_t credentials_version() const { return credentials_version_.load(); }
  std::int64_t age() const {
    if (const std::int64_t at = current_at_.load(); at != kNever)
      return std::max<std::int64_t>(0, clock_.monotonic() - at);
    if (const MicrosUtc as_of = current_as_of_.load(); as_of != 0)
      return std::max<std::int64_t>(0, clock_.now() - as_of);
    return clock_.monotonic() - started_at_;
  }
  const Clock& clock() const { return clock_; }

  void read_to_end(Done done) {
    {
      const std::lock_guard lock(mutex_);
      if (!is_overdue_ && arrived_.size() + waiting_count_ < kWaitingMax) {
        arrived_.push_back(
            {.deadline = clock_.monotonic() + 1'000 * settings_.catch_up_deadline.count(),
             .done = std::move(done)});
        if (reader_ != nullptr) reader_->wake();
        return;
      }
    }
    probe_.waits_failed.add();
    done(fail(ErrorKind::Unavailable, "the end of config cannot be reached at the moment"));
  }

  std::uint64_t add_subscriber(EnvironmentId id, std::function<void()> wake) {
    const std::lock_guard lock(subscribers_mutex_);
    subscribers_.emplace(std::pair(id, ++subscriber_ids_), std::move(wake));
    return subscriber_ids_;
  }
  void remove_subscriber(EnvironmentId id, std::uint64_t subscriber) {
    const std::lock_guard lock(subscribers_mutex_);
    subscribers_.erase({id, subscriber});
  }

  std::optional<std::vector<std::shared_ptr<const FlagChange>>> changes_since(
      EnvironmentId id, SeenRevision seen) const {
    const std::lock_guard lock(mutex_);
    const auto found = rings_.find(id);
    if (found == rings_.end() || seen.generation != view_->generation) return std::nullopt;
    return found->second.since(seen.revision);
  }

 private:
  struct Waiting {
    std::int64_t deadline = 0;
    Done done;
    std::optional<log::Offset> end = {};  // of `config`, looked up after the call
  };

  void load() {
    auto saved = load_state(files_, settings_.state_path);
    if (!saved) {
      if (saved.error().kind != ErrorKind::NotFound)
        telemetry::warn("saved configuration cannot be used", {{"error", saved.error()}});
      return;
    }
    for (const std::string& record : saved->records) {
      const auto folded = fold_.take(record);
      if (folded) continue;
      telemetry::warn("saved configuration cannot be used", {{"error", folded.error()}});
      fold_ = ConfigFold();
      return;
    }
    if (!fold_.has_environment()) return;
    log_id_ = saved->log_id;
    next_ = saved_next_ = saved->next_offset;
    current_as_of_.store(saved->current_as_of);
    publish_all();
  }

  void run() {
    std::string last_failure;
    while (!is_stopping_.load()) {
      const auto followed = follow();
      {
        const std::lock_guard lock(mutex_);
        reader_.reset();
      }
      if (!followed && followed.error().what != last_failure) {
        last_failure = followed.error().what;
        if (followed.error().kind != ErrorKind::NotFound)
          telemetry::warn("config cannot be read", {{"error", followed.error()}});
      }
      take_arrived();
      answer_waiting(false);
      wake_expired();
      if (!is_stopping_.load()) std::this_thread::sleep_for(kTopicRetry);
    }
  }

  // Where to begin in a log of which nothing is known: at the newest complete copy, else at the
  // beginning.
  Result<log::Offset> newest_copy(const log::TopicInfo& info) {
    const log::PartitionRange range = info.partitions.at(0);
    if (range.end == range.begin) return range.begin;
    const log::Start last{.partition = 0, .offset = range.end - 1};
    FS_TRY(const auto reader,
           log_.open_reader(std::string(kConfigTopic), info.log_id, std::span(&last, 1)));
    FS_TRY(const log::Fetched fetched, reader->next(kReadBytes, kReadDeadline));
    if (fetched.status != log::Fetched::Status::Frames) return range.begin;
    const auto record = decode_config_record(fetched.frames.back().records.back());
    if (!record || !record->has_newest_copy() || record->newest_copy() >= range.end)
      return range.begin;
    return std::max(range.begin, record->newest_copy());
  }

  Result<void> begin() {
    FS_TRY(const log::TopicInfo info, log_.info(std::string(kConfigTopic)));
    const log::Offset end = info.partitions.at(0).end;
    if (info.log_id != log_id_ || next_ > end) {
      // Another log, or one that has lost its end: nothing that is known counts there.  What is
      // served goes on until the other log has been read.
      FS_TRY(const log::Offset start, newest_copy(info));
      if (is_dirty_) save();
      fold_ = ConfigFold();
      pending_.clear();
      has_hole_ = false;
      log_id_ = info.log_id;
      next_ = saved_next_ = start;
      catching_up_to_ = end;
    }
    const log::Start start{.partition = 0, .offset = next_};
    FS_TRY(auto opened,
           log_.open_reader(std::string(kConfigTopic), info.log_id, std::span(&start, 1)));
    registration_ = log_.register_reader(std::string(kConfigTopic), kReaderName);
    const std::lock_guard lock(mutex_);
    reader_ = std::move(opened);
    return {};
  }

  void tell_position(bool is_at_end) {
    if (is_at_end) read_until_ = clock_.now();
    const log::ReaderPosition at{
        .partition = 0, .next = next_, .resume = saved_next_, .read_until = read_until_};
    if (registration_ != nullptr) registration_->tell(std::span(&at, 1));
  }

  Result<void> follow() {
    FS_TRY(begin());
    while (!is_stopping_.load()) {
      FS_TRY(const log::Fetched fetched, reader_->next(kReadBytes, kReadDeadline));
      switch (fetched.status) {
        case log::Fetched::Status::Frames: {
          const auto taken = take(fetched.frames);
          publish();
          FS_TRY(taken);
          break;
        }
        case log::Fetched::Status::End:
          publish();
          break;
        case log::Fetched::Status::OutOfRange:
        case log::Fetched::Status::Quarantined:
          telemetry::error("config has a gap; a complete copy will repair what it held",
                           {{"from", next_}, {"to", fetched.next_offset}});
          has_hole_ = true;
          fold_.note_hole();
          next_ = fetched.next_offset;
          reader_->skip_to(0, next_);
          break;
      }
      FS_TRY(look_at_end(fetched.status == log::Fetched::Status::End));
      tell_position(fetched.status == log::Fetched::Status::End);
      wake_expired();
      probe_.age_seconds.set(static_cast<double>(age()) / kMicrosPerSecond);
      if (is_dirty_ && clock_.monotonic() - saved_at_ >= kSaveEvery) save();
    }
    return {};
  }

  Result<void> take(std::span<const log::Frame> frames) {
    for (const log::Frame& frame : frames) {
      for (std::size_t i = 0; i < frame.records.size(); ++i) {
        const log::Offset offset = frame.base_offset + i;
        if (offset < next_) continue;
        FS_TRY(Folded folded, fold_.take(frame.records[i]));
        probe_.records.add();
        next_ = offset + 1;
        if (!fold_.is_inside_copy()) saved_next_ = next_;
        if (folded.has_complete_copy) has_hole_ = false;
        add_pending(pending_, std::move(folded), fold_);
      }
    }
    return {};
  }

  void publish() {
    probe_.skipped.set(static_cast<double>(fold_.skipped()));
    probe_.dropped.set(static_cast<double>(fold_.dropped()));
    probe_.gaps.set(static_cast<double>(fold_.gaps()));
    if (catching_up_to_) {
      // A part of a log is no configuration, and an empty log is no reason to forget one.
      if (next_ < *catching_up_to_ || !fold_.has_environment()) return;
      catching_up_to_.reset();
      save_first();
      publish_all();
      return;
    }
    if (pending_.empty()) return;
    save_first();
    wait_for_memberships();
    const auto before = view();
    show(*before, {}, false);
  }

  void wait_for_memberships() {
    if (!settings_.read_memberships) return;
    std::uint64_t through = 0;
    for (const auto& [id, pending] : pending_) {
      for (const proto::Item& each : pending.changes)
        through = std::max<std::uint64_t>(through, each.memberships());
    }
    if (through != 0) settings_.read_memberships(through);
  }

  // All that is known, as another generation.
  void publish_all() {
    const auto before = view();
    pending_.clear();
    for (const auto& [id, state] : fold_.environments()) {
      pending_[id] = {.is_replaced = true,
                      .complete_from = state.revision,
                      .has_new_environment = true,
                      .changes = {}};
    }
    std::set<EnvironmentId> changed;
    for (const auto& [id, set] : before->flag_sets) changed.insert(id);
    View anew;
    anew.generation = before->generation + 1;
    show(anew, std::move(changed), true);
  }

  // Puts `pending_` on top of `before`.
  void show(const View& before, std::set<EnvironmentId> changed, bool is_anew) {
    auto next = next_view(before, fold_, pending_);
    auto updates = ring_updates(*next, pending_);
    for (const auto& [id, pending] : pending_) changed.insert(EnvironmentId{id});
    pending_.clear();
    probe_.environments.set(static_cast<double>(next->flag_sets.size()));
    const bool has_new_lookups = next->lookups != before.lookups;
    {
      // Together: a reader that has been given a change must never find an older flag set.
      const std::lock_guard lock(mutex_);
      if (is_anew) rings_.clear();
      apply(rings_, std::move(updates));
      view_ = std::move(next);
    }
    if (has_new_lookups) ++credentials_version_;
    if (fold_.has_environment()) has_configuration_.store(true);
    wake(changed);
  }

  // Streams look at their credential when they are woken.  A clock that was put back lets keys
  // expire a second time.
  void wake_expired() {
    const MicrosUtc now = clock_.now();
    const auto expired = expired_between(*view()->lookups, expired_until_, now);
    expired_until_ = now;
    if (!expired.empty()) wake(expired);
  }

  void wake(const std::set<EnvironmentId>& changed) {
    const std::lock_guard lock(subscribers_mutex_);
    for (const EnvironmentId id : changed) {
      for (auto at = subscribers_.lower_bound({id, 0});
           at != subscribers_.end() && at->first.first == id; ++at)
        at->second();
    }
  }

  // Nothing is missing up to next_.
  bool is_whole() const { return !catching_up_to_ && !has_hole_ && fold_.gaps() == 0; }

  Result<void> look_at_end(bool is_at_end) {
    take_arrived();
    if (!is_at_end && waiting_.empty()) return {};
    // After the calls have been taken over: what was appended before a call is before this end.
    FS_TRY(const log::TopicInfo info, log_.info(std::string(kConfigTopic)));
    const log::Offset end = info.partitions.at(0).end;
    if (info.log_id != log_id_ || next_ > end)
      return fail(ErrorKind::Unavailable, "config is another log now");
    for (Waiting& each : waiting_) {
      if (!each.end) each.end = end;
    }
    if (next_ >= end && is_whole()) {
      current_at_.store(clock_.monotonic());
      current_as_of_.store(clock_.now());
      const std::lock_guard lock(mutex_);
      is_overdue_ = false;
    }
    answer_waiting(true);
    return {};
  }

  void take_arrived() {
    const std::lock_guard lock(mutex_);
    waiting_.splice(waiting_.end(), arrived_);
    waiting_count_ = waiting_.size();
  }

  void answer_waiting(bool is_following) {
    const std::int64_t now = clock_.monotonic();
    std::list<Waiting> done;
    for (auto at = waiting_.begin(); at != waiting_.end();) {
      const auto each = at++;
      const bool is_reached = is_following && each->end && next_ >= *each->end;
      if (is_reached || now >= each->deadline) done.splice(done.end(), waiting_, each);
    }
    if (done.empty()) return;
    {
      const std::lock_guard lock(mutex_);
      waiting_count_ = waiting_.size();
      // The ends of calls rise: if one is late, so is what comes after it.
      const Waiting& last = done.back();
      if (!is_following || !last.end || next_ < *last.end) is_overdue_ = true;
    }
    for (Waiting& each : done) {
      if (is_following && each.end && next_ >= *each.end && is_whole()) {
        each.done({});
        continue;
      }
      probe_.waits_failed.add();
      each.done(fail(ErrorKind::Unavailable, "the end of config cannot be reached"));
    }
  }

  void save_first() {
    is_dirty_ = true;
    if (saved_bytes_ <= kSaveFirstBytesMax) save();
  }

  // Only what is whole: a reader of the state goes on behind it, and would never find what is
  // missing.
  void save() {
    if (!is_whole() || !fold_.has_environment()) return;
    saved_at_ = clock_.monotonic();
    auto records = fold_.as_copy();
    saved_bytes_ = 0;
    for (const std::string& each : records ? *records : std::vector<std::string>())
      saved_bytes_ += each.size();
    const auto saved = records ? save_state(files_, settings_.state_path,
                                            {.log_id = log_id_,
                                             .next_offset = saved_next_,
                                             .current_as_of = current_as_of_.load(),
                                             .records = *std::move(records)})
                               : Result<void>(fail(std::move(records).error()));
    if (saved) {
      is_dirty_ = false;
      probe_.saves.add();
    } else {
      probe_.save_failures.add();
      telemetry::warn("configuration cannot be saved", {{"error", saved.error()}});
    }
  }

  const FollowerSettings settings_;
  log::Log& log_;
  io::FileSystem& files_;
  const Clock& clock_;
  Probe probe_;
  const std::int64_t started_at_;
  std::atomic<std::int64_t> current_at_{kNever};  // monotonic
  std::atomic<MicrosUtc> current_as_of_{0};
  std::atomic<bool> has_configuration_{false};
  std::atomic<std::uint64_t> credentials_version_{0};
  std::atomic<bool> is_stopping_{false};

  mutable std::mutex mutex_;  // guards what follows up to the blank line
  std::shared_ptr<const View> view_ = std::make_shared<View>();
  Rings rings_;
  std::list<Waiting> arrived_;
  std::size_t waiting_count_ = 0;
  bool is_overdue_ = false;              // a deadline has passed since the end was last reached
  std::unique_ptr<log::Reader> reader_;  // replaced under it, used by the follower's thread

  std::mutex subscribers_mutex_;
  std::map<std::pair<EnvironmentId, std::uint64_t>, std::function<void()>> subscribers_;
  std::uint64_t subscriber_ids_ = 0;

  // The follower's thread only.
  ConfigFold fold_;
  Pending pending_;  // folded, but not shown yet
  Id128 log_id_;
  log::Offset next_ = 0;
  log::Offset saved_next_ =
      0;  // where to go on from a saved state: at the begin of a copy, if inside
  MicrosUtc read_until_ = 0;  // what was appended to `config` before is read
  std::unique_ptr<log::ReaderRegistration> registration_;  // may be null
  std::optional<log::Offset> catching_up_to_;              // of a log of which nothing is shown yet
  bool has_hole_ = false;  // records could not be read, and no copy came since
  std::list<Waiting> waiting_;
  MicrosUtc expired_until_;  // keys that expired up to then have had their wake-up
  bool is_dirty_ = false;
  std::int64_t saved_at_ = kNever;
  std::size_t saved_bytes_ = 0;
  std::thread thread_;
};

Environments::Environments(std::unique_ptr<Follower> follower) : follower_(std::move(follower)) {}
Environments::~Environments() = default;

Result<std::unique_ptr<Environments>> Environments::start(FollowerSettings settings, log::Log& log,
                                                          io::FileSystem& files, const Clock& clock,
                                                          telemetry::Registry& registry) {
  return std::unique_ptr<Environments>(new Environments(
      std::make_unique<Follower>(std::move(settings), log, files, clock, registry)));
}

bool Environments::has_configuration() const { return follower_->has_configuration(); }
std::int64_t Environments::age() const { return follower_->age(); }
const Clock& Environments::clock() const { return follower_->clock(); }

Credential Credential::of(CredentialKind kind, std::string_view text) {
  return {.kind = kind,
          .name = kind == CredentialKind::ClientSideId ? std::string(text) : sha256(text)};
}

std::optional<EnvironmentId> Environments::find(const Credential& credential) const {
  const auto view = follower_->view();
  if (credential.kind == CredentialKind::ClientSideId) {
    const auto& ids = view->lookups->client_side_ids;
    const auto found = ids.find(credential.name);
    return found == ids.end() ? std::nullopt : std::optional(found->second);
  }
  const KeyOwner* owner = owner_of(*view->lookups, credential);
  if (owner == nullptr || is_over(*owner, follower_->clock().now())) return std::nullopt;
  if (owner->expires != 0) follower_->count_expiring_key();
  return owner->environment;
}

bool Environments::has_expired(const Credential& credential) const {
  const auto view = follower_->view();
  const KeyOwner* owner = owner_of(*view->lookups, credential);
  return owner != nullptr && is_over(*owner, follower_->clock().now());
}

std::uint64_t Environments::credentials_version() const { return follower_->credentials_version(); }

std::vector<std::shared_ptr<const FlagSet>> Environments::flag_sets() const {
  std::vector<std::shared_ptr<const FlagSet>> all;
  for (const auto& [id, set] : follower_->view()->flag_sets) all.push_back(set);
  return all;
}

std::shared_ptr<const FlagSet> Environments::flag_set(EnvironmentId id) const {
  const auto view = follower_->view();
  const auto found = view->flag_sets.find(id);
  return found == view->flag_sets.end() ? nullptr : found->second;
}

void Environments::read_to_end(std::move_only_function<void(Result<void>)> done) {
  follower_->read_to_end(std::move(done));
}

std::unique_ptr<Environments::Subscription> Environments::subscribe(EnvironmentId id,
                                                                    std::function<void()> wake) {
  class Subscribed final : public Subscription {
   public:
    Subscribed(Follower& follower, EnvironmentId environment, std::uint64_t number)
        : follower_(follower), environment_(environment), number_(number) {}
    ~Subscribed() override { follower_.remove_subscriber(environment_, number_); }

   private:
    Follower& follower_;
    EnvironmentId environment_;
    std::uint64_t number_;
  };
  const std::uint64_t number = follower_->add_subscriber(id, std::move(wake));
  return std::make_unique<Subscribed>(*follower_, id, number);
}

std::optional<std::vector<std::shared_ptr<const FlagChange>>> Environments::changes_since(
    EnvironmentId id, SeenRevision seen) const {
  return follower_->changes_since(id, seen);
}

}  // namespace flagstream::environment
