#include "delivery/client_side.h"

#include <atomic>
#include <optional>
#include <string>
#include <utility>

#include "base/hash.h"
#include "delivery/client_context.h"
#include "delivery/client_flags.h"
#include "delivery/secure_mode.h"
#include "delivery/stream.h"
#include "http/conditional.h"
#include "http/cross_origin.h"
#include "http/request_parser.h"

namespace flagstream::delivery {
namespace {

using environment::Credential;
using environment::CredentialKind;
using environment::Environments;
using environment::FlagSet;

// Parsers drop a message without data.
constexpr std::string_view kPing = "event: ping\ndata: {}\n\n";

telemetry::MetricName requests(std::string_view outcome) {
  return {"flagstream_delivery_client_requests_total", "Requests of client-side SDKs.",
          "outcome=\"" + std::string(outcome) + "\""};
}

struct Probe {
  explicit Probe(telemetry::Registry& registry)
      : evaluated(registry, requests("evaluated")),
        not_modified(registry, requests("not_modified")),
        stream(registry, requests("stream")),
        bad_context(registry, requests("bad_context")),
        bad_content_type(registry, requests("bad_content_type")),
        bad_hash(registry, requests("bad_hash")),
        no_access(registry, requests("no_access")),
        overloaded(registry, requests("overloaded")),
        failed(registry, requests("failed")),
        streams(registry, {"flagstream_delivery_client_streams",
                           "Open streams of client-side SDKs, those with pings included.", ""}),
        waiting_streams(registry, {"flagstream_delivery_client_waiting_streams",
                                   "Of them, those that wait for an evaluation.", ""}),
        context_bytes(registry, {"flagstream_delivery_client_context_bytes",
                                 "Contexts that open streams keep.", ""}),
        unsent_bytes(registry, {"flagstream_delivery_client_unsent_bytes",
                                "Messages that wait until the clients of their streams read.", ""}),
        put_messages(registry, messages("put")),
        patches(registry, messages("patch")),
        deletes(registry, messages("delete")),
        pings(registry, messages("ping")),
        evaluations(registry, {"flagstream_delivery_client_reevaluations_total",
                               "Evaluations for a stream after a change.", ""}),
        aged_out(registry, {"flagstream_delivery_streams_aged_total",
                            "Streams that were ended because they had reached their greatest age.",
                            "side=\"client\""}) {}

  static telemetry::MetricName messages(std::string_view name) {
    return {"flagstream_delivery_client_messages_total", "Sent to streams of client-side SDKs.",
            "message=\"" + std::string(name) + "\""};
  }

  telemetry::Counter evaluated;
  telemetry::Counter not_modified;
  telemetry::Counter stream;
  telemetry::Counter bad_context;
  telemetry::Counter bad_content_type;
  telemetry::Counter bad_hash;
  telemetry::Counter no_access;
  telemetry::Counter overloaded;
  telemetry::Counter failed;
  telemetry::Gauge streams;
  telemetry::Gauge waiting_streams;
  telemetry::Gauge context_bytes;
  telemetry::Gauge unsent_bytes;
  telemetry::Counter put_messages;
  telemetry::Counter patches;
  telemetry::Counter deletes;
  telemetry::Counter pings;
  telemetry::Counter evaluations;
  telemetry::Counter aged_out;
};

// Where a route has its credential and its context.
struct Source {
  CredentialKind kind = CredentialKind::ClientSideId;
  bool is_in_body = false;  // the context; else it is the last segment of the path
};

std::optional<std::string_view> credential_of(const http::Request& request, CredentialKind kind) {
  if (kind != CredentialKind::ClientSideId) return http::authorization_key(request.headers);
  return request.captures.at(0);
}

// Parameters, such as a charset, say nothing: JSON is UTF-8.
bool is_json(const http::Headers& headers) {
  std::string_view type = headers.find("Content-Type").value_or("");
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  return http::equals_without_case(type, "application/json");
}

// What a caller wants to have evaluated, once it is known that he may.
struct Asked {
  std::string context;  // JSON
  std::string hash;     // empty: none
  Reasons reasons = Reasons::WhereTracked;
};

}  // namespace

struct ClientSide::State {
  State(ClientSideSettings s, Collaborators with)
      : settings(s),
        access(with.access),
        environments(with.environments),
        clock(with.clock),
        probe(with.registry),
        client_flags(with.evaluators) {}

