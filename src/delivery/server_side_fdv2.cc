#include "delivery/server_side_fdv2.h"

#include <string>
#include <utility>

#include "delivery/stream.h"
#include "http/conditional.h"
#include "io/await_callback.h"

namespace flagstream::delivery {
namespace {

using environment::Credential;
using environment::CredentialKind;
using fdv2::Basis;
using fdv2::Intent;
using fdv2::Transfer;

std::optional<Basis> basis_in(const http::Request& request) {
  const auto text = request.query_value("basis");
  return text ? fdv2::read_selector(*text) : std::nullopt;
}

telemetry::MetricName transfers_named(const char* intent) {
  return {"flagstream_delivery_fdv2_transfers_total",
          "Transfers of the newer protocol, in polls and streams.",
          std::string("intent=\"") + intent + "\""};
}

// A strong tag names the very bytes: of this revision, by this intent, in this coding.
std::string tag_of(const environment::FlagSet& flags, Intent intent, bool is_gzip) {
  const char* const kind = intent == Intent::Full ? "f" : intent == Intent::Changes ? "c" : "n";
  return "\"" + fdv2::selector_of(fdv2::basis_of(flags)) + "-" + kind +
         (is_gzip ? "-gzip\"" : "\"");
}

}  // namespace

ServerSideFdv2::Probe::Probe(telemetry::Registry& registry)
    : streams(registry, {"flagstream_delivery_fdv2_streams",
                         "Open streams of server-side SDKs in the newer protocol.", ""}),
      full(registry, transfers_named("full")),
      changes(registry, transfers_named("changes")),
      none(registry, transfers_named("none")),
      not_modified(registry, {"flagstream_delivery_fdv2_polls_not_modified_total",
                              "Polls of the newer protocol answered 304.", ""}),
      ahead(registry,
            {"flagstream_delivery_fdv2_ahead_total",
             "Clients that had something newer than this gateway, which was behind.", ""}) {}

ServerSideFdv2::ServerSideFdv2(Streaming streaming, Access& access, ConnectedSdks* sdks,
                               telemetry::Registry& registry)
    : streaming_(streaming), access_(access), sdks_(sdks), probe_(registry) {}

void ServerSideFdv2::count(Intent intent) {
  (intent == Intent::Full      ? probe_.full
   : intent == Intent::Changes ? probe_.changes
                               : probe_.none)
      .add();
}

io::Task<ServerSideFdv2::Planned> ServerSideFdv2::plan(Flags flags, std::optional<Basis> basis) {
  bool is_newest = false;
  if (fdv2::is_ahead(*flags, basis)) {
    const EnvironmentId id = flags->environment;
    is_newest = co_await read_to_end();
    flags = streaming_.environments.flag_set(id);
    if (flags == nullptr) co_return Planned{};
  }
  const Transfer transfer = fdv2::plan(*flags, basis, is_newest);
  co_return Planned{.flags = std::move(flags), .transfer = transfer};
}

io::Task<bool> ServerSideFdv2::read_to_end() {
  const auto current = co_await io::await_callback<Result<void>>(
      [&](auto done) { streaming_.environments.read_to_end(std::move(done)); });
  if (!current) probe_.ahead.add();
  co_return current.has_value();
}

io::Task<http::Response> ServerSideFdv2::poll(http::Request& request) {
  const auto flags = co_await access_.flags_for(
      CredentialKind::SdkKey, http::authorization_key(request.headers), request.client_address);
  if (!flags) co_return http::error_response(flags.error());
  const Planned planned = co_await plan(*flags, basis_in(request));
  if (planned.flags == nullptr)
    co_return http::error_response(Error(ErrorKind::Unavailable, "the environment has just gone"));
  const bool is_gzip = http::accepts_gzip(request.headers);
  const std::string etag = tag_of(*planned.flags, planned.transfer.intent, is_gzip);
  http::Response response;
  response.headers.add("ETag", etag);
  response.headers.add("Vary", "Authorization, Accept-Encoding");
  name_environment(*planned.flags, response);
  count_poll(sdks_, planned.flags->environment, CredentialKind::SdkKey, request);
  if (http::matches_if_none_match(request.headers, etag)) {
    probe_.not_modified.add();
    response.status = 304;
    co_return response;
  }
  count(planned.transfer.intent);
  response.headers.add("Content-Type", "application/json");
  if (is_gzip) response.headers.add("Content-Encoding", "gzip");
  response.shared_body = is_gzip ? transfers_.gzip_poll(planned.flags, planned.transfer)
                                 : transfers_.poll(planned.flags, planned.transfer);
  co_return response;
}

io::Task<http::Response> ServerSideFdv2::stream(http::Request& request) {
  const auto key = http::authorization_key(request.headers);
  const auto flags =
      co_await access_.flags_for(CredentialKind::SdkKey, key, request.client_address);
  if (!flags) co_return http::error_response(flags.error());
  http::Response response = stream_response(**flags);
  response.stream = [this, id = (*flags)->environment,
                     credential = Credential::of(CredentialKind::SdkKey, *key),
                     basis = basis_in(request),
                     connected = count_stream(sdks_, (*flags)->environment, CredentialKind::SdkKey,
                                              request)](http::StreamWriter& writer) mutable {
    return follow(id, std::move(credential), basis, writer);
  };
  co_return response;
}

// What one client has, and what it lacks.
class ServerSideFdv2::TransferFeed final : public Feed {
 public:
  TransferFeed(ServerSideFdv2& all, Hub& hub, std::optional<Basis> basis)
      : all_(all), hub_(hub), has_(basis) {}

