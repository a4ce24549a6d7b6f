#include "delivery/ofrep.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/hash.h"
#include "delivery/hub.h"
#include "delivery/ofrep_messages.h"
#include "delivery/ofrep_scope.h"
#include "delivery/secure_mode.h"
#include "delivery/stream.h"
#include "delivery/visibility.h"
#include "flags/document.h"
#include "http/conditional.h"
#include "http/cross_origin.h"
#include "json/json.h"

namespace flagstream::delivery {
namespace {

using environment::Credential;
using environment::CredentialKind;
using environment::Environments;

constexpr std::string_view kFlags = "/ofrep/v1/evaluate/flags";
constexpr std::string_view kEvents = "/ofrep/v1/events";
constexpr std::size_t kBodyBytesMax = 256u << 10;  // a context
constexpr std::size_t kTagBytesMax = 64;
constexpr int kInactivitySeconds = 120;  // what the protocol takes by itself

struct Probe {
  explicit Probe(telemetry::Registry& registry)
      : single(registry, evaluations("single")),
        bulk(registry, evaluations("bulk")),
        not_modified(registry, {"flagstream_delivery_ofrep_not_modified_total",
                                "OFREP bulk evaluations answered 304.", ""}),
        refused(registry, {"flagstream_delivery_ofrep_refused_total",
                           "OFREP requests answered with an error, whatever it was.", ""}),
        streams(registry, {"flagstream_delivery_ofrep_streams", "Open OFREP event streams.", ""}),
        refetches(registry, {"flagstream_delivery_ofrep_refetches_total",
                             "Messages that told OFREP providers to ask again.", ""}),
        aged_out(registry, {"flagstream_delivery_streams_aged_total",
                            "Streams that were ended because they had reached their greatest age.",
                            "side=\"ofrep\""}) {}

  static telemetry::MetricName evaluations(std::string_view route) {
    return {"flagstream_delivery_ofrep_evaluations_total", "OFREP requests answered with results.",
            fmt::format("route=\"{}\"", route)};
  }

  telemetry::Counter single;
  telemetry::Counter bulk;
  telemetry::Counter not_modified;
  telemetry::Counter refused;
  telemetry::Gauge streams;
  telemetry::Counter refetches;
  telemetry::Counter aged_out;
};

// What follows the flags route, decoded; nullopt: the request is for all flags.
std::optional<std::string_view> key_of(const http::Request& request) {
  std::string_view path = request.path;
  if (!path.starts_with(kFlags)) return std::nullopt;
  path.remove_prefix(kFlags.size());
  if (path.empty()) return std::nullopt;
  path.remove_prefix(1);
  // An answer can only name what is text; no flag has another key.
  return flags::Document::parse(json::quoted(path)) ? path : std::string_view();
}

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    out += is_plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

// Where a client that shows this credential is told of changes.  The address is kept and logged by
// browsers and proxies, so it holds no key: a key's digest opens nothing but the stream.
std::string events_uri(CredentialKind kind, std::string_view credential) {
  return kind == CredentialKind::ClientSideId
             ? fmt::format("{}?auth={}", kEvents, percent_encoded(credential))
             : fmt::format("{}?token={}", kEvents, sha256_hex(credential));
}

void make_error(http::Response& response, std::optional<std::string_view> key,
                const OfrepError& error) {
  response.body.clear();
  append_ofrep_error(response.body, key, error);
}

http::Response error_answer(int status, std::optional<std::string_view> key,
                            const OfrepError& error) {
  http::Response response = http::json_response(status, "");
  make_error(response, key, error);
  return response;
}

http::Response error_answer(const Error& error, std::optional<std::string_view> key) {
  http::Response response = http::error_response(error);
  make_error(response, key, {.code = OfrepCode::General, .details = error.what});
  return response;
}

// Answers of the server itself: in the protocol's shape, readable for browsers.
void complete_error(const http::Request& request, http::Response& response) {
  if (response.status >= 400) {
    make_error(response, key_of(request),
               {.code = OfrepCode::General,
                .details = fmt::format("refused with status {}", response.status)});
  }
  http::allow_cross_origin(request, response);
}

}  // namespace

struct Ofrep::State {
  State(OfrepSettings s, Access& a, Evaluators& e, Environments& all, const Clock& c,
        telemetry::Registry& registry)
      : settings(s),
        access(a),
        evaluators(e),
        environments(all),
        clock(c),
        tags(e),
        probe(registry) {}

  flags::EvaluationOptions options() const { return {.big_segments = evaluators.big_segments()}; }

  // Gives the answer of `handle`, readable for browsers of other origins.
  template <class Handle>
  io::Task<http::Response> answer(http::Request& request, Handle handle) {
    if (request.method == "OPTIONS") co_return http::preflight_response(request);
    http::Response response = co_await handle(request);
    if (response.status >= 400) probe.refused.add();
    http::allow_cross_origin(request, response);
    co_return response;
  }

