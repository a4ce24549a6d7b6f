#include "delivery/client_side.h"

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "base/hash.h"
#include "delivery/client_context.h"
#include "delivery/client_flags.h"
#include "delivery/hub.h"
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
using environment::SeenRevision;

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

  class Audience;
  class EvaluationHub;
  class EvaluationFeed;
  class PingFeed;

  io::Task<http::Response> stream(http::Request& request, Source source);
  io::Task<http::Response> ping_stream(http::Request& request, CredentialKind kind);

  // `feed` belongs to `hub`.
  http::Response begin_stream(const http::Request& request, const FlagSet& flags,
                              Credential credential, std::shared_ptr<Hub> hub,
                              std::unique_ptr<Feed> feed) {
    probe.stream.add();
    auto connected = count_stream(settings.sdks, flags.environment, credential.kind, request);
    http::Response response = stream_response(flags);
    response.stream = [this, hub = std::move(hub), credential = std::move(credential),
                       feed = std::move(feed),
                       connected = std::move(connected)](http::StreamWriter& writer) mutable {
      return run_stream(*hub, std::move(credential), *feed, writer);
    };
    return response;
  }

  io::Task<void> run_stream(Hub& hub, Credential credential, Feed& feed,
                            http::StreamWriter& writer) {
    const OpenStream open(probe.streams);
    co_await hub.run(std::move(credential), feed, writer);
  }

  Streaming streaming() {
    return {settings.heartbeat, settings.max_stream_age, environments, clock, probe.aged_out};
  }

  const ClientSideSettings settings;
  Access& access;
  Environments& environments;
  const Clock& clock;
  Probe probe;
  ClientFlagsCache client_flags;
  Hubs<EvaluationHub> evaluation_hubs;
  Hubs<Hub> ping_hubs;
  std::atomic<std::size_t> context_bytes{0};
  std::atomic<std::size_t> unsent_bytes{0};
  std::atomic<std::ptrdiff_t> waiting_streams{0};
};

// Streams that are told what changes for their contexts.
class ClientSide::State::EvaluationHub final : public Hub {
 public:
  EvaluationHub(State& state, const io::Executor& executor, EnvironmentId id)
      : Hub(state.streaming(), executor, id), state_(state) {}

  // Of those who ask the same.
  std::shared_ptr<Audience> audience(CredentialKind kind, Asked asked);

  bool is_overloaded() {
    return is_memory_short() ||
           state_.waiting_streams.load(std::memory_order_relaxed) >
               static_cast<std::ptrdiff_t>(state_.settings.waiting_streams_max);
  }
  // Clients that do not read must not fill the memory with what others cannot share.
  bool is_memory_short() {
    const auto is_over = [&] {
      return state_.unsent_bytes.load(std::memory_order_relaxed) > state_.settings.unsent_bytes_max;
    };
    if (!is_over()) return false;
    if (put_.use_count() == 1) put_for_ = nullptr, put_ = nullptr;  // nobody reads it
    return is_over();
  }

 private:
  friend class Audience;
  // Into the audience itself.
  using Key = std::tuple<CredentialKind, Reasons, std::string_view, std::string_view>;

  // Counts for as long as somebody has it to read.
  http::SharedChunk counted(std::string_view text) {
    count_unsent(text.size());
    return {new http::Chunk(text), [this, bytes = text.size()](const http::Chunk* chunk) {
              delete chunk;
              count_unsent(-bytes);
            }};
  }
  void count_unsent(std::size_t more) {
    state_.unsent_bytes.fetch_add(more, std::memory_order_relaxed);
    state_.probe.unsent_bytes.add(static_cast<double>(static_cast<std::ptrdiff_t>(more)));
  }

  void count_waiting(std::ptrdiff_t more) override {
    state_.waiting_streams.fetch_add(more, std::memory_order_relaxed);
    state_.probe.waiting_streams.add(static_cast<double>(more));
  }

  State& state_;
  std::map<Key, Audience*> audiences_;
  // The whole of what one audience sees: for the next of its streams, should many come.
  const Audience* put_for_ = nullptr;
  SeenRevision put_revision_;
  http::SharedChunk put_;
};

// All streams of a hub that ask the same with the same context: what they see is evaluated once.
// Keeps little, because there may be as many as streams: the text of the context, and hashes of
// what was sent.
class ClientSide::State::Audience : public std::enable_shared_from_this<Audience> {
 public:
  Audience(EvaluationHub& hub, CredentialKind kind, Asked asked)
      : hub_(hub), kind_(kind), asked_(std::move(asked)) {
    hub_.audiences_.emplace(key_of(kind_, asked_), this);
    count_context(asked_.context.size());
  }
  ~Audience() {
    count_context(-asked_.context.size());
    if (hub_.put_for_ == this) forget_put();
    hub_.audiences_.erase(key_of(kind_, asked_));
  }
  Audience(const Audience&) = delete;
  Audience& operator=(const Audience&) = delete;