  // What all requests need before anything is evaluated.
  struct Admitted {
    Flags flags;
    Asked asked;
    std::shared_ptr<const ClientFlags> client_flags;
    flags::Context context;
  };

  io::Task<Result<Flags>> flags_for(const http::Request& request, CredentialKind kind) {
    auto flags = co_await access.recent_flags_for(kind, credential_of(request, kind),
                                                  request.client_address);
    if (!flags) {
      (flags.error().kind == ErrorKind::Unavailable ? probe.failed : probe.no_access).add();
    }
    co_return flags;
  }

  Result<Admitted> admit(http::Request& request, Source source, Flags flags) {
    auto asked = read(request, source);
    if (!asked) return refuse_context(std::move(asked).error());
    auto context = parse_context(asked->context);
    if (!context) return refuse_context(std::move(context).error());
    FS_TRY(check(*flags, source, *context, asked->hash));
    auto evaluable = client_flags.get(flags, source.kind);
    if (evaluable == nullptr) {
      probe.failed.add();
      return fail(ErrorKind::Unavailable, "the flags of the environment cannot be evaluated");
    }
    return Admitted{.flags = std::move(flags),
                    .asked = *std::move(asked),
                    .client_flags = std::move(evaluable),
                    .context = *std::move(context)};
  }

  std::unexpected<Error> refuse_context(Error why) {
    probe.bad_context.add();
    return fail(std::move(why));
  }

  static Result<Asked> read(http::Request& request, Source source) {
    Asked asked;
    if (source.is_in_body) {
      asked.context = std::move(request.body);
    } else {
      FS_TRY(asked.context, decode_context_segment(request.captures.back()));
    }
    asked.hash = request.query_value("h").value_or(std::string());
    if (request.query_value("withReasons") == "true") asked.reasons = Reasons::All;
    return asked;
  }

  Result<void> check(const FlagSet& flags, Source source, const flags::Context& context,
                     std::string_view hash) {
    if (source.kind != CredentialKind::ClientSideId) return {};
    auto checked = check_hash(flags, context, hash, clock.now());
    if (!checked) {
      (checked.error().kind == ErrorKind::Unavailable ? probe.failed : probe.bad_hash).add();
    }
    return checked;
  }

  io::Task<http::Response> evaluate(http::Request& request, Source source) {
    const auto flags = co_await flags_for(request, source.kind);
    if (!flags) co_return http::error_response(flags.error());
    const auto admitted = admit(request, source, *flags);
    if (!admitted) co_return http::error_response(admitted.error());
    count_poll(settings.sdks, (*flags)->environment, source.kind, request);
    http::Response response;
    admitted->client_flags->append_all(response.body, admitted->context, admitted->asked.reasons);
    std::string etag = "\"" + xxh3_128(response.body).to_hex() + "\"";
    const bool is_known = http::matches_if_none_match(request.headers, etag);
    response.headers.add("ETag", std::move(etag));
    // What is stored must be asked for again: it may have changed, and so may who may see it.
    response.headers.add("Cache-Control", "private, no-cache");
    name_environment(**flags, response);
    if (is_known) {
      probe.not_modified.add();
      response.status = 304;
      response.body.clear();
      co_return response;
    }
    probe.evaluated.add();
    response.headers.add("Content-Type", "application/json");
    co_return response;
  }

  io::Task<http::Response> refuse_content_type() {
    probe.bad_content_type.add();
    co_return http::json_response(
        415,
        R"({"code":"unsupported_media_type","message":"the body of REPORT is application/json"})");
  }

  // Page views and clicks that browsers should report: there are none.
  io::Task<http::Response> goals(http::Request& request) {
    const auto flags = co_await flags_for(request, CredentialKind::ClientSideId);
    if (!flags) co_return http::error_response(flags.error());
    http::Response response = http::json_response(200, "[]");
    name_environment(**flags, response);
    co_return response;
  }