  // Anybody who knows a client-side id could read what is meant for another context: secure mode
  // wants a proof, as in requests of client-side SDKs.
  Result<void> check_secure_mode(const http::Request& request, const Opened& opened,
                                 const flags::Context& context) const {
    if (opened.credential.kind != CredentialKind::ClientSideId) return {};
    return check_hash(*opened.flags, context, request.query_value("h").value_or(std::string()),
                      clock.now());
  }

  io::Task<http::Response> evaluate(http::Request& request) {
    const auto key = key_of(request);
    const auto credential = http::bearer_or_api_key(request.headers);
    const auto opened = co_await access.recent_opened_by(credential, request.client_address);
    if (!opened) co_return error_answer(opened.error(), key);
    const CredentialKind kind = opened->credential.kind;
    count_poll(settings.sdks, opened->flags->environment, kind, request);
    const auto context = read_ofrep_request(request.body);
    if (!context) co_return error_answer(400, key, context.error());
    const auto checked = check_secure_mode(request, *opened, *context);
    if (!checked) co_return error_answer(checked.error(), key);
    const auto evaluator = evaluators.get(opened->flags);
    if (evaluator == nullptr)
      co_return error_answer(Error(ErrorKind::DataLoss, "the flags cannot be evaluated"), key);
    if (!evaluators.is_ready(*evaluator)) {
      co_return error_answer(
          Error(ErrorKind::Unavailable, "members of big segments are being read"), key);
    }
    co_return key ? evaluate_one(*evaluator, kind, *key, *context)
                  : evaluate_all(*evaluator, kind, *credential, *context, request);
  }

  http::Response evaluate_one(const flags::Evaluator& evaluator, CredentialKind kind,
                              std::string_view key, const flags::Context& context) {
    const flags::Flag* flag = evaluator.find(key);
    const bool is_there = flag != nullptr && is_visible(*flag, kind);
    const auto evaluation = is_there
                                ? evaluator.evaluate(*flag, context, options())
                                : flags::Evaluation::failed(flags::EvaluationError::FlagNotFound);
    if (const auto error = ofrep_error_of(evaluation))
      return error_answer(error->code == OfrepCode::FlagNotFound ? 404 : 400, key, *error);
    http::Response response = http::json_response(200, "");
    append_ofrep_result(response.body, *flag, evaluation);
    probe.single.add();
    return response;
  }

  http::Response evaluate_all(const flags::Evaluator& evaluator, CredentialKind kind,
                              std::string_view credential, const flags::Context& context,
                              const http::Request& request) {
    std::string body = "{\"flags\":[";
    for (const flags::Flag& flag : evaluator.flags()) {
      if (!is_visible(flag, kind)) continue;
      if (body.back() != '[') body += ',';
      append_ofrep_result(body, flag, evaluator.evaluate(flag, context, options()));
    }
    body += fmt::format(
        R"(],"eventStreams":[{{"type":"sse","endpoint":{{"requestUri":"{}"}},"inactivityDelaySec":{}}}]}})",
        events_uri(kind, credential), kInactivitySeconds);
    const std::string etag = fmt::format("\"{}\"", xxh3_128(body).to_hex());
    const bool is_known = http::matches_if_none_match(request.headers, etag);
    (is_known ? probe.not_modified : probe.bulk).add();
    http::Response response;
    response.headers.add("ETag", etag);
    if (is_known) {
      response.status = 304;
      return response;
    }
    response.headers.add("Content-Type", "application/json");
    response.body = std::move(body);
    return response;
  }

  // Browsers cannot send headers here, so the address itself may say who asks.
  static std::vector<Credential> listener(const http::Request& request) {
    if (const auto token = request.query_value("token")) return Access::of_digest(*token);
    if (const auto id = request.query_value("auth"))
      return {Credential::of(CredentialKind::ClientSideId, *id)};
    const auto credential = http::bearer_or_api_key(request.headers);
    return credential ? Access::of_any_kind(*credential) : std::vector<Credential>();
  }

  io::Task<http::Response> listen(http::Request& request) {
    const auto opened = co_await access.opened_by(listener(request), request.client_address);
    if (!opened) co_return error_answer(opened.error(), std::nullopt);
    http::Response response = stream_response(*opened->flags);
    const std::string_view last = request.headers.find("Last-Event-ID").value_or("");
    response.stream = [this, id = opened->flags->environment, credential = opened->credential,
                       seen = std::string(last.substr(0, kTagBytesMax)),
                       connected = count_stream(settings.sdks, opened->flags->environment,
                                                opened->credential.kind,
                                                request)](http::StreamWriter& writer) mutable {
      return follow(id, std::move(credential), std::move(seen), writer);
    };
    co_return response;
  }

