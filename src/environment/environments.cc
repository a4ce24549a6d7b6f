#include "environment/environments.h"

#include <atomic>
#include <deque>
#include <list>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "base/hash.h"
#include "environment/config_record.h"
#include "environment/fold.h"
#include "environment/saved_state.h"
#include "telemetry/tell.h"

namespace flagstream::environment {
namespace {

constexpr std::size_t kReadBytes = 4u << 20;
constexpr auto kReadDeadline = std::chrono::milliseconds(200);
constexpr auto kTopicRetry = std::chrono::milliseconds(50);
constexpr std::int64_t kSaveEvery = kMicrosPerSecond;
constexpr std::size_t kChangesKept = 1'024;

struct Probe {
  explicit Probe(telemetry::Registry& registry)
      : records(registry,
                {"flagstream_environment_records_total", "Records of config that were read.", ""}),
        skipped(registry, {"flagstream_environment_skipped_records",
                           "Records of config that could not be used.", ""}),
        gaps(registry,
             {"flagstream_environment_gaps", "Environments that wait for a missing revision.", ""}),
        environments(registry, {"flagstream_environment_environments", "Environments known.", ""}),
        saves(registry, {"flagstream_environment_saves_total", "Times the state was saved.", ""}),
        save_failures(registry, {"flagstream_environment_save_failures_total",
                                 "Times it could not be saved.", ""}),
        age_seconds(registry, {"flagstream_environment_age_seconds",
                               "Since the end of config was last reached.", ""}) {}

  telemetry::Counter records;
  telemetry::Gauge skipped;
  telemetry::Gauge gaps;
  telemetry::Gauge environments;
  telemetry::Counter saves;
  telemetry::Counter save_failures;
  telemetry::Gauge age_seconds;
};

struct KeyOwner {
  EnvironmentId environment{};
  CredentialKind kind = CredentialKind::SdkKey;
  MicrosUtc expires = 0;  // 0: never
};

// What lookups see: immutable, replaced as a whole.
struct View {
  std::unordered_map<std::string, KeyOwner> keys;  // by SHA-256
  std::unordered_map<std::string, EnvironmentId> client_ids;
  std::map<EnvironmentId, std::shared_ptr<const FlagSet>> flag_sets;
};

void append_items(std::string& out, std::string_view name,
                  const std::map<std::string, FlagSetItem, std::less<>>& items) {
  out += '"';
  out += name;
  out += "\":{";
  bool is_first = true;
  for (const auto& [key, item] : items) {
    if (item.json == nullptr) continue;
    if (!std::exchange(is_first, false)) out += ',';
    // Keys are letters, digits, '.', '_' and '-': nothing to escape.
    out += '"';
    out += key;
    out += "\":";
    out += *item.json;
  }
  out += '}';
}

std::shared_ptr<const FlagSet> flag_set_of(EnvironmentId id, const EnvironmentState& state,
                                           std::string client_side_id) {
  auto set = std::make_shared<FlagSet>();
  set->environment = id;
  set->revision = state.revision;
  set->client_side_id = std::move(client_side_id);
  for (const auto& [name, item] : state.items) {
    if (name.first != proto::Item::FLAG && name.first != proto::Item::SEGMENT) continue;
    auto& items = name.first == proto::Item::FLAG ? set->flags : set->segments;
    items[name.second] = {
        .version = item.version(),
        .json = item.deleted() ? nullptr : std::make_shared<const std::string>(item.document())};
  }
  std::string all = "{";
  append_items(all, "flags", set->flags);
  all += ',';
  append_items(all, "segments", set->segments);
  all += '}';
  set->all_json = std::make_shared<const std::string>(std::move(all));
  return set;
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
        current_at_(clock.monotonic()) {
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
    if (is_dirty_) save();
    for (Waiting& each : waiting_) each.done(fail(ErrorKind::Unavailable, "the gateway stops"));
  }

  std::shared_ptr<const View> view() const {
    const std::lock_guard lock(mutex_);
    return view_;
  }
  bool has_configuration() const { return has_configuration_.load(); }
  std::int64_t age() const {
    return std::max<std::int64_t>(0, clock_.monotonic() - current_at_.load());
  }
  MicrosUtc now() const { return clock_.now(); }

  void read_to_end(std::move_only_function<void(Result<void>)> done) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(
        {.deadline = clock_.monotonic() + 1'000 * settings_.catch_up_deadline.count(),
         .done = std::move(done)});
    if (reader_ != nullptr) reader_->wake();
  }