  static EvaluationHub::Key key_of(CredentialKind kind, const Asked& asked) {
    return {kind, asked.reasons, asked.hash, asked.context};
  }

  std::uint64_t version() const { return version_; }  // rises with every message
  // Whether it stands for the flags that the hub holds, and may still see them.
  bool is_current() const {
    const FlagSet& flags = *hub_.flags();
    return version_ > 0 && sent_.generation == flags.generation &&
           sent_.revision >= flags.revision &&
           (!flags.secure_mode || checked_at_wake_ == hub_.wakes());
  }
  // Evaluates anew; false: it may see nothing any more.
  bool evaluate() {
    const auto now = current();
    if (!now) return false;
    if (version_ > 0) hub_.state_.probe.evaluations.add();
    if (version_ == 0 || now->flags->generation() != sent_.generation) {
      say(make_put(*now));
    } else if (now->flags->revision() > sent_.revision) {
      auto changes = now->flags->changes_since(sent_, now->context, asked_.reasons);
      patches_ = changes.patches;
      deletes_ = changes.deletes;
      if (!changes.messages.empty()) say(hub_.counted(changes.messages));
    }
    return true;
  }
  // What leads from the version before to this one; null: no longer known.
  http::SharedChunk step() {
    if (step_ == nullptr) return nullptr;
    hub_.state_.probe.patches.add(patches_);
    hub_.state_.probe.deletes.add(deletes_);
    return step_;
  }
  // All that it sees.  Precondition: is_current().  Null: it may see nothing any more.
  http::SharedChunk put() {
    if (hub_.put_for_ != this || hub_.put_revision_.generation != sent_.generation ||
        hub_.put_revision_.revision != sent_.revision) {
      const auto now = current();
      if (!now) return nullptr;
      make_put(*now);
    }
    hub_.state_.probe.put_messages.add();
    return hub_.put_;
  }

  // With no version yet.
  void enter() {
    ++streams_;
    if (version_ > 0) ++behind_;
  }
  void leave(std::uint64_t version) {
    --streams_;
    if (version != version_) take();
  }
  // One of its streams has come to the version, or gone.
  void take() {
    if (--behind_ == 0) step_ = nullptr;
  }

 private:
  struct Current {
    flags::Context context;
    std::shared_ptr<const ClientFlags> flags;
  };
  // nullopt: it may not see them, or they cannot be evaluated.
  std::optional<Current> current() {
    State& state = hub_.state_;
    const Flags& flags = hub_.flags();
    auto context = parse_context(asked_.context);
    if (!context || !state.check(*flags, {.kind = kind_}, *context, asked_.hash))
      return std::nullopt;
    auto evaluable = state.client_flags.get(flags, kind_);
    if (evaluable == nullptr) return std::nullopt;
    checked_at_wake_ = hub_.wakes();
    return Current{.context = *std::move(context), .flags = std::move(evaluable)};
  }

  http::SharedChunk make_put(const Current& now) {
    hub_.put_ = hub_.counted(now.flags->put_message(now.context, asked_.reasons, sent_));
    hub_.put_for_ = this;
    hub_.put_revision_ = {.generation = sent_.generation, .revision = sent_.revision};
    return hub_.put_;
  }
  void forget_put() {
    hub_.put_for_ = nullptr;
    hub_.put_ = nullptr;
  }

  // Kept until the last of its streams has it.
  void say(http::SharedChunk step) {
    const bool is_put = step == hub_.put_;
    ++version_;
    behind_ = streams_;
    step_ = is_put || behind_ == 0 ? nullptr : std::move(step);
  }

  void count_context(std::size_t bytes) {
    State& state = hub_.state_;
    state.context_bytes.fetch_add(bytes, std::memory_order_relaxed);
    state.probe.context_bytes.add(static_cast<double>(static_cast<std::ptrdiff_t>(bytes)));
  }

  EvaluationHub& hub_;
  const CredentialKind kind_;
  const Asked asked_;
  ClientFlags::Sent sent_;
  std::uint64_t version_ = 0;
  std::uint64_t checked_at_wake_ = 0;
  std::size_t streams_ = 0;
  std::size_t behind_ = 0;  // of them, those that have not come to the version yet
  http::SharedChunk step_;
  std::size_t patches_ = 0;  // in `step_`
  std::size_t deletes_ = 0;
};

std::shared_ptr<ClientSide::State::Audience> ClientSide::State::EvaluationHub::audience(
    CredentialKind kind, Asked asked) {
  const auto found = audiences_.find(Audience::key_of(kind, asked));
  if (found != audiences_.end()) return found->second->shared_from_this();
  return std::make_shared<Audience>(*this, kind, std::move(asked));
}

const http::SharedChunk& ping() {
  static const auto chunk = std::make_shared<const http::Chunk>(kPing);
  return chunk;
}

