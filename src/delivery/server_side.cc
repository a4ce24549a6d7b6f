#include "delivery/server_side.h"

#include <utility>

#include <boost/asio/experimental/awaitable_operators.hpp>

#include "base/hash.h"
#include "delivery/messages.h"
#include "http/conditional.h"
#include "http/cross_origin.h"
#include "io/signal.h"

namespace flagstream::delivery {
namespace {

using environment::CredentialKind;
using environment::Environments;
using environment::FlagSet;
using environment::SeenRevision;
// The check does not see the use in co_await expressions.
// NOLINTNEXTLINE(misc-unused-using-decls)
using boost::asio::experimental::awaitable_operators::operator||;

constexpr std::string_view kHeartbeat = ":\n";
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

// Counts a stream for as long as it lives, however it ends.
class OpenStream {
 public:
  explicit OpenStream(telemetry::Gauge& streams) : streams_(streams) { streams_.add(1); }
  ~OpenStream() { streams_.add(-1); }
  OpenStream(const OpenStream&) = delete;
  OpenStream& operator=(const OpenStream&) = delete;

 private:
  telemetry::Gauge& streams_;
};

}  // namespace

struct ServerSide::State {
  State(Settings s, Access& a, Environments& e, telemetry::Registry& registry)
      : settings(s), access(a), environments(e), probe(registry) {}

  using Items = decltype(FlagSet::flags);

  io::Task<Result<Flags>> flags_for(const http::Request& request) {
    return access.flags_for(CredentialKind::SdkKey, http::authorization_key(request.headers));
  }

  static void name_environment(const FlagSet& flags, http::Response& response) {
    if (!flags.client_side_id.empty()) response.headers.add("X-LD-EnvID", flags.client_side_id);
  }

  io::Task<http::Response> poll(http::Request& request) {
    const auto flags = co_await flags_for(request);
    if (!flags) co_return http::error_response(flags.error());
    count_poll(settings.sdks, (*flags)->environment, CredentialKind::SdkKey, request);
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
    count_poll(settings.sdks, flags.environment, CredentialKind::SdkKey, request);
    http::Response response = answer_poll(request, flags, xxh3_128(*document).to_hex());
    if (response.status != 304) response.shared_body = document;
    return response;
  }

  io::Task<http::Response> stream(http::Request& request) {
    const auto flags = co_await flags_for(request);
    if (!flags) co_return http::error_response(flags.error());
    http::Response response;
    response.headers.add("Content-Type", "text/event-stream; charset=utf-8");
    response.headers.add("Cache-Control", "no-cache");
    response.headers.add("X-Accel-Buffering", "no");
    name_environment(**flags, response);
    response.stream = [this, text = std::string(*http::authorization_key(request.headers)),
                       id = (*flags)->environment,
                       connected = count_stream(settings.sdks, (*flags)->environment,
                                                CredentialKind::SdkKey, request)](
                          http::StreamWriter& writer) { return follow(text, id, writer); };
    co_return response;
  }

  // A put, then every change in order, until the client is gone or the key opens the environment no
  // longer.
  io::Task<void> follow(const std::string& key, EnvironmentId id, http::StreamWriter& writer) {
    const OpenStream open(probe.streams);
    io::Signal changed(co_await io::net::this_coro::executor);
    const auto subscription = environments.subscribe(id, [&changed] { changed.notify(); });
    std::optional<SeenRevision> seen =
        co_await send_put(access.find(CredentialKind::SdkKey, key), writer);
    while (seen) {
      const auto ended = co_await (changed.wait(settings.heartbeat) || writer.until_closed());
      if (ended.index() == 1) break;
      if (environments.find(CredentialKind::SdkKey, key) != id) break;
      seen = std::get<0>(ended) ? co_await send_changes(id, *seen, writer)
                                : co_await send_heartbeat(*seen, writer);
    }
  }

  // All three: what the client has now; nullopt once the stream is over.
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

  io::Task<std::optional<SeenRevision>> send_heartbeat(SeenRevision seen,
                                                       http::StreamWriter& writer) {
    if (!co_await writer.write(kHeartbeat)) co_return std::nullopt;
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
