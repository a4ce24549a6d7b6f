#include "delivery/server_side.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/hash.h"
#include "delivery/hub.h"
#include "delivery/messages.h"
#include "delivery/server_side_fdv2.h"
#include "delivery/stream.h"
#include "http/conditional.h"
#include "http/cross_origin.h"

namespace flagstream::delivery {
namespace {

using environment::Credential;
using environment::CredentialKind;
using environment::Environments;
using environment::FlagChange;
using environment::FlagSet;
using environment::SeenRevision;

constexpr std::size_t kFallBackBodyBytesMax = 1u << 20;  // a context
// Changes that come together go out together; a slow client keeps no more than about this.
constexpr std::size_t kStepBytesMax = 16u << 10;

struct Probe {
  explicit Probe(telemetry::Registry& registry)
      : streams(registry, {"flagstream_delivery_streams", "Open streams of server-side SDKs.", ""}),
        put_messages(registry,
                     {"flagstream_delivery_puts_total", "Whole flag sets sent to streams.", ""}),
        changes(registry,
                {"flagstream_delivery_changes_total", "Patches and deletes sent to streams.", ""}),
        aged_out(registry, {"flagstream_delivery_streams_aged_total",
                            "Streams that were ended because they had reached their greatest age.",
                            "side=\"server\""}),
        polls(registry, {"flagstream_delivery_polls_total", "Polls answered with data.", ""}),
        not_modified(registry,
                     {"flagstream_delivery_polls_not_modified_total", "Polls answered 304.", ""}),
        sent_to_older(registry,
                      {"flagstream_delivery_fdv2_fallbacks_total",
                       "Requests of the newer protocol that were sent to the older one.", ""}) {}

  telemetry::Gauge streams;
  telemetry::Counter put_messages;
  telemetry::Counter changes;
  telemetry::Counter aged_out;
  telemetry::Counter polls;
  telemetry::Counter not_modified;
  telemetry::Counter sent_to_older;
};

// What a stream of the older protocol carries.
enum class Carries { Everything, FlagsOnly };

// SDKs that ask for the newer protocol are told to use the older one.  Browsers ask, too.
io::Task<http::Response> fall_back(telemetry::Counter& count, http::Request& request) {
  if (request.method == "OPTIONS") co_return http::preflight_response(request);
  count.add();
  http::Response response =
      http::error_response(Error(ErrorKind::NotFound, "the newer protocol is not spoken here"));
  response.headers.add("X-LD-FD-Fallback", "true");
  http::allow_cross_origin(request, response);
  co_return response;
}

}  // namespace

struct ServerSide::State {
  State(Settings s, Access& a, Environments& e, const Clock& c, telemetry::Registry& registry)
      : settings(s),
        access(a),
        environments(e),
        clock(c),
        probe(registry),
        fdv2(streaming(), access, settings.sdks, registry) {}

  using Items = decltype(FlagSet::flags);

  Streaming streaming() {
    return {settings.heartbeat, settings.max_stream_age, environments, clock, probe.aged_out};
  }

  io::Task<Result<Flags>> flags_for(const http::Request& request) {
    return access.flags_for(CredentialKind::SdkKey, http::authorization_key(request.headers),
                            request.client_address);
  }

  io::Task<http::Response> poll(http::Request& request) {
    const auto flags = co_await flags_for(request);
    if (!flags) co_return http::error_response(flags.error());
    count_poll(settings.sdks, (*flags)->environment, CredentialKind::SdkKey, request);
    const bool is_gzip = http::accepts_gzip(request.headers);
    // A strong tag names the very bytes, so each coding has its own.
    http::Response response =
        answer_poll(request, **flags, (*flags)->fingerprint + (is_gzip ? "-gzip" : ""));
    response.headers.add("Vary", "Authorization, Accept-Encoding");
    if (response.status == 304) co_return response;
    if (is_gzip) response.headers.add("Content-Encoding", "gzip");
    response.shared_body = is_gzip ? messages.gzip(*flags) : (*flags)->all_json;
    co_return response;
  }

  // 304, or 200 to which the body is still to be added.
  http::Response answer_poll(const http::Request& request, const FlagSet& flags,
                             const std::string& tag) {
    const std::string etag = "\"" + tag + "\"";
    http::Response response;
    response.headers.add("ETag", etag);
    name_environment(flags, response);
    if (http::matches_if_none_match(request.headers, etag)) {
      probe.not_modified.add();
      response.status = 304;
      return response;
    }
    probe.polls.add();
    response.headers.add("Content-Type", "application/json");
    return response;
  }

