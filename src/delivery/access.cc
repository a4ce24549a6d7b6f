#include "delivery/access.h"

#include <string>

#include "io/await_callback.h"

namespace flagstream::delivery {
namespace {

using environment::CredentialKind;

std::string_view name_of(CredentialKind kind) {
  switch (kind) {
    case CredentialKind::SdkKey:
      return "SDK key";
    case CredentialKind::MobileKey:
      return "mobile key";
    case CredentialKind::ClientSideId:
      return "client-side id";
  }
  std::unreachable();
}

std::unexpected<Error> unknown(CredentialKind kind) {
  return fail(
      kind == CredentialKind::ClientSideId ? ErrorKind::NotFound : ErrorKind::Unauthenticated,
      "unknown " + std::string(name_of(kind)));
}

}  // namespace

Access::Probe::Probe(telemetry::Registry& registry)
    : unauthorized(registry, {"flagstream_delivery_unauthorized_total",
                              "Requests without a credential or with an unknown one.", ""}),
      unavailable(registry,
                  {"flagstream_delivery_unavailable_total", "Requests answered 503.", ""}),
      stale(registry, {"flagstream_delivery_stale_total",
                       "Connections served before the end of config was read.", ""}) {}

Access::Access(environment::Environments& environments, telemetry::Registry& registry)
    : environments_(environments), probe_(registry) {}

Flags Access::find(CredentialKind kind, std::string_view credential) const {
  const auto id = environments_.find(kind, credential);
  return id ? environments_.flag_set(*id) : nullptr;
}

io::Task<Result<Flags>> Access::flags_for(CredentialKind kind,
                                          std::optional<std::string_view> credential) {
  if (!credential) {
    probe_.unauthorized.add();
    co_return fail(ErrorKind::Unauthenticated, "the " + std::string(name_of(kind)) + " is missing");
  }
  const auto current = co_await io::await_callback<Result<void>>(
      [&](auto done) { environments_.read_to_end(std::move(done)); });
  if (auto flags = find(kind, *credential)) {
    if (!current) probe_.stale.add();
    co_return flags;
  }
  if (!current || !environments_.has_configuration()) {
    probe_.unavailable.add();
    co_return fail(ErrorKind::Unavailable, "the configuration is not available yet");
  }
  probe_.unauthorized.add();
  co_return unknown(kind);
}

io::Task<Result<Flags>> Access::recent_flags_for(CredentialKind kind,
                                                 std::optional<std::string_view> credential) {
  if (credential && environments_.age() <= 1'000 * kRecent.count()) {
    if (auto flags = find(kind, *credential)) co_return flags;
  }
  co_return co_await flags_for(kind, credential);
}

}  // namespace flagstream::delivery
