#include "delivery/server_side.h"

#include <utility>

#include "base/hash.h"
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
    response.stream = [this,
                       what = Followed{(*flags)->environment,
                                       Credential::of(CredentialKind::SdkKey,
                                                      *http::authorization_key(request.headers))},
                       carries,
                       connected = count_stream(settings.sdks, (*flags)->environment,
                                                CredentialKind::SdkKey, request)](
                          http::StreamWriter& writer) { return follow(what, carries, writer); };
    co_return response;
  }

  io::Task<void> follow(const Followed& what, Carries carries, http::StreamWriter& writer) {
    const OpenStream open(probe.streams);
    Feed feed(*this, what.environment, carries);
    co_await feed_stream(streaming(), what, feed, writer);
  }

  // What one client has: a put, then every change in order.
  class Feed : public StreamFeed {
   public:
    Feed(State& all, EnvironmentId id, Carries carries) : all_(all), id_(id), carries_(carries) {}

    io::Task<bool> catch_up(http::StreamWriter& writer) {
      auto changes = has_ ? all_.environments.changes_since(id_, *has_) : std::nullopt;
      if (!changes) co_return co_await put(all_.environments.flag_set(id_), writer);
      for (auto& change : *changes) {
        has_->revision = change->revision;
        if (carries_ == Carries::FlagsOnly && change->kind != FlagChange::Kind::Flag) continue;
        const Bytes message = carries_ == Carries::FlagsOnly ? all_.messages.flags_change(change)
                                                             : all_.messages.change(change);
        change.reset();
        if (!co_await writer.write(*message)) co_return false;
        all_.probe.changes.add();
      }
      co_return true;
    }

   private:
    io::Task<bool> put(Flags flags, http::StreamWriter& writer) {
      if (flags == nullptr) co_return false;
      has_ = {.generation = flags->generation, .revision = flags->revision};
      const Bytes message = carries_ == Carries::FlagsOnly ? all_.messages.flags_put(flags)
                                                           : all_.messages.put(flags);
      flags = nullptr;  // not kept while the client does not read
      if (!co_await writer.write(*message)) co_return false;
      all_.probe.put_messages.add();
      co_return true;
    }

    State& all_;
    EnvironmentId id_;
    Carries carries_;
    std::optional<SeenRevision> has_;
  };

  Settings settings;
  Access& access;
  Environments& environments;
  const Clock& clock;
  Probe probe;
  Messages messages;
  ServerSideFdv2 fdv2;
};

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