  io::Task<void> follow(EnvironmentId id, Credential credential, std::string seen,
                        http::StreamWriter& writer) {
    const OpenStream open(probe.streams);
    const auto hub = hubs.get(co_await io::net::this_coro::executor, id,
                              [this](const io::Executor& executor, EnvironmentId environment) {
                                return std::make_shared<RefetchHub>(*this, executor, environment);
                              });
    RefetchFeed feed(*hub, credential.kind, std::move(seen));
    co_await hub->run(std::move(credential), feed, writer);
  }

  // Streams that are told when to ask again.
  class RefetchHub final : public Hub {
   public:
    RefetchHub(State& all, const io::Executor& executor, EnvironmentId id)
        : Hub({all.settings.heartbeat, all.settings.max_stream_age, all.environments, all.clock,
               all.probe.aged_out},
              executor, id),
          all_(all) {}

    // Of what one kind of credential sees of one flag set.
    struct Told {
      Flags flags;
      std::string tag;
      http::SharedChunk refetch;
    };
    // Precondition: flags() is not null.
    const Told& told(CredentialKind kind) {
      Told& kept = told_[kind];
      if (kept.flags != flags()) {
        kept.flags = flags();
        kept.tag = all_.tags.get(kind, flags());
        kept.refetch = std::make_shared<const http::Chunk>(all_.refetch_message(kept.tag, false));
      }
      return kept;
    }
    http::SharedChunk first(const std::string& tag) const {
      return std::make_shared<const http::Chunk>(all_.refetch_message(tag, true));
    }
    void count_refetch() { all_.probe.refetches.add(); }

   private:
    State& all_;
    std::map<CredentialKind, Told> told_;
  };

  // One message for every state that differs from the one before it.  The first one closes the gap
  // between the client's evaluation and its connection; a client that comes back says what it has
  // seen.
  class RefetchFeed final : public Feed {
   public:
    RefetchFeed(RefetchHub& hub, CredentialKind kind, std::string seen)
        : hub_(hub), kind_(kind), seen_(std::move(seen)) {}

    std::optional<http::SharedChunk> next() override {
      if (hub_.flags() == nullptr) return std::nullopt;
      const RefetchHub::Told& now = hub_.told(kind_);
      const bool is_first = std::exchange(is_first_, false);
      if (now.tag == seen_) return http::SharedChunk();
      seen_ = now.tag;
      hub_.count_refetch();
      return is_first ? hub_.first(now.tag) : now.refetch;
    }

   private:
    RefetchHub& hub_;
    const CredentialKind kind_;
    std::string seen_;
    bool is_first_ = true;
  };

  // When a state came up that was there already is not known.
  std::string refetch_message(std::string_view tag, bool is_first) const {
    const std::string modified =
        is_first ? std::string()
                 : fmt::format(",\"lastModified\":{}", clock.now() / kMicrosPerSecond);
    return fmt::format(
        "id: {0}\nevent: message\ndata: {{\"type\":\"refetchEvaluation\",\"etag\":\"{0}\"{1}}}\n\n",
        tag, modified);
  }

  OfrepSettings settings;
  Access& access;
  Evaluators& evaluators;
  Environments& environments;
  const Clock& clock;
  ScopeTags tags;
  Probe probe;
  Hubs<RefetchHub> hubs;
};

Ofrep::Ofrep(OfrepSettings settings, Access& access, Evaluators& evaluators,
             Environments& environments, const Clock& clock, telemetry::Registry& registry)
    : state_(std::make_unique<State>(settings, access, evaluators, environments, clock, registry)) {
}
Ofrep::~Ofrep() = default;

std::vector<http::Route> Ofrep::routes() {
  State* state = state_.get();
  const http::Handler evaluate = [state](http::Request& request) {
    return state->answer(request, [state](http::Request& r) { return state->evaluate(r); });
  };
  const http::Handler listen = [state](http::Request& request) {
    return state->answer(request, [state](http::Request& r) { return state->listen(r); });
  };
  std::vector<http::Route> all;
  const auto add = [&all](std::string method, std::string pattern, http::Handler handler) {
    all.push_back({.method = std::move(method),
                   .pattern = std::move(pattern),
                   .body_bytes_max = kBodyBytesMax,
                   .handler = std::move(handler),
                   .complete_error = complete_error});
  };
  // The rest of the path is a flag's key, slashes included: not every provider escapes them.
  for (const char* method : {"POST", "OPTIONS"}) add(method, std::string(kFlags) + "/*", evaluate);
  for (const char* method : {"GET", "OPTIONS"}) add(method, std::string(kEvents), listen);
  return all;
}

}  // namespace flagstream::delivery
