#include "delivery/server_side.h"

#include <utility>

#include "base/hash.h"
#include "delivery/messages.h"
#include "delivery/stream.h"
#include "http/conditional.h"
#include "http/cross_origin.h"

namespace flagstream::delivery {
namespace {

using environment::Credential;
using environment::CredentialKind;
using environment::Environments;
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
        polls(registry, {"flagstream_delivery_polls_total", "Polls answered with data.", ""}),
        not_modified(registry,
                     {"flagstream_delivery_polls_not_modified_total", "Polls answered 304.", ""}) {}

  telemetry::Gauge streams;
  telemetry::Counter put_messages;
  telemetry::Counter changes;
  telemetry::Counter polls;
  telemetry::Counter not_modified;
};

}  // namespace

struct ServerSide::State {
  State(Settings s, Access& a, Environments& e, telemetry::Registry& registry)
      : settings(s), access(a), environments(e), probe(registry) {}

  using Items = decltype(FlagSet::flags);

  io::Task<Result<Flags>> flags_for(const http::Request& request) {
    return access.flags_for(CredentialKind::SdkKey, http::authorization_key(request.headers),
                            request.client_address);
  }

  io::Task<http::Response> poll(http::Request& request) {
    const auto flags = co_await flags_for(request);
    if (!flags) co_return http::error_response(flags.error());
    const bool is_gzip = http::accepts_gzip(request.headers);
    // A strong tag names the very bytes, so each coding has its own.
    http::Response response =
        answer_poll(request, **flags, (*flags)->fingerprint + (is_gzip ? "-gzip" : ""));
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
    response.headers.add("Vary", "Authorization, Accept-Encoding");
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
    if (found == all.end() || found->second.json == nullptr)
      co_return http::error_response(Error(ErrorKind::NotFound, "there is no such item"));
    co_return answer_document(request, **flags, found->second.json);
  }
  http::Response answer_document(const http::Request& request, const FlagSet& flags,
                                 const Bytes& document) {
    http::Response response = answer_poll(request, flags, xxh3_128(*document).to_hex());
    if (response.status != 304) response.shared_body = document;
    return response;
  }

  io::Task<http::Response> stream(http::Request& request) {
    const auto flags = co_await flags_for(request);
    if (!flags) co_return http::error_response(flags.error());
    http::Response response = stream_response(**flags);
    response.stream = [this, text = std::string(*http::authorization_key(request.headers)),
                       id = (*flags)->environment](http::StreamWriter& writer) {
      return run_stream(text, id, writer);
    };
    co_return response;
  }

  // A put, then every change in order, until the client is gone or the key opens the environment no
  // longer.
  io::Task<void> run_stream(const std::string& key, EnvironmentId id, http::StreamWriter& writer) {
    const OpenStream open(probe.streams);
    FlagStream contents(*this, key, id);
    co_await follow(environments,
                    {.environment = id,
                     .kind = CredentialKind::SdkKey,
                     .credential = key,
                     .heartbeat = settings.heartbeat},
                    contents, writer);
  }

  class FlagStream final : public StreamContents {
   public:
    FlagStream(State& state, std::string_view key, EnvironmentId id)
        : state_(state), key_(key), id_(id) {}

    io::Task<bool> begin(http::StreamWriter& writer) override {
      seen_ = co_await state_.send_put(state_.access.find(CredentialKind::SdkKey, key_), writer);
      co_return seen_.has_value();
    }
    io::Task<bool> catch_up(http::StreamWriter& writer) override {
      seen_ = co_await state_.send_changes(id_, *seen_, writer);
      co_return seen_.has_value();
    }

   private:
    State& state_;
    std::string_view key_;
    EnvironmentId id_;
    std::optional<SeenRevision> seen_;
  };

  // Both: what the client has now; nullopt once the stream is over.
  io::Task<std::optional<SeenRevision>> send_put(Flags flags, http::StreamWriter& writer) {
    if (flags == nullptr) co_return std::nullopt;
    const SeenRevision seen{.generation = flags->generation, .revision = flags->revision};
    const Bytes message = messages.put(std::exchange(flags, nullptr));
    if (!co_await writer.write(*message)) co_return std::nullopt;
    probe.put_messages.add();
    co_return seen;
  }

  io::Task<std::optional<SeenRevision>> send_changes(EnvironmentId id, SeenRevision seen,
                                                     http::StreamWriter& writer) {
    auto changes = environments.changes_since(id, seen);
    if (!changes) co_return co_await send_put(environments.flag_set(id), writer);
    for (auto& change : *changes) {
      seen.revision = change->revision;
      const Bytes message = messages.change(change);
      change.reset();
      if (!co_await writer.write(*message)) co_return std::nullopt;
      probe.changes.add();
    }
    co_return seen;
  }

  Settings settings;
  Access& access;
  Environments& environments;
  Probe probe;
  Messages messages;
};

ServerSide::ServerSide(Settings settings, Access& access, Environments& environments,
                       telemetry::Registry& registry)
    : state_(std::make_unique<State>(settings, access, environments, registry)) {}
ServerSide::~ServerSide() = default;

std::vector<http::Route> ServerSide::routes() {
  const auto get = [](std::string pattern, http::Handler handler) {
    return http::Route{.method = "GET",
                       .pattern = std::move(pattern),
                       .body_bytes_max = 0,
                       .handler = std::move(handler)};
  };
  // SDKs that ask for the newer protocol are told to use this one.  Browsers ask below these paths.
  const http::Handler fall_back = [](http::Request& request) -> io::Task<http::Response> {
    if (request.method == "OPTIONS") co_return http::preflight_response(request);
    http::Response response =
        http::error_response(Error(ErrorKind::NotFound, "the newer protocol is not spoken here"));
    response.headers.add("X-LD-FD-Fallback", "true");
    http::allow_cross_origin(request, response);
    co_return response;
  };
  const auto any = [&](std::string pattern) {
    return http::Route{.method = "*",
                       .pattern = std::move(pattern),
                       .body_bytes_max = kFallBackBodyBytesMax,
                       .handler = fall_back,
                       .complete_error = http::allow_cross_origin};
  };
  State* state = state_.get();
  return {
      get("/all", [state](http::Request& request) { return state->stream(request); }),
      get("/sdk/latest-all", [state](http::Request& request) { return state->poll(request); }),
      get("/sdk/flags", [state](http::Request& request) { return state->poll_flags(request); }),
      get("/sdk/flags/{key}",
          [state](http::Request& request) { return state->poll_item(request, &FlagSet::flags); }),
      get("/sdk/segments/{key}",
          [state](http::Request& request) {
            return state->poll_item(request, &FlagSet::segments);
          }),
      any("/sdk/poll"),
      any("/sdk/poll/eval/*"),
      any("/sdk/stream"),
      any("/sdk/stream/eval/*"),
  };
}

}  // namespace flagstream::delivery