  // A client that is ahead has something that this gateway may still get to know.
  bool must_prepare() const override {
    if (is_prepared_ || hub_.flags() == nullptr || !fdv2::is_ahead(*hub_.flags(), has_))
      return false;
    const Clock& clock = all_.streaming_.clock;
    return is_first_ || looked_at_wake_ != hub_.wakes() || clock.monotonic() >= next_look_;
  }
  io::Task<void> prepare() override {
    is_prepared_ = true;
    looked_at_wake_ = hub_.wakes();
    is_newest_ = co_await all_.read_to_end();
    next_look_ =
        all_.streaming_.clock.monotonic() + kMicrosPerMilli * all_.streaming_.heartbeat.count();
  }

  std::optional<http::SharedChunk> next() override {
    is_prepared_ = false;
    const Flags& flags = hub_.flags();
    if (flags == nullptr) return std::nullopt;
    const Transfer transfer = fdv2::plan(*flags, has_, std::exchange(is_newest_, false));
    // Only the first transfer needs an intent; a full one brings its own.
    if (std::exchange(is_first_, false) && transfer.intent != Intent::Full) {
      if (transfer.intent == Intent::None) all_.count(Intent::None);
      return std::make_shared<const http::Chunk>(fdv2::intent_message(*flags, transfer.intent));
    }
    if (transfer.intent == Intent::None) {
      if (!fdv2::is_ahead(*flags, has_)) has_ = fdv2::basis_of(*flags);
      return http::SharedChunk();
    }
    has_ = fdv2::basis_of(*flags);
    all_.count(transfer.intent);
    return all_.transfers_.stream(flags, transfer);
  }

  http::SharedChunk goodbye() override {
    return std::make_shared<const http::Chunk>(
        fdv2::goodbye_message("the stream is old enough; come again"));
  }

 private:
  ServerSideFdv2& all_;
  Hub& hub_;
  std::optional<Basis> has_;
  std::uint64_t looked_at_wake_ = 0;
  std::int64_t next_look_ = 0;  // monotonic
  bool is_first_ = true;
  bool is_prepared_ = false;
  bool is_newest_ = false;  // what there is, for the next look
};

io::Task<void> ServerSideFdv2::follow(EnvironmentId id, Credential credential,
                                      std::optional<Basis> basis, http::StreamWriter& writer) {
  const OpenStream open(probe_.streams);
  const auto hub = hubs_.get(co_await io::net::this_coro::executor, id,
                             [&](const io::Executor& executor, EnvironmentId environment) {
                               return std::make_shared<Hub>(streaming_, executor, environment);
                             });
  TransferFeed feed(*this, *hub, basis);
  co_await hub->run(std::move(credential), feed, writer);
}

}  // namespace flagstream::delivery
