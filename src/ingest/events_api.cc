#include "ingest/events_api.h"

#include <utility>

#include "base/assert.h"
#include "events/envelope.h"
#include "events/payload.h"
#include "events/record.h"
#include "http/conditional.h"
#include "http/cross_origin.h"
#include "ingest/durable_append.h"
#include "ingest/image_beacon.h"
#include "io/crash_point.h"

namespace flagstream::ingest {
namespace {

using events::proto::PayloadHeader;

static_assert(static_cast<int>(events::RecordKind::Payload) ==
              static_cast<int>(log::RecordKind::Payload));
static_assert(static_cast<int>(events::RecordKind::Tick) ==
              static_cast<int>(log::RecordKind::Tick));
static_assert(static_cast<int>(events::RecordKind::Event) ==
              static_cast<int>(log::RecordKind::Event));
static_assert(static_cast<int>(events::RecordKind::Reject) ==
              static_cast<int>(log::RecordKind::Reject));

PayloadHeader::CredentialKind to_proto(CredentialKind kind) {
  switch (kind) {
    case CredentialKind::SdkKey:
      return PayloadHeader::SDK_KEY;
    case CredentialKind::MobileKey:
      return PayloadHeader::MOBILE_KEY;
    case CredentialKind::ClientSideId:
      return PayloadHeader::CLIENT_SIDE_ID;
  }
  return PayloadHeader::CREDENTIAL_UNKNOWN;
}

Error unknown_credential(CredentialKind kind) {
  if (kind == CredentialKind::ClientSideId)
    return Error(ErrorKind::NotFound, "no such environment");
  return Error(ErrorKind::Unauthenticated, "the credential is missing or unknown");
}

// An SDK takes most 4xx for good and falls silent until its process restarts: only what is known to
// be wrong may get one.  Everything else is 503; 429 is for whom only itself is in its way, see
// refuse().
Error as_answered(Error error) {
  switch (error.kind) {
    case ErrorKind::InvalidArgument:
    case ErrorKind::TooLarge:
    case ErrorKind::Unauthenticated:
    case ErrorKind::NotFound:
      return error;
    case ErrorKind::PermissionDenied:
    case ErrorKind::Conflict:
    case ErrorKind::ResourceExhausted:
    case ErrorKind::DataLoss:
    case ErrorKind::Indeterminate:
    case ErrorKind::Unavailable:
      return Error(ErrorKind::Unavailable, "events cannot be stored now");
  }
  return error;
}

// What comes with a body: the request's head, its record's.
constexpr std::size_t kPayloadOverhead = 1 << 10;

}  // namespace

EventsApi::EventsApi(Settings settings, Collaborators collaborators)
    : settings_(std::move(settings)),
      with_(std::move(collaborators)),
      probe_(with_.registry),
      admission_(settings_.limits.in_flight_bytes_max, settings_.limits.rates, with_.clock,
                 with_.registry) {
  FS_ASSERT(settings_.partitions > 0, "a topic has partitions");
}

std::vector<Endpoint> EventsApi::endpoints() {
  using enum CredentialKind;
  std::vector<Endpoint> all;
  const auto add = [&](const char* path, Source source) {
    const bool cross_origin = source.credential == ClientSideId;
    all.push_back(
        {.method = source.is_image ? "GET" : "POST",
         .path = path,
         .body_bytes_max = source.is_image ? 0 : settings_.limits.body_bytes_max,
         .cross_origin = cross_origin,
         .admit =
             [this, source](http::Request& request, std::optional<std::uint64_t> body_bytes) {
               return admit(request, body_bytes, source);
             },
         .handler = [this, source](http::Request& request) { return respond(request, source); }});
    if (!cross_origin) return;
    all.push_back({.method = "OPTIONS",
                   .path = path,
                   .body_bytes_max = 0,
                   .cross_origin = true,
                   .admit = {},
                   .handler = [](http::Request& request) -> io::Task<http::Response> {
                     co_return http::preflight_response(request);
                   }});
  };
  add("/bulk", {PayloadHeader::ANALYTICS, SdkKey});
  add("/diagnostic", {PayloadHeader::DIAGNOSTIC, SdkKey});
  add("/mobile", {PayloadHeader::ANALYTICS, MobileKey});
  add("/mobile/events", {PayloadHeader::ANALYTICS, MobileKey});
  add("/mobile/events/bulk", {PayloadHeader::ANALYTICS, MobileKey});
  add("/mobile/events/diagnostic", {PayloadHeader::DIAGNOSTIC, MobileKey});
  add("/events/bulk/{env}", {PayloadHeader::ANALYTICS, ClientSideId});
  add("/events/diagnostic/{env}", {PayloadHeader::DIAGNOSTIC, ClientSideId});
  add("/a/{image}", {PayloadHeader::ANALYTICS, ClientSideId, true});
  return all;
}

// Of an admitted payload: whose it is, and its memory.
class EventsApi::Ticket final : public http::BodyTicket {
 public:
  Ticket(EventsApi& api, const http::Request& request, Source source,
         const KnownEnvironment& environment)
      : api_(api),
        request_(request),
        source_(source),
        environment_(environment),
        in_flight_(api.admission_.in_flight(environment.id)) {}