  std::uint64_t add_subscriber(EnvironmentId id, std::function<void()> wake) {
    const std::lock_guard lock(subscribers_mutex_);
    subscribers_.emplace(id, Subscriber{++subscriber_ids_, std::move(wake)});
    return subscriber_ids_;
  }
  void remove_subscriber(EnvironmentId id, std::uint64_t subscriber) {
    const std::lock_guard lock(subscribers_mutex_);
    const auto [begin, end] = subscribers_.equal_range(id);
    for (auto at = begin; at != end; ++at) {
      if (at->second.id != subscriber) continue;
      subscribers_.erase(at);
      return;
    }
  }

  std::optional<std::vector<std::shared_ptr<const FlagChange>>> changes_since(
      EnvironmentId id, std::uint64_t revision) const {
    const std::lock_guard lock(mutex_);
    const auto found = rings_.find(id);
    if (found == rings_.end() || revision < found->second.complete_from) return std::nullopt;
    std::vector<std::shared_ptr<const FlagChange>> out;
    for (const auto& each : found->second.changes) {
      if (each->revision > revision) out.push_back(each);
    }
    return out;
  }

 private:
  struct Waiting {
    std::int64_t deadline = 0;
    std::move_only_function<void(Result<void>)> done;
    std::optional<log::Offset> end = {};  // of `config`, once it has been looked up
  };
  struct Subscriber {
    std::uint64_t id = 0;
    std::function<void()> wake;
  };
  struct Ring {
    std::uint64_t complete_from = 0;  // every change above this revision is in it
    std::deque<std::shared_ptr<const FlagChange>> changes;
  };

  void load() {
    auto saved = load_state(files_, settings_.state_path);
    if (!saved) {
      if (saved.error().kind != ErrorKind::NotFound)
        telemetry::warn("saved configuration cannot be used", {{"error", saved.error()}});
      return;
    }
    std::set<std::uint64_t> changed;
    for (const std::string& record : saved->records) {
      const auto folded = fold_.take(record);
      if (folded) changed.insert(folded->replaced.begin(), folded->replaced.end());
    }
    log_id_ = saved->log_id;
    next_ = saved->next_offset;
    for (const std::uint64_t id : changed)
      rings_[EnvironmentId{id}].complete_from = fold_.environments().at(id).revision;
    publish(changed);
    has_configuration_.store(true);
  }

  void run() {
    while (!is_stopping_.load()) {
      if (const auto followed = follow(); !followed) {
        if (followed.error().kind != ErrorKind::NotFound)
          telemetry::warn("config cannot be read", {{"error", followed.error()}});
      }
      {
        const std::lock_guard lock(mutex_);
        reader_.reset();
      }
      serve_waiting(false);
      if (!is_stopping_.load()) std::this_thread::sleep_for(kTopicRetry);
    }
  }

  // Where to begin: after what is known of this log, else at the newest complete copy, else at the
  // beginning.
  Result<log::Offset> begin_of(const log::TopicInfo& info) {
    const log::PartitionRange range = info.partitions.at(0);
    if (info.log_id == log_id_ && next_ >= range.begin && next_ <= range.end) return next_;
    if (range.end == range.begin) return range.begin;
    const log::Start last{.partition = 0, .offset = range.end - 1};
    FS_TRY(const auto reader,
           log_.open_reader(std::string(kConfigTopic), info.log_id, std::span(&last, 1)));
    FS_TRY(const log::Fetched fetched, reader->next(kReadBytes, kReadDeadline));
    if (fetched.status != log::Fetched::Status::Frames) return range.begin;
    const auto record = decode_config_record(fetched.frames.front().records.front());
    if (!record || !record->has_newest_copy()) return range.begin;
    return std::max(range.begin, record->newest_copy());
  }

