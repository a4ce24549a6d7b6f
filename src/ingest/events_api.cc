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
// be wrong may get one.  Everything else is 503, 429 included, so that no proxy takes the whole
// sender for too fast.
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

// Counts a body as in flight for as long as it lives.
class InFlight {
 public:
  InFlight(std::atomic<std::size_t>& total, telemetry::Gauge& gauge, std::size_t bytes)
      : total_(total),
        gauge_(gauge),
        bytes_(bytes),
        sum_(total.fetch_add(bytes, std::memory_order_relaxed) + bytes) {
    gauge_.add(static_cast<double>(bytes_));
  }
  ~InFlight() {
    total_.fetch_sub(bytes_, std::memory_order_relaxed);
    gauge_.add(-static_cast<double>(bytes_));
  }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

  bool exceeds(std::size_t limit) const { return sum_ > limit; }

 private:
  std::atomic<std::size_t>& total_;
  telemetry::Gauge& gauge_;
  std::size_t bytes_;
  std::size_t sum_;
};

}  // namespace

EventsApi::EventsApi(Settings settings, Collaborators collaborators)
    : settings_(std::move(settings)), with_(std::move(collaborators)), probe_(with_.registry) {
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
         .handler = [this, source](http::Request& request) { return respond(request, source); }});
    if (!cross_origin) return;
    all.push_back({.method = "OPTIONS",
                   .path = path,
                   .body_bytes_max = 0,
                   .cross_origin = true,
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

io::Task<http::Response> EventsApi::respond(http::Request& request, Source source) {
  // HEAD must change nothing, so it sends no events.
  if (source.is_image && request.method == "HEAD") co_return image_response();
  const std::int64_t begin = with_.clock.monotonic();
  const auto taken = co_await take(request, source);
  http::Response response;
  if (taken) {
    if (source.is_image) {
      response = image_response();
    } else {
      response.status = 202;
    }
    probe_.accepted.add();
    probe_.acknowledge_seconds.observe(static_cast<double>(with_.clock.monotonic() - begin) /
                                       kMicrosPerSecond);
  } else {
    probe_.refused(taken.error().kind).add();
    response = http::error_response(as_answered(taken.error()));
  }
  if (source.credential == CredentialKind::ClientSideId)
    http::allow_cross_origin(request, response);
  co_return response;
}

io::Task<Result<void>> EventsApi::take(http::Request& request, Source source) {
  const MicrosUtc received = with_.clock.now();
  const std::size_t body_bytes = (source.is_image ? request.query : request.body).size();
  const InFlight in_flight(in_flight_bytes_, probe_.in_flight_bytes, body_bytes);
  if (in_flight.exceeds(settings_.limits.in_flight_bytes_max)) {
    co_return fail(ErrorKind::ResourceExhausted, "too many bytes wait for the log");
  }
  if (body_bytes > settings_.limits.body_bytes_max)
    co_return fail(ErrorKind::TooLarge, "the body is too large");
  FS_CO_TRY(const KnownEnvironment environment, co_await identify(request, source));

  if (source.is_image) {
    FS_CO_TRY(request.body, events_of_image(request));
  }
  const auto encoding =
      source.is_image ? ContentEncoding::Identity : content_encoding_of(request.headers);
  if (!encoding)
    co_return fail(ErrorKind::InvalidArgument, "Content-Encoding is neither gzip nor identity");
  FS_CO_TRY(const std::uint32_t event_count, check_body(request, *encoding));

  PayloadHeader header = header_of(request, source, environment, received);
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
  auto appended = co_await durable_append(
      with_.payloads, events::partition_of_slot(slot, settings_.partitions), std::move(batch));
  if (!appended) co_return fail(std::move(appended).error().in("append payload"));
  FS_CRASH_POINT("ingest.after_durable_before_ack");
  co_return Result<void>();
}

}  // namespace flagstream::ingest