  const KnownEnvironment& environment() const { return environment_; }
  Admission::InFlight& in_flight() { return in_flight_; }
  std::optional<http::Response> grow_to(std::size_t bytes) override {
    const Verdict verdict = in_flight_.grow_to(bytes + kPayloadOverhead);
    if (verdict == Verdict::Admitted) return std::nullopt;
    return api_.refuse(request_, source_, environment_.id, verdict);
  }

 private:
  EventsApi& api_;
  const http::Request& request_;
  Source source_;
  KnownEnvironment environment_;
  Admission::InFlight in_flight_;
};

io::Task<std::optional<http::Response>> EventsApi::admit(http::Request& request,
                                                         std::optional<std::uint64_t> body_bytes,
                                                         Source source) {
  // HEAD must change nothing, so it sends no events.
  if (source.is_image && request.method == "HEAD") co_return image_response();
  const std::uint64_t bytes = source.is_image ? request.query.size() : body_bytes.value_or(0);
  if (bytes > settings_.limits.body_bytes_max)
    co_return refuse(request, source, Error(ErrorKind::TooLarge, "the body is too large"));
  auto environment = co_await identify(request, source);
  if (!environment) co_return refuse(request, source, std::move(environment).error());
  const Verdict verdict = admission_.admit(environment->id, bytes);
  if (verdict != Verdict::Admitted) co_return refuse(request, source, environment->id, verdict);
  request.ticket = std::make_unique<Ticket>(*this, request, source, *environment);
  co_return std::nullopt;
}

http::Response EventsApi::refuse(const http::Request& request, Source source,
                                 EnvironmentId environment, Verdict verdict) {
  const bool is_own_fault = verdict != Verdict::Full;
  probe_.refused(verdict).add();
  if (is_own_fault) admission_.count_refusal(environment, verdict);
  http::Response response = http::json_response(
      is_own_fault ? 429 : 503,
      verdict == Verdict::RateLimited
          ? R"({"code":"rate_limited","message":"the environment sends faster than it may"})"
      : verdict == Verdict::OverShare
          ? R"({"code":"rate_limited","message":"the environment has its share of what may wait"})"
          : R"({"code":"unavailable","message":"events cannot be stored now"})");
  response.headers.add("Retry-After",
                       std::to_string(admission_.retry_after_seconds(environment, verdict)));
  if (source.credential == CredentialKind::ClientSideId)
    http::allow_cross_origin(request, response);
  return response;
}

http::Response EventsApi::refuse(const http::Request& request, Source source, Error error) {
  probe_.refused(error.kind).add();
  http::Response response = http::error_response(as_answered(std::move(error)));
  if (source.credential == CredentialKind::ClientSideId)
    http::allow_cross_origin(request, response);
  return response;
}

io::Task<http::Response> EventsApi::respond(http::Request& request, Source source) {
  const std::int64_t begin = with_.clock.monotonic();
  if (request.ticket == nullptr) {
    auto refused = co_await admit(request, request.body.size(), source);
    if (refused) co_return std::move(*refused);
  }
  auto& ticket = static_cast<Ticket&>(*request.ticket);
  // What has no body has still to be counted.
  if (auto refused = ticket.grow_to(request.body.size())) co_return std::move(*refused);
  auto taken = co_await take(request, source);
  request.ticket.reset();  // the answer may have to wait for its reader
  if (!taken) co_return refuse(request, source, std::move(taken).error());
  http::Response response;
  if (source.is_image) {
    response = image_response();
  } else {
    response.status = 202;
  }
  probe_.accepted.add();
  probe_.acknowledge_seconds.observe(static_cast<double>(with_.clock.monotonic() - begin) /
                                     kMicrosPerSecond);
  if (source.credential == CredentialKind::ClientSideId)
    http::allow_cross_origin(request, response);
  co_return response;
}

io::Task<Result<void>> EventsApi::take(http::Request& request, Source source) {
  const MicrosUtc received = with_.clock.now();
  auto& ticket = static_cast<Ticket&>(*request.ticket);
  const std::size_t body_bytes = (source.is_image ? request.query : request.body).size();
  if (source.is_image) {
    FS_CO_TRY(request.body, events_of_image(request));
  } else if (!request.headers.find("Content-Length")) {
    ticket.in_flight().charge_bytes(body_bytes);
  }
  const auto encoding =
      source.is_image ? ContentEncoding::Identity : content_encoding_of(request.headers);
  if (!encoding)
    co_return fail(ErrorKind::InvalidArgument, "Content-Encoding is neither gzip nor identity");
  FS_CO_TRY(const std::uint32_t event_count, check_body(request, *encoding));
  ticket.in_flight().charge_events(event_count);

  PayloadHeader header = header_of(request, source, ticket.environment(), received);
  header.set_gzip(*encoding == ContentEncoding::Gzip);
  FS_CO_TRY(co_await append(header, std::move(request.body)));
  probe_.events.add(event_count);
  probe_.bytes.add(body_bytes);
  co_return Result<void>();
}

io::Task<Result<KnownEnvironment>> EventsApi::identify(const http::Request& request,
                                                       Source source) {
  const CredentialKind kind = source.credential;
  std::optional<std::string_view> credential;
  if (kind == CredentialKind::ClientSideId) {
    std::string_view id = request.captures.empty() ? std::string_view() : request.captures[0];
    if (source.is_image) id = environment_of_image(id);
    if (!id.empty()) credential = id;
  } else {
    credential = http::authorization_key(request.headers);
  }
  if (!credential) co_return fail(unknown_credential(kind));
  auto environment = co_await with_.authenticate(kind, *credential, request.client_address);
  if (environment) co_return *environment;
  const ErrorKind error = environment.error().kind;
  if (error == ErrorKind::Unauthenticated || error == ErrorKind::NotFound)
    co_return fail(unknown_credential(kind));
  co_return fail(ErrorKind::Unavailable, "the credential cannot be looked up now");
}

Result<std::uint32_t> EventsApi::check_body(const http::Request& request,
                                            ContentEncoding encoding) const {
  if (request.body.empty()) return fail(ErrorKind::InvalidArgument, "the body is empty");
  std::string inflated;
  if (encoding == ContentEncoding::Gzip) FS_TRY(with_.inflate(request.body, inflated));
  FS_TRY(const events::Envelope envelope,
         events::scan_envelope(encoding == ContentEncoding::Gzip ? inflated : request.body));
  return envelope.events;
}

PayloadHeader EventsApi::header_of(const http::Request& request, Source source,
                                   const KnownEnvironment& environment, MicrosUtc received) const {
  PayloadHeader header;
  read_request_facts(request, header);
  header.set_receipt_id(Id128::random().to_bytes());
  header.set_received_us(received);
  header.set_environment_id(to_number(environment.id));
  header.set_credential(to_proto(source.credential));
  header.set_route(source.route);
  header.set_config_revision(environment.config_revision);
  header.set_gateway_id(settings_.gateway_id);
  if (source.is_image) header.set_schema(kImageSchema);
  return header;
}

io::Task<Result<void>> EventsApi::append(const PayloadHeader& header, std::string body) {
  const std::uint32_t slot = events::slot_of_identity(events::payload_identity(header));
  log::Batch batch;
  batch.add({events::encode_payload_head(header), body});
  body = std::string();  // the batch holds it now, and the wait may be long
  FS_CRASH_POINT("ingest.before_append");
  auto appended = co_await durable_append(with_.payloads, with_.clock,
                                          events::partition_of_slot(slot, settings_.partitions),
                                          std::move(batch));
  if (!appended) co_return fail(std::move(appended).error().in("append payload"));
  FS_CRASH_POINT("ingest.after_durable_before_ack");
  co_return Result<void>();
}

}  // namespace flagstream::ingest