// A put, then what differs after each change.
class ClientSide::State::EvaluationFeed final : public Feed {
 public:
  EvaluationFeed(State& state, std::shared_ptr<EvaluationHub> hub,
                 std::shared_ptr<Audience> audience)
      : state_(state), hub_(std::move(hub)), audience_(std::move(audience)) {
    audience_->enter();
  }
  ~EvaluationFeed() override { audience_->leave(version_); }
  EvaluationFeed(const EvaluationFeed&) = delete;
  EvaluationFeed& operator=(const EvaluationFeed&) = delete;

  std::optional<http::SharedChunk> next() override {
    if (hub_->flags() == nullptr) return std::nullopt;
    const bool is_known = audience_->is_current() && !is_told_to_ask_;
    // The first message is owed, as far as there is memory for it; what an equal stream has had
    // evaluated costs nothing.
    if (version_ == 0 ? hub_->is_memory_short() : !is_known && hub_->is_overloaded())
      return tell_to_ask();
    if (!audience_->is_current() && !audience_->evaluate()) return std::nullopt;
    if (is_told_to_ask_) return put();
    if (version_ == audience_->version()) return http::SharedChunk();
    if (version_ + 1 != audience_->version()) return put();
    http::SharedChunk step = version_ == 0 ? nullptr : audience_->step();
    if (step == nullptr) return put();
    come_to_version();
    return step;
  }

 private:
  // Under too much load a client is to ask by itself; once that is over, it gets everything.
  std::optional<http::SharedChunk> tell_to_ask() {
    is_told_to_ask_ = true;
    if (std::exchange(told_at_revision_, hub_->flags()->revision) == hub_->flags()->revision)
      return http::SharedChunk();
    state_.probe.pings.add();
    return ping();
  }
  std::optional<http::SharedChunk> put() {
    http::SharedChunk message = audience_->put();
    if (message == nullptr) return std::nullopt;
    is_told_to_ask_ = false;
    come_to_version();
    return message;
  }
  void come_to_version() {
    if (std::exchange(version_, audience_->version()) != audience_->version()) audience_->take();
  }

  State& state_;
  const std::shared_ptr<EvaluationHub> hub_;
  const std::shared_ptr<Audience> audience_;
  std::uint64_t version_ = 0;  // 0: nothing yet
  std::uint64_t told_at_revision_ = 0;
  bool is_told_to_ask_ = false;
};

// A ping at first and after every change: for browsers, whose streams cannot carry a context that
// does not fit into the path.
class ClientSide::State::PingFeed final : public Feed {
 public:
  PingFeed(State& state, std::shared_ptr<Hub> hub) : state_(state), hub_(std::move(hub)) {}

  std::optional<http::SharedChunk> next() override {
    const Flags& flags = hub_->flags();
    if (flags == nullptr) return std::nullopt;
    if (seen_ && seen_->generation == flags->generation && seen_->revision == flags->revision)
      return http::SharedChunk();
    seen_ = {.generation = flags->generation, .revision = flags->revision};
    state_.probe.pings.add();
    return ping();
  }

 private:
  State& state_;
  const std::shared_ptr<Hub> hub_;
  std::optional<SeenRevision> seen_;
};

io::Task<http::Response> ClientSide::State::stream(http::Request& request, Source source) {
  const auto flags = co_await flags_for(request, source.kind);
  if (!flags) co_return http::error_response(flags.error());
  auto admitted = admit(request, source, *flags);
  if (!admitted) co_return http::error_response(admitted.error());
  const auto hub =
      evaluation_hubs.get(co_await io::net::this_coro::executor, (*flags)->environment,
                          [this](const io::Executor& executor, EnvironmentId id) {
                            return std::make_shared<EvaluationHub>(*this, executor, id);
                          });
  auto audience = hub->audience(source.kind, std::move(admitted->asked));
  if (context_bytes.load() > settings.stream_context_bytes_max) {
    probe.overloaded.add();
    co_return http::error_response(Error(ErrorKind::Unavailable, "too many streams are open"));
  }
  co_return begin_stream(request, **flags,
                         Credential::of(source.kind, *credential_of(request, source.kind)), hub,
                         std::make_unique<EvaluationFeed>(*this, hub, std::move(audience)));
}

io::Task<http::Response> ClientSide::State::ping_stream(http::Request& request,
                                                        CredentialKind kind) {
  const auto flags = co_await flags_for(request, kind);
  if (!flags) co_return http::error_response(flags.error());
  const auto hub = ping_hubs.get(co_await io::net::this_coro::executor, (*flags)->environment,
                                 [this](const io::Executor& executor, EnvironmentId id) {
                                   return std::make_shared<Hub>(streaming(), executor, id);
                                 });
  co_return begin_stream(request, **flags, Credential::of(kind, *credential_of(request, kind)), hub,
                         std::make_unique<PingFeed>(*this, hub));
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
