#include "ingest/probe.h"

namespace flagstream::ingest {
namespace {

telemetry::MetricName payloads(std::string labels) {
  return {.name = "flagstream_ingest_payloads_total",
          .help = "Requests with events, by what became of them.",
          .labels = std::move(labels)};
}

telemetry::MetricName refusals(const std::string& reason) {
  return payloads(R"(outcome="rejected",reason=")" + reason + "\"");
}

}  // namespace

Probe::Probe(telemetry::Registry& registry)
    : accepted(registry, payloads(R"(outcome="accepted",reason="")")),
      unauthenticated(registry, refusals("unauthenticated")),
      not_found(registry, refusals("unknown_environment")),
      invalid(registry, refusals("invalid")),
      too_large(registry, refusals("too_large")),
      exhausted(registry, refusals("exhausted")),
      rate_limited(registry, refusals("rate_limited")),
      over_share(registry, refusals("over_share")),
      unavailable(registry, refusals("unavailable")),
      indeterminate(registry, refusals("indeterminate")),
      events(registry, {"flagstream_ingest_events_total", "Events in accepted payloads.", ""}),
      bytes(registry,
            {"flagstream_ingest_bytes_total", "Bodies of accepted payloads, as received.", ""}),
      acknowledge_seconds(registry, {"flagstream_ingest_acknowledge_seconds",
                                     "From the whole request to its acknowledgement.", ""}) {}

telemetry::Counter& Probe::refused(Verdict verdict) {
  switch (verdict) {
    case Verdict::RateLimited:
      return rate_limited;
    case Verdict::OverShare:
      return over_share;
    case Verdict::Admitted:
    case Verdict::Full:
      return exhausted;
  }
  return exhausted;
}

telemetry::Counter& Probe::refused(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::Unauthenticated:
    case ErrorKind::PermissionDenied:
      return unauthenticated;
    case ErrorKind::NotFound:
      return not_found;
    case ErrorKind::InvalidArgument:
      return invalid;
    case ErrorKind::TooLarge:
      return too_large;
    case ErrorKind::ResourceExhausted:
      return exhausted;
    case ErrorKind::Indeterminate:
      return indeterminate;
    case ErrorKind::Conflict:
    case ErrorKind::DataLoss:
    case ErrorKind::Unavailable:
      return unavailable;
  }
  return unavailable;
}

}  // namespace flagstream::ingest