  class EvaluationStream;
  class PingStream;

  io::Task<http::Response> stream(http::Request& request, Source source);
  io::Task<http::Response> ping_stream(http::Request& request, CredentialKind kind);

  template <class Feed>
  http::Response begin_stream(const http::Request& request, const FlagSet& flags,
                              Credential credential, std::unique_ptr<Feed> feed) {
    probe.stream.add();
    auto connected = count_stream(settings.sdks, flags.environment, credential.kind, request);
    http::Response response = stream_response(flags);
    response.stream = [this, what = Followed{flags.environment, std::move(credential)},
                       feed = std::move(feed), connected = std::move(connected)](
                          http::StreamWriter& writer) { return run_stream(what, *feed, writer); };
    return response;
  }

  template <class Feed>
  io::Task<void> run_stream(const Followed& what, Feed& feed, http::StreamWriter& writer) {
    const OpenStream open(probe.streams);
    co_await feed_stream(
        {settings.heartbeat, settings.max_stream_age, environments, clock, probe.aged_out}, what,
        feed, writer);
  }

  const ClientSideSettings settings;
  Access& access;
  Environments& environments;
  const Clock& clock;
  Probe probe;
  ClientFlagsCache client_flags;
  std::atomic<std::size_t> context_bytes{0};
  std::atomic<std::size_t> unsent_bytes{0};
  std::atomic<std::size_t> waiting_streams{0};
};

// A put, then what differs after each change.  Keeps little, because there are many: the text of
// the context, and hashes of what was sent.
class ClientSide::State::EvaluationStream : public StreamFeed {
 public:
  EvaluationStream(State& state, Source source, Credential credential, Asked asked)
      : state_(state),
        source_(source),
        credential_(std::move(credential)),
        asked_(std::move(asked)) {
    count_context(asked_.context.size());
  }
  ~EvaluationStream() {
    take_turn();
    count_context(-asked_.context.size());
  }

  EvaluationStream(const EvaluationStream&) = delete;
  EvaluationStream& operator=(const EvaluationStream&) = delete;

  // Once an overload is over, what a ping stood for is sent.
  bool wants_look() const { return is_behind_ && !is_overloaded(); }

  io::Task<bool> catch_up(http::StreamWriter& writer) {
    const bool is_first = !std::exchange(has_begun_, true);
    const bool is_too_much = is_first ? is_memory_short() : is_overloaded();
    take_turn();
    if (is_too_much) {
      is_behind_ = true;
      state_.probe.pings.add();
      co_return co_await send(kPing, writer);
    }
    if (!is_first) state_.probe.evaluations.add();
    const std::optional<std::string> message = is_first || is_behind_ ? put() : changes();
    if (!message) co_return false;
    if (!message->empty()) co_return co_await send(*message, writer);
    // Changes that do not concern this context must not keep the heartbeat away.
    const std::int64_t silent = state_.clock.monotonic() - sent_at_;
    if (silent < kMicrosPerMilli * state_.settings.heartbeat.count()) co_return true;
    co_return co_await send(kHeartbeat, writer);
  }

  void note_change() {
    if (is_waiting_.exchange(true)) return;
    state_.waiting_streams.fetch_add(1, std::memory_order_relaxed);
    state_.probe.waiting_streams.add(1);
  }

 private:
  void count_context(std::size_t bytes) {
    state_.context_bytes.fetch_add(bytes, std::memory_order_relaxed);
    state_.probe.context_bytes.add(static_cast<double>(static_cast<std::ptrdiff_t>(bytes)));
  }

  void take_turn() {
    if (!is_waiting_.exchange(false)) return;
    state_.waiting_streams.fetch_sub(1, std::memory_order_relaxed);
    state_.probe.waiting_streams.add(-1);
  }

  bool is_memory_short() const {
    return state_.unsent_bytes.load(std::memory_order_relaxed) > state_.settings.unsent_bytes_max;
  }

