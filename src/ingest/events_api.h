// The events API: takes what SDKs send, and answers 202 once it is durable in the log.
//
// What it promises, and what each status means to an SDK: docs/protocols/events.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "events/event.pb.h"
#include "http/message.h"
#include "ingest/admission.h"
#include "ingest/probe.h"
#include "ingest/request_facts.h"
#include "io/task.h"
#include "log/log.h"
#include "telemetry/metrics.h"

namespace flagstream::ingest {

enum class CredentialKind { SdkKey, MobileKey, ClientSideId };

// The environment that a credential opens, and the revision of its configuration that this gateway
// holds.
struct KnownEnvironment {
  EnvironmentId id{};
  std::uint64_t config_revision = 0;
};

// Looks a credential up; before it calls one unknown it has read the configuration to its end.
// Unauthenticated or NotFound: the credential is known to open nothing.  Any other error: it cannot
// be told now.  Runs on the shard of the request; the texts live until the task is done.
using Authenticate = std::function<io::Task<Result<KnownEnvironment>>(
    CredentialKind, std::string_view credential, std::string_view client_address)>;

// Appends the inflated form of `gzip` to `out`.  InvalidArgument: damaged, truncated, or followed
// by more. TooLarge: over the limits of size or ratio.
using Inflate = std::function<Result<void>(std::string_view gzip, std::string& out)>;

struct Limits {
  std::size_t body_bytes_max = 5 << 20;  // as received
  // Memory of payloads that are received or wait for the log, of all requests together.
  std::size_t in_flight_bytes_max = 128 << 20;
  Rates rates;  // of each environment, when it starts
};

struct Settings {
  log::Partition partitions = 16;  // of the topic
  std::string gateway_id;
  Limits limits;
};

// One route of the HTTP server.
struct Endpoint {
  std::string method;
  std::string path;  // with {env} for the client-side id
  std::size_t body_bytes_max = 0;
  bool cross_origin =
      false;  // browsers call it: errors of the server itself need the CORS headers, too
  // http::Route::admit: whether the request's body may be received.  Without it the handler asks.
  std::function<io::Task<std::optional<http::Response>>(http::Request&,
                                                        std::optional<std::uint64_t> body_bytes)>
      admit = {};
  http::Handler handler;
};

// Thread-safe: handlers run on any shard.  Must outlive them.
class EventsApi {
 public:
  struct Collaborators {
    log::Appender& payloads;
    const Clock& clock;
    telemetry::Registry& registry;
    Authenticate authenticate;
    Inflate inflate;
  };

  EventsApi(Settings settings, Collaborators collaborators);

  std::vector<Endpoint> endpoints();
  // From now on.  Any thread.
  void set_rates(const Rates& rates) { admission_.set_rates(rates); }

 private:
  struct Source {
    events::proto::PayloadHeader::Route route = events::proto::PayloadHeader::ANALYTICS;
    CredentialKind credential = CredentialKind::SdkKey;
    bool is_image = false;  // the events are in the address of an image (image_beacon.h)
  };

  class Ticket;

  io::Task<std::optional<http::Response>> admit(http::Request& request,
                                                std::optional<std::uint64_t> body_bytes,
                                                Source source);
  http::Response refuse(const http::Request& request, Source source, EnvironmentId environment,
                        Verdict verdict);
  http::Response refuse(const http::Request& request, Source source, Error error);
  io::Task<http::Response> respond(http::Request& request, Source source);
  io::Task<Result<void>> take(http::Request& request, Source source);
  io::Task<Result<KnownEnvironment>> identify(const http::Request& request, Source source);
  // The number of events in the body.
  Result<std::uint32_t> check_body(const http::Request& request, ContentEncoding encoding) const;
  events::proto::PayloadHeader header_of(const http::Request& request, Source source,
                                         const KnownEnvironment& environment,
                                         MicrosUtc received) const;
  io::Task<Result<void>> append(const events::proto::PayloadHeader& header, std::string body);

  Settings settings_;
  Collaborators with_;
  Probe probe_;
  Admission admission_;
};

}  // namespace flagstream::ingest