  Result<void> follow() {
    FS_TRY(const log::TopicInfo info, log_.info(std::string(kConfigTopic)));
    FS_TRY(next_, begin_of(info));
    log_id_ = info.log_id;
    const log::Start start{.partition = 0, .offset = next_};
    FS_TRY(auto opened,
           log_.open_reader(std::string(kConfigTopic), info.log_id, std::span(&start, 1)));
    {
      const std::lock_guard lock(mutex_);
      reader_ = std::move(opened);
    }
    while (!is_stopping_.load()) {
      FS_TRY(const log::Fetched fetched, reader_->next(kReadBytes, kReadDeadline));
      switch (fetched.status) {
        case log::Fetched::Status::Frames:
          for (const log::Frame& frame : fetched.frames) FS_TRY(take(frame));
          break;
        case log::Fetched::Status::End:
          current_at_.store(clock_.monotonic());
          if (next_ > 0) has_configuration_.store(true);
          break;
        case log::Fetched::Status::OutOfRange:
        case log::Fetched::Status::Quarantined:
          telemetry::error("config has a gap; a complete copy will repair what it held",
                           {{"from", next_}, {"to", fetched.next_offset}});
          next_ = fetched.next_offset;
          reader_->skip_to(0, next_);
          break;
      }
      serve_waiting(true);
      probe_.age_seconds.set(static_cast<double>(age()) / kMicrosPerSecond);
      if (is_dirty_ && clock_.monotonic() - saved_at_ >= kSaveEvery) save();
    }
    return {};
  }

  Result<void> take(const log::Frame& frame) {
    std::set<std::uint64_t> changed;
    for (const std::string_view record : frame.records) {
      FS_TRY(Folded folded, fold_.take(record));
      probe_.records.add();
      const std::lock_guard lock(mutex_);
      for (const std::uint64_t id : folded.replaced) {
        Ring& ring = rings_[EnvironmentId{id}];
        ring.changes.clear();
        ring.complete_from = fold_.environments().at(id).revision;
        changed.insert(id);
      }
      for (const proto::Item& item : folded.changes) {
        note_change(item);
        changed.insert(item.environment_id());
      }
    }
    next_ = frame.end_offset();
    probe_.skipped.set(static_cast<double>(fold_.skipped()));
    probe_.gaps.set(static_cast<double>(fold_.gaps()));
    if (changed.empty()) return {};
    publish(changed);
    is_dirty_ = true;
    wake(changed);
    return {};
  }

  // Under mutex_.
  void note_change(const proto::Item& item) {
    Ring& ring = rings_[EnvironmentId{item.environment_id()}];
    if (item.kind() != proto::Item::FLAG && item.kind() != proto::Item::SEGMENT) return;
    auto change = std::make_shared<FlagChange>();
    change->revision = item.revision();
    change->kind =
        item.kind() == proto::Item::FLAG ? FlagChange::Kind::Flag : FlagChange::Kind::Segment;
    change->key = item.key();
    change->item = {
        .version = item.version(),
        .json = item.deleted() ? nullptr : std::make_shared<const std::string>(item.document())};
    ring.changes.push_back(std::move(change));
    if (ring.changes.size() <= kChangesKept) return;
    ring.complete_from = ring.changes.front()->revision;
    ring.changes.pop_front();
  }