  bool is_overloaded() const {
    return is_memory_short() || state_.waiting_streams.load(std::memory_order_relaxed) >
                                    state_.settings.waiting_streams_max;
  }

  // Counts a message for as long as its client takes to read it.
  class Unsent {
   public:
    Unsent(State& state, std::size_t bytes) : state_(state), bytes_(bytes) { count(bytes); }
    ~Unsent() { count(-bytes_); }
    Unsent(const Unsent&) = delete;
    Unsent& operator=(const Unsent&) = delete;

   private:
    void count(std::size_t bytes) {
      state_.unsent_bytes.fetch_add(bytes, std::memory_order_relaxed);
      state_.probe.unsent_bytes.add(static_cast<double>(static_cast<std::ptrdiff_t>(bytes)));
    }

    State& state_;
    std::size_t bytes_;
  };

  // As things are now; nullopt: he may not see them any more.
  struct Current {
    flags::Context context;
    std::shared_ptr<const ClientFlags> flags;
  };
  std::optional<Current> current() {
    const Flags flags = state_.access.find(credential_);
    if (flags == nullptr) return std::nullopt;
    auto context = parse_context(asked_.context);
    if (!context || !state_.check(*flags, source_, *context, asked_.hash)) return std::nullopt;
    auto evaluable = state_.client_flags.get(flags, source_.kind);
    if (evaluable == nullptr) return std::nullopt;
    return Current{.context = *std::move(context), .flags = std::move(evaluable)};
  }

  // Both: the message, which may be empty; nullopt: the stream is over.
  std::optional<std::string> put() {
    const auto now = current();
    if (!now) return std::nullopt;
    is_behind_ = false;
    state_.probe.put_messages.add();
    return now->flags->put_message(now->context, asked_.reasons, sent_);
  }

  std::optional<std::string> changes() {
    const auto now = current();
    if (!now) return std::nullopt;
    if (now->flags->generation() != sent_.generation) {
      state_.probe.put_messages.add();
      return now->flags->put_message(now->context, asked_.reasons, sent_);
    }
    if (now->flags->revision() <= sent_.revision) return std::string();
    ClientFlags::Changes changes = now->flags->changes_since(sent_, now->context, asked_.reasons);
    state_.probe.patches.add(changes.patches);
    state_.probe.deletes.add(changes.deletes);
    return std::move(changes.messages);
  }

  io::Task<bool> send(std::string_view message, http::StreamWriter& writer) {
    sent_at_ = state_.clock.monotonic();
    const Unsent unsent(state_, message.size());
    co_return (co_await writer.write(message)).has_value();
  }

  State& state_;
  const Source source_;
  const Credential credential_;
  const Asked asked_;
  ClientFlags::Sent sent_;
  std::int64_t sent_at_ = 0;
  bool has_begun_ = false;
  bool is_behind_ = false;  // was told to ask by itself
  std::atomic<bool> is_waiting_{false};
};

// A ping at first and after every change: for browsers, whose streams cannot carry a context that
// does not fit into the path.
class ClientSide::State::PingStream : public StreamFeed {
 public:
  explicit PingStream(State& state) : state_(state) {}

  io::Task<bool> catch_up(http::StreamWriter& writer) {
    state_.probe.pings.add();
    co_return (co_await writer.write(kPing)).has_value();
  }

