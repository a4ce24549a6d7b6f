#include "control/live.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "io/timer.h"
#include "telemetry/tell.h"

namespace flagstream::control {
namespace {

constexpr std::int64_t kLookMicros = kMicrosPerSecond / 2;
constexpr std::int64_t kHealthMicros = kMicrosPerSecond;
constexpr std::int64_t kStreamMicros = kMicrosPerHour;
constexpr std::chrono::milliseconds kStep{250};
constexpr std::array<std::string_view, 4> kNames = {"health", "evaluations", "flags", "sdk"};

std::string event_of(std::string_view name, std::string_view data) {
  std::string out = "event: ";
  out += name;
  out += "\ndata: ";
  out += data;  // one line: JSON of ours
  out += "\n\n";
  return out;
}

}  // namespace

// What a look asks for, and what it found.
struct Live::Look {
  bool with_health = false;
  bool is_first = false;
  std::uint64_t change_counter = 0;
  std::array<std::optional<std::string>, kKinds> data;  // nullopt: not asked for
};

// One stream, as long as it lasts.
class Live::Counted {
 public:
  explicit Counted(Live& live) : live_(live) {
    live_.streams_.set(static_cast<double>(++live_.count_));
  }
  ~Counted() { live_.streams_.set(static_cast<double>(--live_.count_)); }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  Live& live_;
};

Live::Live(Insight& insight, Worker& worker, const Clock& clock, telemetry::Registry& registry)
    : insight_(insight),
      worker_(worker),
      clock_(clock),
      streams_(registry, {"flagstream_control_live_streams", "Pages that follow live data.", ""}),
      failures_(registry,
                {"flagstream_control_live_failures_total", "Looks at live data that failed.", ""}) {
}

Live::~Live() = default;

std::shared_ptr<Live::Feed> Live::feed_of(EnvironmentId id) {
  std::erase_if(feeds_, [](const auto& each) { return each.second.expired(); });
  auto& kept = feeds_[id];
  std::shared_ptr<Feed> feed = kept.lock();
  if (feed == nullptr) kept = feed = std::make_shared<Feed>();
  return feed;
}

io::Task<void> Live::serve(http::StreamWriter& writer, catalog::Environment environment,
                           std::string project) {
  const Counted counted(*this);
  const std::shared_ptr<Feed> feed = feed_of(environment.id);
  std::array<std::uint64_t, kKinds> sent{};
  const std::int64_t end = clock_.monotonic() + kStreamMicros;
  // Answers at once, so that the page knows that it is connected.
  if (!co_await writer.write(": live\n\n")) co_return;
  while (clock_.monotonic() < end) {
    co_await refresh(*feed, environment, project);
    std::string out;
    for (std::size_t kind = 0; kind < kKinds; ++kind) {
      if (feed->newest[kind].sequence == sent[kind]) continue;
      sent[kind] = feed->newest[kind].sequence;
      out += feed->newest[kind].text;
    }
    if (!out.empty() && !co_await writer.write(out)) co_return;
    co_await io::sleep_for(kStep);
  }
}

io::Task<void> Live::refresh(Feed& feed, const catalog::Environment& environment,
                             const std::string& project) {
  const std::int64_t now = clock_.monotonic();
  if (feed.is_looking || now < feed.next_look) co_return;
  Look wanted;
  wanted.with_health = now >= feed.next_health;
  wanted.is_first = !feed.has_looked;
  wanted.change_counter = feed.change_counter;
  feed.is_looking = true;
  feed.next_look = now + kLookMicros;
  if (wanted.with_health) feed.next_health = now + kHealthMicros;
  auto looked = co_await worker_.run([&] { return look(insight_, wanted, environment, project); });
  feed.is_looking = false;
  if (looked) {
    take(feed, *std::move(looked));
    co_return;
  }
  failures_.add();
  telemetry::warn("live data cannot be read", {{"error", looked.error()}});
  feed.next_look = now + kHealthMicros;
}

Result<Live::Look> Live::look(Insight& insight, const Look& wanted,
                              const catalog::Environment& environment, const std::string& project) {
  Look found = wanted;
  FS_TRY(const catalog::Environment now, insight.environment(project, environment.key));
  found.data[Flags] = "{\"revision\":" + std::to_string(now.revision) + "}";
  if (wanted.with_health) {
    FS_TRY(std::string health, insight.health(environment.id));
    found.data[Health] = std::move(health);
  }
  FS_TRY(found.change_counter, insight.change_counter());
  if (!wanted.is_first && found.change_counter == wanted.change_counter) return found;
  FS_TRY(std::string evaluations, insight.evaluations(environment.id));
  FS_TRY(std::string sdks, insight.sdks(environment.id));
  found.data[Evaluations] = std::move(evaluations);
  found.data[Sdk] = std::move(sdks);
  return found;
}

void Live::take(Feed& feed, Look looked) {
  feed.has_looked = true;
  feed.change_counter = looked.change_counter;
  for (std::size_t kind = 0; kind < kKinds; ++kind) {
    if (!looked.data[kind]) continue;
    std::string text = event_of(kNames[kind], *looked.data[kind]);
    Message& newest = feed.newest[kind];
    // Health is sent every second all the same: it is how a page knows that the connection lives.
    if (kind != Health && text == newest.text) continue;
    newest.text = std::move(text);
    newest.sequence += 1;
  }
}

}  // namespace flagstream::control
