#include "delivery/hub.h"

#include <algorithm>
#include <string_view>

#include <boost/asio/post.hpp>

#include "base/id.h"

namespace flagstream::delivery {
namespace {

using environment::Credential;

// A round that takes longer lets others of the shard have their turn in between.
constexpr std::int64_t kSliceMicros = 2'000;
constexpr int kSliceStreams = 256;
// Ends by age are late by this much, so that rounds for them are few.
constexpr std::int64_t kAgeStep = 100 * kMicrosPerMilli;
// A stream may be silent for this many beats; it is told something in the last but one.
constexpr std::int64_t kBeats = 8;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

const http::SharedChunk& heartbeat() {
  static const auto chunk = std::make_shared<const http::Chunk>(":\n");
  return chunk;
}

}  // namespace

std::int64_t end_of_stream(const Clock& clock, std::chrono::milliseconds max_age) {
  if (max_age.count() <= 0) return kNever;
  constexpr std::int64_t kSteps = 4'096;
  const auto step = static_cast<std::int64_t>(Id128::random().low % (kSteps + 1));
  const std::int64_t age = max_age.count() * kMicrosPerMilli;
  return clock.monotonic() + age / 5 * 4 + age / 5 * 2 * step / kSteps;
}

Hub::Hub(const Streaming& streaming, io::Executor executor, EnvironmentId environment)
    : streaming_(streaming),
      executor_(std::move(executor)),
      environment_(environment),
      beat_(streaming.heartbeat.count() * kMicrosPerMilli / kBeats),
      timer_(executor_) {}

Hub::~Hub() = default;

void Hub::start() {
  subscription_ = streaming_.environments.subscribe(environment_, [this] { wake(); });
  look();
}

io::Task<void> Hub::run(Credential credential, Feed& feed, http::StreamWriter& writer) {
  Place place(*this, std::move(credential), feed, writer);
  writer.notify_closed([&place] {
    place.is_closed = true;
    place.pause.end();
  });
  for (;;) {
    if (place.left > 0 && !co_await write_unsent(place)) co_return;
    if (is_over(place, streaming_.clock.monotonic())) break;
    if (feed.must_prepare()) {
      co_await feed.prepare();
      continue;
    }
    look();
    // In one go: what comes after this finds the stream waiting.
    if (advance(place, streaming_.clock.monotonic())) co_await place.pause.wait();
  }
  if (place.is_closed || place.is_finished || !opens(place.key)) co_return;
  streaming_.aged_out.add();
  const http::SharedChunk goodbye = feed.goodbye();
  // Whether it arrives or not, the stream is over.
  if (goodbye != nullptr) (void)co_await writer.write(goodbye->text());
}

void Hub::join(Place& place, Credential credential) {
  place.key = keys_.try_emplace(std::move(credential)).first;
  ++place.key->second.streams;
  place.ends_at = end_of_stream(streaming_.clock, streaming_.max_age);
  place.turn = wakes_;
  // The last one of the round, and done: it looks by itself.
  place.round = round_;
  places_.insert(cursor_, place);
  soonest_end_ = std::min(soonest_end_, place.ends_at);
  const std::int64_t now = streaming_.clock.monotonic();
  if (places_.size() == 1) next_beat_ = now + beat_;
  if (places_.size() == 1 || std::max(place.ends_at, now + kAgeStep) < armed_for_) arm(now);
}

void Hub::leave(Place& place) {
  const auto at = places_.iterator_to(place);
  if (cursor_ == at) ++cursor_;
  places_.erase(at);
  if (--place.key->second.streams == 0) keys_.erase(place.key);
  if (place.turn != wakes_) change_waiting(-1);
  if (places_.empty()) timer_.cancel();
}

bool Hub::opens(Keys::iterator key) {
  KeyState& state = key->second;
  if (std::exchange(state.looked_at_wake, wakes_) != wakes_)
    state.is_open = streaming_.environments.find(key->first) == environment_;
  return state.is_open;
}

bool Hub::is_over(Place& place, std::int64_t now) {
  return place.is_closed || place.is_finished || now >= place.ends_at || !opens(place.key);
}

bool Hub::advance(Place& place, std::int64_t now) {
  for (;;) {
    auto next = place.feed.next();
    take_turn(place);
    place.is_finished = !next;
    if (!next) return false;
    if (*next == nullptr) return true;
    if (!offer(place, *std::move(next), now)) return false;
  }
}

bool Hub::offer(Place& place, http::SharedChunk chunk, std::int64_t now) {
  place.sent_at = now;
  place.left = place.writer.offer(*chunk);
  if (place.left > 0) place.unsent = std::move(chunk);
  return place.left == 0;
}

io::Task<bool> Hub::write_unsent(Place& place) {
  const http::SharedChunk unsent = std::move(place.unsent);
  const auto written = co_await place.writer.write_rest(*unsent, std::exchange(place.left, 0));
  place.sent_at = streaming_.clock.monotonic();
  co_return written.has_value();
}

void Hub::take_turn(Place& place) {
  if (std::exchange(place.turn, wakes_) != wakes_) change_waiting(-1);
}

void Hub::change_waiting(std::ptrdiff_t more) {
  waiting_ += more;
  count_waiting(more);
}

void Hub::wake() {
  if (is_woken_.exchange(true)) return;
  io::net::post(executor_, [weak = weak_from_this()] {
    const std::shared_ptr<Hub> hub = weak.lock();
    if (hub == nullptr) return;
    hub->is_woken_.store(false);
    ++hub->wakes_;
    hub->look();
    hub->change_waiting(static_cast<std::ptrdiff_t>(hub->places_.size()) - hub->waiting_);
    hub->begin_round();
  });
}

void Hub::begin_round() {
  ++round_;
  soonest_end_ = kNever;
  next_beat_ = streaming_.clock.monotonic() + beat_;
  if (std::exchange(is_walking_, true)) return;  // the walk goes once around from where it is
  walk();
}

void Hub::walk() {
  const std::int64_t began = streaming_.clock.monotonic();
  std::int64_t now = began;
  for (int visited = 0; visited < kSliceStreams && now - began < kSliceMicros; ++visited) {
    if (cursor_ == places_.end()) cursor_ = places_.begin();
    if (places_.empty() || cursor_->round == round_) {
      is_walking_ = false;
      return arm(now);
    }
    Place& place = *cursor_++;
    place.round = round_;
    visit(place, now);
    now = streaming_.clock.monotonic();
  }
  io::net::post(executor_, [weak = weak_from_this()] {
    if (const std::shared_ptr<Hub> hub = weak.lock()) hub->walk();
  });
}

void Hub::visit(Place& place, std::int64_t now) {
  soonest_end_ = std::min(soonest_end_, place.ends_at);
  if (!place.pause.is_waiting()) return;  // its coroutine is at it, and looks again by itself
  if (is_over(place, now) || place.feed.must_prepare() || !advance(place, now))
    return place.pause.end();
  if (now - place.sent_at < beat_ * (kBeats - 2)) return;
  if (!offer(place, heartbeat(), now)) place.pause.end();
}

void Hub::arm(std::int64_t now) {
  if (places_.empty()) return;
  armed_for_ = std::min(next_beat_, std::max(soonest_end_, now + kAgeStep));
  timer_.expires_after(std::chrono::microseconds(std::max<std::int64_t>(armed_for_ - now, 0)));
  timer_.async_wait([weak = weak_from_this()](boost::system::error_code stopped) {
    if (stopped) return;
    if (const std::shared_ptr<Hub> hub = weak.lock()) hub->begin_round();
  });
}

}  // namespace flagstream::delivery
