#include "delivery/server_side.h"

#include <utility>

#include <boost/asio/experimental/awaitable_operators.hpp>

#include "delivery/messages.h"
#include "io/await_callback.h"
#include "io/signal.h"

namespace flagstream::delivery {
namespace {

using environment::CredentialKind;
using environment::Environments;
using environment::FlagSet;
// The check does not see the use in co_await expressions.
// NOLINTNEXTLINE(misc-unused-using-decls)
using boost::asio::experimental::awaitable_operators::operator||;

constexpr std::string_view kHeartbeat = ":\n";

struct Probe {
  explicit Probe(telemetry::Registry& registry)
      : streams(registry, {"flagstream_delivery_streams", "Open streams of server-side SDKs.", ""}),
        puts_sent(registry,
                  {"flagstream_delivery_puts_total", "Whole flag sets sent to streams.", ""}),
        changes(registry,
                {"flagstream_delivery_changes_total", "Patches and deletes sent to streams.", ""}),
        polls(registry, {"flagstream_delivery_polls_total", "Polls answered with data.", ""}),
        not_modified(registry,
                     {"flagstream_delivery_polls_not_modified_total", "Polls answered 304.", ""}),
        unauthorized(registry, {"flagstream_delivery_unauthorized_total",
                                "Requests with an unknown SDK key.", ""}),
        unavailable(registry,
                    {"flagstream_delivery_unavailable_total", "Requests answered 503.", ""}),
        stale(registry, {"flagstream_delivery_stale_total",
                         "Connections served before the end of config was read.", ""}) {}

  telemetry::Gauge streams;
  telemetry::Counter puts_sent;
  telemetry::Counter changes;
  telemetry::Counter polls;
  telemetry::Counter not_modified;
  telemetry::Counter unauthorized;
  telemetry::Counter unavailable;
  telemetry::Counter stale;
};

// The key alone, or after the word that older SDKs write.
std::string_view key_of(const http::Headers& headers) {
  constexpr std::string_view kWord = "api_key ";
  std::string_view text = headers.find("Authorization").value_or("");
  if (text.starts_with(kWord)) text.remove_prefix(kWord.size());
  while (text.starts_with(' ')) text.remove_prefix(1);
  return text.find(' ') == std::string_view::npos ? text : std::string_view();
}

bool accepts_gzip(const http::Headers& headers) {
  return headers.find("Accept-Encoding").value_or("").find("gzip") != std::string_view::npos;
}

}  // namespace

struct ServerSide::State {
  State(Settings s, Environments& e, telemetry::Registry& registry)
      : settings(s), environments(e), probe(registry) {}

  // Current as of now: what `config` held when the request came has been applied, unless that takes
  // too long.
  io::Task<Result<std::shared_ptr<const FlagSet>>> flags_for(const http::Request& request) {
    const std::string key(key_of(request.headers));
    const auto current = co_await io::await_callback<Result<void>>(
        [&](auto done) { environments.read_to_end(std::move(done)); });
    const auto id = key.empty() ? std::nullopt : environments.find(CredentialKind::SdkKey, key);
    auto flags = id ? environments.flag_set(*id) : nullptr;
    if (flags != nullptr) {
      if (!current) probe.stale.add();
      co_return flags;
    }
    // An SDK takes 401 for good, so it is given only for what is known to be unknown.
    if (!key.empty() && (!current || !environments.has_configuration())) {
      probe.unavailable.add();
      co_return fail(ErrorKind::Unavailable, "the configuration is not available yet");
    }
    probe.unauthorized.add();
    co_return fail(ErrorKind::Unauthenticated, "unknown SDK key");
  }

  io::Task<http::Response> poll(http::Request& request) {
    const auto flags = co_await flags_for(request);
    if (!flags) co_return http::error_response(flags.error());
    const std::string etag = "\"" + std::to_string(to_number((*flags)->environment)) + "-" +
                             std::to_string((*flags)->revision) + "\"";
    http::Response response;
    response.headers.add("ETag", etag);
    response.headers.add("X-LD-EnvID", (*flags)->client_side_id);
    response.headers.add("Vary", "Authorization, Accept-Encoding");
    if (request.headers.find("If-None-Match") == etag) {
      probe.not_modified.add();
      response.status = 304;
      co_return response;
    }
    probe.polls.add();
    response.headers.add("Content-Type", "application/json");
    response.shared_body = (*flags)->all_json;
    if (accepts_gzip(request.headers)) {
      response.headers.add("Content-Encoding", "gzip");
      response.shared_body = messages.gzip(**flags);
    }
    co_return response;
  }