  // The three polls of the PHP SDK, which keeps nothing between two requests.
  io::Task<http::Response> poll_flags(http::Request& request) {
    const auto flags = co_await flags_for(request);
    if (!flags) co_return http::error_response(flags.error());
    const Bytes document = messages.flags_only(*flags);
    co_return answer_document(request, **flags, document);
  }
  io::Task<http::Response> poll_item(http::Request& request, Items FlagSet::* items) {
    const auto flags = co_await flags_for(request);
    if (!flags) co_return http::error_response(flags.error());
    const Items& all = (**flags).*items;
    const auto found = all.find(request.captures.at(0));
    // To this SDK a 404 is an answer like another.
    if (found == all.end() || found->second.json == nullptr) {
      http::Response response =
          http::error_response(Error(ErrorKind::NotFound, "there is no such item"));
      name_environment(**flags, response);
      co_return response;
    }
    co_return answer_document(request, **flags, found->second.json);
  }
  http::Response answer_document(const http::Request& request, const FlagSet& flags,
                                 const Bytes& document) {
    count_poll(settings.sdks, flags.environment, CredentialKind::SdkKey, request);
    http::Response response = answer_poll(request, flags, xxh3_128(*document).to_hex());
    response.headers.add("Vary", "Authorization");
    const std::chrono::seconds ttl =
        flags.cache_time.count() > 0 ? flags.cache_time : settings.php_cache_ttl;
    if (ttl.count() > 0) {
      const MicrosUtc end = clock.now() + ttl.count() * kMicrosPerSecond;
      response.headers.add("Expires", http::date_text(end));
    }
    if (response.status != 304) response.shared_body = document;
    return response;
  }

  io::Task<http::Response> stream(http::Request& request, Carries carries) {
    const auto flags = co_await flags_for(request);
    if (!flags) co_return http::error_response(flags.error());
    http::Response response = stream_response(**flags);
    response.stream =
        [this, id = (*flags)->environment,
         credential =
             Credential::of(CredentialKind::SdkKey, *http::authorization_key(request.headers)),
         carries,
         connected = count_stream(settings.sdks, (*flags)->environment, CredentialKind::SdkKey,
                                  request)](http::StreamWriter& writer) mutable {
          return follow(id, std::move(credential), carries, writer);
        };
    co_return response;
  }

  io::Task<void> follow(EnvironmentId id, Credential credential, Carries carries,
                        http::StreamWriter& writer);

  class UpdateHub;
  class UpdateFeed;

  Settings settings;
  Access& access;
  Environments& environments;
  const Clock& clock;
  Probe probe;
  Messages messages;
  Hubs<UpdateHub> update_hubs;
  Hubs<UpdateHub> flags_hubs;
  ServerSideFdv2 fdv2;
};

// Streams that are told changes.  Most of them have the same and lack the same.
class ServerSide::State::UpdateHub final : public Hub {
 public:
  UpdateHub(State& all, const io::Executor& executor, EnvironmentId id, Carries carries)
      : Hub(all.streaming(), executor, id), all_(all), carries_(carries) {}

  // What takes a client from one revision to another.
  struct Step {
    SeenRevision from;
    std::uint64_t to = 0;
    http::SharedChunk message;  // null: nothing that it may see
    std::size_t changes = 0;
  };
  // Towards what there is now; null: it cannot be told in changes.
  const Step* step_from(SeenRevision from) {
    const bool is_known =
        step_ && step_->from.generation == from.generation && step_->from.revision == from.revision;
    if (is_known) return &*step_;
    const auto changes = streaming().environments.changes_since(environment(), from);
    if (!changes) return nullptr;
    step_ = step_of(from, *changes);
    return &*step_;
  }

  // Null: the environment has gone.
  http::SharedChunk put() {
    look();
    if (flags() == nullptr) return nullptr;
    all_.probe.put_messages.add();
    return carries_ == Carries::FlagsOnly ? all_.messages.flags_put(flags())
                                          : all_.messages.put(flags());
  }

  void count_changes(std::size_t changes) { all_.probe.changes.add(changes); }