  void publish(const std::set<std::uint64_t>& changed) {
    auto next = std::make_shared<View>();
    std::map<EnvironmentId, std::shared_ptr<const FlagSet>> before = view()->flag_sets;
    for (const auto& [number, state] : fold_.environments()) {
      const EnvironmentId id{number};
      if (state.is_deleted) continue;
      std::string client_side_id;
      for (const auto& [name, item] : state.items) {
        if (name.first != proto::Item::ENVIRONMENT || item.deleted()) continue;
        const auto environment = decode_environment(item.document());
        if (!environment) continue;
        client_side_id = environment->client_side_id();
        if (!client_side_id.empty()) next->client_ids[client_side_id] = id;
        for (const proto::Credential& each : environment->credentials()) {
          if (each.kind() != proto::Credential::SDK_KEY &&
              each.kind() != proto::Credential::MOBILE_KEY)
            continue;
          next->keys[each.sha256()] = {.environment = id,
                                       .kind = each.kind() == proto::Credential::SDK_KEY
                                                   ? CredentialKind::SdkKey
                                                   : CredentialKind::MobileKey,
                                       .expires = each.expires_us()};
        }
      }
      const auto same = before.find(id);
      const bool is_same = same != before.end() && !changed.contains(number);
      next->flag_sets[id] =
          is_same ? same->second : flag_set_of(id, state, std::move(client_side_id));
    }
    probe_.environments.set(static_cast<double>(next->flag_sets.size()));
    const std::lock_guard lock(mutex_);
    view_ = std::move(next);
  }

  void wake(const std::set<std::uint64_t>& changed) {
    const std::lock_guard lock(subscribers_mutex_);
    for (const std::uint64_t id : changed) {
      const auto [begin, end] = subscribers_.equal_range(EnvironmentId{id});
      for (auto at = begin; at != end; ++at) at->second.wake();
    }
  }

  void serve_waiting(bool is_following) {
    std::list<Waiting> ready;
    Result<log::Offset> end = fail(ErrorKind::Unavailable, "config cannot be read");
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.empty()) return;
    }
    if (is_following) {
      const auto info = log_.info(std::string(kConfigTopic));
      if (info) end = info->partitions.at(0).end;
    }
    const std::int64_t now = clock_.monotonic();
    std::vector<Result<void>> answers;
    {
      const std::lock_guard lock(mutex_);
      for (auto at = waiting_.begin(); at != waiting_.end();) {
        if (!at->end && end) at->end = *end;
        const bool is_reached = at->end && next_ >= *at->end;
        if (!is_reached && now < at->deadline) {
          ++at;
          continue;
        }
        answers.push_back(is_reached
                              ? Result<void>()
                              : Result<void>(fail(ErrorKind::Unavailable,
                                                  "the end of config was not reached in time")));
        ready.splice(ready.end(), waiting_, at++);
      }
    }
    std::size_t i = 0;
    for (Waiting& each : ready) each.done(std::move(answers[i++]));
  }

  void save() {
    saved_at_ = clock_.monotonic();
    auto records = fold_.as_copy();
    const auto saved =
        records
            ? save_state(files_, settings_.state_path,
                         {.log_id = log_id_, .next_offset = next_, .records = *std::move(records)})
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
  std::atomic<std::int64_t> current_at_;
  std::atomic<bool> has_configuration_{false};
  std::atomic<bool> is_stopping_{false};

  mutable std::mutex mutex_;  // guards what follows up to the blank line
  std::shared_ptr<const View> view_ = std::make_shared<View>();
  std::map<EnvironmentId, Ring> rings_;
  std::list<Waiting> waiting_;
  std::unique_ptr<log::Reader> reader_;  // replaced under it, used by the follower's thread

  std::mutex subscribers_mutex_;
  std::multimap<EnvironmentId, Subscriber> subscribers_;
  std::uint64_t subscriber_ids_ = 0;

  // The follower's thread only.
  ConfigFold fold_;
  Id128 log_id_;
  log::Offset next_ = 0;
  bool is_dirty_ = false;
  std::int64_t saved_at_ = 0;
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

std::optional<EnvironmentId> Environments::find(CredentialKind kind,
                                                std::string_view credential) const {
  const auto view = follower_->view();
  if (kind == CredentialKind::ClientSideId) {
    const auto found = view->client_ids.find(std::string(credential));
    return found == view->client_ids.end() ? std::nullopt : std::optional(found->second);
  }
  const auto found = view->keys.find(sha256(credential));
  if (found == view->keys.end() || found->second.kind != kind) return std::nullopt;
  if (found->second.expires != 0 && follower_->now() >= found->second.expires) return std::nullopt;
  return found->second.environment;
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
    EnvironmentId id, std::uint64_t revision) const {
  return follower_->changes_since(id, revision);
}

}  // namespace flagstream::environment