  io::Task<http::Response> stream(http::Request& request) {
    const auto flags = co_await flags_for(request);
    if (!flags) co_return http::error_response(flags.error());
    http::Response response;
    response.headers.add("Content-Type", "text/event-stream; charset=utf-8");
    response.headers.add("Cache-Control", "no-cache");
    response.headers.add("X-Accel-Buffering", "no");
    response.headers.add("X-LD-EnvID", (*flags)->client_side_id);
    response.stream = [this, id = (*flags)->environment](http::StreamWriter& writer) {
      return follow(id, writer);
    };
    co_return response;
  }

  // A put, then every change in order, until the client or the environment is gone.
  io::Task<void> follow(EnvironmentId id, http::StreamWriter& writer) {
    io::Signal changed(co_await io::net::this_coro::executor);
    const auto subscription = environments.subscribe(id, [&changed] { changed.notify(); });
    probe.streams.add(1);
    std::optional<std::uint64_t> revision = co_await send_put(id, writer);
    while (revision) {
      const auto ended = co_await (changed.wait(settings.heartbeat) || writer.until_closed());
      if (ended.index() == 1) break;
      revision = std::get<0>(ended) ? co_await send_changes(id, *revision, writer)
                                    : co_await send_heartbeat(*revision, writer);
    }
    probe.streams.add(-1);
  }

  // All three: the revision that the client has now; nullopt once the stream is over.
  io::Task<std::optional<std::uint64_t>> send_put(EnvironmentId id, http::StreamWriter& writer) {
    const auto flags = environments.flag_set(id);
    if (flags == nullptr) co_return std::nullopt;
    const std::uint64_t revision = flags->revision;
    if (!co_await writer.write(*messages.put(*flags))) co_return std::nullopt;
    probe.puts_sent.add();
    co_return revision;
  }

  io::Task<std::optional<std::uint64_t>> send_changes(EnvironmentId id, std::uint64_t revision,
                                                      http::StreamWriter& writer) {
    if (environments.flag_set(id) == nullptr) co_return std::nullopt;
    const auto changes = environments.changes_since(id, revision);
    if (!changes) co_return co_await send_put(id, writer);
    for (const auto& change : *changes) {
      const Bytes message = messages.change(id, *change);
      if (!co_await writer.write(*message)) co_return std::nullopt;
      probe.changes.add();
      revision = change->revision;
    }
    co_return revision;
  }

  io::Task<std::optional<std::uint64_t>> send_heartbeat(std::uint64_t revision,
                                                        http::StreamWriter& writer) {
    if (!co_await writer.write(kHeartbeat)) co_return std::nullopt;
    co_return revision;
  }

  Settings settings;
  Environments& environments;
  Probe probe;
  Messages messages;
};

ServerSide::ServerSide(Settings settings, Environments& environments, telemetry::Registry& registry)
    : state_(std::make_unique<State>(settings, environments, registry)) {}
ServerSide::~ServerSide() = default;

std::vector<http::Route> ServerSide::routes() {
  const auto get = [](std::string pattern, http::Handler handler) {
    return http::Route{.method = "GET",
                       .pattern = std::move(pattern),
                       .body_bytes_max = 0,
                       .handler = std::move(handler)};
  };
  // SDKs that ask for the newer protocol are told to use this one.
  const http::Handler fall_back = [](http::Request&) -> io::Task<http::Response> {
    http::Response response =
        http::error_response(Error(ErrorKind::NotFound, "use /all or /sdk/latest-all"));
    response.headers.add("X-LD-FD-Fallback", "true");
    co_return response;
  };
  State* state = state_.get();
  return {
      get("/all", [state](http::Request& request) { return state->stream(request); }),
      get("/sdk/latest-all", [state](http::Request& request) { return state->poll(request); }),
      get("/sdk/poll", fall_back),
      get("/sdk/stream", fall_back),
  };
}

}  // namespace flagstream::delivery