 private:
  Step step_of(SeenRevision from, std::span<const std::shared_ptr<const FlagChange>> changes) {
    Step step{.from = from, .to = from.revision, .message = nullptr};
    std::string text;
    for (const auto& change : changes) {
      if (text.size() >= kStepBytesMax) break;
      step.to = change->revision;
      if (carries_ == Carries::FlagsOnly && change->kind != FlagChange::Kind::Flag) continue;
      text +=
          carries_ == Carries::FlagsOnly ? flags_change_message(*change) : change_message(*change);
      ++step.changes;
    }
    // There are revisions that change nothing here.
    if (changes.empty()) step.to = std::max(step.to, flags()->revision);
    if (!text.empty()) step.message = std::make_shared<const http::Chunk>(text);
    return step;
  }

  State& all_;
  const Carries carries_;
  std::optional<Step> step_;  // the last one
};

// What one client has: a put, then every change in order.
class ServerSide::State::UpdateFeed final : public Feed {
 public:
  explicit UpdateFeed(UpdateHub& hub) : hub_(hub) {}

  std::optional<http::SharedChunk> next() override {
    for (;;) {
      if (!has_) return put();
      const Flags& flags = hub_.flags();
      if (flags == nullptr) return std::nullopt;
      if (flags->generation == has_->generation && flags->revision <= has_->revision)
        return http::SharedChunk();
      const UpdateHub::Step* step = hub_.step_from(*has_);
      if (step == nullptr) return put();
      has_->revision = step->to;
      if (step->message == nullptr) continue;
      hub_.count_changes(step->changes);
      return step->message;
    }
  }

 private:
  std::optional<http::SharedChunk> put() {
    http::SharedChunk message = hub_.put();
    if (message == nullptr) return std::nullopt;
    has_ = {.generation = hub_.flags()->generation, .revision = hub_.flags()->revision};
    return message;
  }

  UpdateHub& hub_;
  std::optional<SeenRevision> has_;
};

io::Task<void> ServerSide::State::follow(EnvironmentId id, Credential credential, Carries carries,
                                         http::StreamWriter& writer) {
  const OpenStream open(probe.streams);
  auto& all = carries == Carries::Everything ? update_hubs : flags_hubs;
  const auto hub =
      all.get(co_await io::net::this_coro::executor, id,
              [&](const io::Executor& executor, EnvironmentId environment) {
                return std::make_shared<UpdateHub>(*this, executor, environment, carries);
              });
  UpdateFeed feed(*hub);
  co_await hub->run(std::move(credential), feed, writer);
}

ServerSide::ServerSide(Settings settings, Access& access, Environments& environments,
                       const Clock& clock, telemetry::Registry& registry)
    : state_(std::make_unique<State>(settings, access, environments, clock, registry)) {}
ServerSide::~ServerSide() = default;

std::vector<http::Route> ServerSide::routes() {
  State* state = state_.get();
  std::vector<http::Route> all;
  const auto get = [&all](std::string pattern, http::Handler handler) {
    all.push_back({.method = "GET",
                   .pattern = std::move(pattern),
                   .body_bytes_max = 0,
                   .handler = std::move(handler)});
  };
  const auto send_to_older = [&](std::string pattern) {
    all.push_back({.method = "*",
                   .pattern = std::move(pattern),
                   .body_bytes_max = kFallBackBodyBytesMax,
                   .handler =
                       [state](http::Request& request) {
                         return fall_back(state->probe.sent_to_older, request);
                       },
                   .complete_error = http::allow_cross_origin});
  };
  get("/all", [state](auto& request) { return state->stream(request, Carries::Everything); });
  get("/flags", [state](auto& request) { return state->stream(request, Carries::FlagsOnly); });
  get("/sdk/latest-all", [state](auto& request) { return state->poll(request); });
  get("/sdk/flags", [state](auto& request) { return state->poll_flags(request); });
  get("/sdk/flags/{key}",
      [state](auto& request) { return state->poll_item(request, &FlagSet::flags); });
  get("/sdk/segments/{key}",
      [state](auto& request) { return state->poll_item(request, &FlagSet::segments); });
  if (state->settings.has_fdv2) {
    get("/sdk/poll", [state](auto& request) { return state->fdv2.poll(request); });
    get("/sdk/stream", [state](auto& request) { return state->fdv2.stream(request); });
  } else {
    send_to_older("/sdk/poll");
    send_to_older("/sdk/stream");
  }
  // Browsers and mobile SDKs: theirs is not spoken here.
  send_to_older("/sdk/poll/eval/*");
  send_to_older("/sdk/stream/eval/*");
  return all;
}

}  // namespace flagstream::delivery