 private:
  State& state_;
};

io::Task<http::Response> ClientSide::State::stream(http::Request& request, Source source) {
  const auto flags = co_await flags_for(request, source.kind);
  if (!flags) co_return http::error_response(flags.error());
  auto admitted = admit(request, source, *flags);
  if (!admitted) co_return http::error_response(admitted.error());
  auto credential = Credential::of(source.kind, *credential_of(request, source.kind));
  auto feed =
      std::make_unique<EvaluationStream>(*this, source, credential, std::move(admitted->asked));
  if (context_bytes.load() > settings.stream_context_bytes_max) {
    probe.overloaded.add();
    co_return http::error_response(Error(ErrorKind::Unavailable, "too many streams are open"));
  }
  co_return begin_stream(request, **flags, std::move(credential), std::move(feed));
}

io::Task<http::Response> ClientSide::State::ping_stream(http::Request& request,
                                                        CredentialKind kind) {
  const auto flags = co_await flags_for(request, kind);
  if (!flags) co_return http::error_response(flags.error());
  co_return begin_stream(request, **flags, Credential::of(kind, *credential_of(request, kind)),
                         std::make_unique<PingStream>(*this));
}

ClientSide::ClientSide(ClientSideSettings settings, Collaborators collaborators)
    : state_(std::make_unique<State>(settings, collaborators)) {}
ClientSide::~ClientSide() = default;

namespace {

using Answer = std::function<io::Task<http::Response>(http::Request&)>;

io::Task<http::Response> answer_cross_origin(const Answer& answer, http::Request& request) {
  http::Response response = co_await answer(request);
  http::allow_cross_origin(request, response);
  co_return response;
}

// The routes, those for browsers with what lets pages of other origins call them.
class Routes {
 public:
  void add(std::string_view method, std::string pattern, CredentialKind kind, Answer answer) {
    http::Route route{.method = std::string(method),
                      .pattern = std::move(pattern),
                      .body_bytes_max = method == "REPORT" ? kContextBytesMax : 0,
                      .handler = std::move(answer)};
    if (kind == CredentialKind::ClientSideId) {
      route.handler = [answer = std::move(route.handler)](http::Request& request) {
        return answer_cross_origin(answer, request);
      };
      route.complete_error = http::allow_cross_origin;
      add_preflight(route.pattern);
    }
    all_.push_back(std::move(route));
  }
  std::vector<http::Route> take() { return std::move(all_); }

 private:
  void add_preflight(const std::string& pattern) {
    all_.push_back({.method = "OPTIONS",
                    .pattern = pattern,
                    .body_bytes_max = 0,
                    .handler = [](http::Request& request) -> io::Task<http::Response> {
                      co_return http::preflight_response(request);
                    },
                    .complete_error = http::allow_cross_origin});
  }

  std::vector<http::Route> all_;
};

}  // namespace

std::vector<http::Route> ClientSide::routes() {
  using enum CredentialKind;
  State* state = state_.get();
  using Handle = io::Task<http::Response> (State::*)(http::Request&, Source);
  Routes routes;
  // GET with the context behind `path`, REPORT with the context in the body.
  const auto get = [&](const std::string& path, CredentialKind kind, Handle handle) {
    routes.add("GET", path + "/{context}", kind, [=](http::Request& request) {
      return (state->*handle)(request, {.kind = kind, .is_in_body = false});
    });
  };
  const auto report = [&](const std::string& path, CredentialKind kind, Handle handle) {
    routes.add("REPORT", path, kind, [=](http::Request& request) {
      if (!is_json(request.headers)) return state->refuse_content_type();
      return (state->*handle)(request, {.kind = kind, .is_in_body = true});
    });
  };
  for (const auto& [path, kind] : {std::pair{"/sdk/evalx/{env}", ClientSideId},
                                   {"/msdk/evalx", MobileKey},
                                   {"/sdk/evalx", SdkKey}}) {
    const std::string base = path;
    get(base + "/contexts", kind, &State::evaluate);
    get(base + "/users", kind, &State::evaluate);
    report(base + "/context", kind, &State::evaluate);
    report(base + "/user", kind, &State::evaluate);
  }
  for (const auto& [path, kind] : {std::pair{"/eval/{env}", ClientSideId}, {"/meval", MobileKey}}) {
    get(path, kind, &State::stream);
    report(path, kind, &State::stream);
  }
  for (const auto& [path, kind] : {std::pair{"/ping/{env}", ClientSideId}, {"/mping", MobileKey}}) {
    routes.add("GET", path, kind,
               [state, kind](http::Request& request) { return state->ping_stream(request, kind); });
  }
  routes.add("GET", "/sdk/goals/{env}", ClientSideId,
             [state](http::Request& request) { return state->goals(request); });
  return routes.take();
}

}  // namespace flagstream::delivery
