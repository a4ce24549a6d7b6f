#include "delivery/server_side_fdv2.h"

#include <string>
#include <utility>

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
    const auto current = co_await io::await_callback<Result<void>>(
        [&](auto done) { streaming_.environments.read_to_end(std::move(done)); });
    is_newest = current.has_value();
    if (!is_newest) probe_.ahead.add();
    flags = streaming_.environments.flag_set(id);
    if (flags == nullptr) co_return Planned{};
  }
  const Transfer transfer = fdv2::plan(*flags, basis, is_newest);
  co_return Planned{.flags = std::move(flags), .transfer = transfer};
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
  response.stream =
      [this, what = Followed{(*flags)->environment, Credential::of(CredentialKind::SdkKey, *key)},
       basis = basis_in(request),
       connected = count_stream(sdks_, (*flags)->environment, CredentialKind::SdkKey, request)](
          http::StreamWriter& writer) { return follow(what, basis, writer); };
  co_return response;
}

// What one client has, and what it lacks.
class ServerSideFdv2::Feed : public StreamFeed {
 public:
  Feed(ServerSideFdv2& all, EnvironmentId id, std::optional<Basis> basis)
      : all_(all), id_(id), has_(basis) {}

  bool wants_look() const { return is_ahead_; }

  io::Task<bool> catch_up(http::StreamWriter& writer) {
    Flags flags = all_.streaming_.environments.flag_set(id_);
    if (flags == nullptr) co_return false;
    Planned planned = co_await all_.plan(std::exchange(flags, nullptr), has_);
    if (planned.flags == nullptr) co_return false;
    const Intent intent = planned.transfer.intent;
    is_ahead_ = intent == Intent::None && fdv2::is_ahead(*planned.flags, has_);
    // Only the first transfer needs an intent; a full one brings its own.
    if (std::exchange(is_first_, false) && intent != Intent::Full) {
      if (!co_await writer.write(fdv2::intent_message(*planned.flags, intent))) co_return false;
      if (intent == Intent::None) all_.count(intent);
    }
    if (!is_ahead_) has_ = fdv2::basis_of(*planned.flags);
    if (intent == Intent::None) co_return true;
    const Bytes bytes = all_.transfers_.stream(planned.flags, planned.transfer);
    planned.flags = nullptr;  // not kept while the client does not read
    if (!co_await writer.write(*bytes)) co_return false;
    all_.count(intent);
    co_return true;
  }

  io::Task<void> say_goodbye(http::StreamWriter& writer) {
    // Whether it arrives or not, the stream is over.
    (void)co_await writer.write(fdv2::goodbye_message("the stream is old enough; come again"));
  }

 private:
  ServerSideFdv2& all_;
  EnvironmentId id_;
  std::optional<Basis> has_;
  bool is_first_ = true;
  bool is_ahead_ = false;
};

io::Task<void> ServerSideFdv2::follow(const Followed& what, std::optional<Basis> basis,
                                      http::StreamWriter& writer) {
  const OpenStream open(probe_.streams);
  Feed feed(*this, what.environment, basis);
  co_await feed_stream(streaming_, what, feed, writer);
}

}  // namespace flagstream::delivery
