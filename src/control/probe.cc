#include "control/probe.h"

namespace flagstream::control {
namespace {

constexpr std::size_t kKindChars = 4;
constexpr std::size_t kShownChars = 4;
constexpr std::size_t kSecretCharsMin = 24;  // of what is hidden, so that the rest says nothing

telemetry::MetricName refused(const char* reason) {
  return {"flagstream_control_refused_total", "Requests that were refused, by reason.",
          std::string("reason=\"") + reason + "\""};
}

}  // namespace

Probe::Probe(telemetry::Registry& registry)
    : changes(registry,
              {"flagstream_control_changes_total", "Requests that changed the catalog.", ""}),
      unauthenticated(registry, refused("unauthenticated")),
      forbidden(registry, refused("forbidden")),
      invalid(registry, refused("invalid")),
      busy(registry, refused("busy")),
      failed(registry, refused("failed")),
      queries(registry, {"flagstream_control_sql_queries_total", "SQL queries over the lake.", ""}),
      sessions(registry,
               {"flagstream_control_sessions_total", "Sessions made by a setup link.", ""}) {}

void Probe::count_refusal(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::Unauthenticated:
      return unauthenticated.add();
    case ErrorKind::PermissionDenied:
      return forbidden.add();
    case ErrorKind::InvalidArgument:
    case ErrorKind::NotFound:
    case ErrorKind::Conflict:
    case ErrorKind::TooLarge:
      return invalid.add();
    case ErrorKind::ResourceExhausted:
      return busy.add();
    case ErrorKind::Unavailable:
    case ErrorKind::DataLoss:
    case ErrorKind::Indeterminate:
      return failed.add();
  }
}

std::string masked(std::string_view credential) {
  if (credential.size() < kKindChars + kSecretCharsMin + kShownChars) return "…";
  const bool has_kind = credential[kKindChars - 1] == '-';
  return std::string(has_kind ? credential.substr(0, kKindChars) : "") + "…" +
         std::string(credential.substr(credential.size() - kShownChars));
}

}  // namespace flagstream::control
