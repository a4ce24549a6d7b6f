#include "delivery/access.h"

#include <charconv>
#include <string>
#include <utility>

#include "io/await_callback.h"

namespace flagstream::delivery {
namespace {

using environment::CredentialKind;

constexpr CredentialKind kKinds[] = {CredentialKind::SdkKey, CredentialKind::MobileKey,
                                     CredentialKind::ClientSideId};
constexpr std::size_t kDigestBytes = 32;

std::optional<std::string> bytes_of_hex(std::string_view hex) {
  if (hex.size() != 2 * kDigestBytes) return std::nullopt;
  std::string bytes(kDigestBytes, '\0');
  for (std::size_t i = 0; i < kDigestBytes; ++i) {
    const char* const end = hex.data() + 2 * i + 2;
    unsigned char byte = 0;
    if (std::from_chars(end - 2, end, byte, 16).ptr != end) return std::nullopt;
    bytes[i] = static_cast<char>(byte);
  }
  return bytes;
}

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

std::optional<Opened> Access::find_any(std::string_view credential) const {
  for (const CredentialKind kind : kKinds) {
    if (auto flags = find(kind, credential)) return Opened{.kind = kind, .flags = std::move(flags)};
  }
  return std::nullopt;
}

std::optional<Opened> Access::find_by_digest(std::string_view hex) const {
  const auto digest = bytes_of_hex(hex);
  if (!digest) return std::nullopt;
  for (const CredentialKind kind : {CredentialKind::SdkKey, CredentialKind::MobileKey}) {
    const auto id = environments_.find_by_sha256(kind, *digest);
    auto flags = id ? environments_.flag_set(*id) : nullptr;
    if (flags != nullptr) return Opened{.kind = kind, .flags = std::move(flags)};
  }
  return std::nullopt;
}

io::Task<Result<Flags>> Access::flags_for(CredentialKind kind,
                                          std::optional<std::string_view> credential) {
  if (!credential) {
    probe_.unauthorized.add();
    co_return fail(ErrorKind::Unauthenticated, "the " + std::string(name_of(kind)) + " is missing");
  }
  const Find by_kind = [this, kind, credential]() -> std::optional<Opened> {
    auto flags = find(kind, *credential);
    return flags == nullptr ? std::nullopt
                            : std::optional(Opened{.kind = kind, .flags = std::move(flags)});
  };
  FS_CO_TRY(Opened opened, co_await current(by_kind, unknown(kind).error()));
  co_return std::move(opened.flags);
}

io::Task<Result<Opened>> Access::opened_by(Find find) {
  if (!find) {
    probe_.unauthorized.add();
    co_return fail(ErrorKind::Unauthenticated, "the credential is missing");
  }
  co_return co_await current(std::move(find),
                             Error(ErrorKind::Unauthenticated, "unknown credential"));
}

io::Task<Result<Opened>> Access::current(Find find, Error unknown) {
  const auto current = co_await io::await_callback<Result<void>>(
      [&](auto done) { environments_.read_to_end(std::move(done)); });
  if (auto opened = find()) {
    if (!current) probe_.stale.add();
    co_return *std::move(opened);
  }
  if (!current || !environments_.has_configuration()) {
    probe_.unavailable.add();
    co_return fail(ErrorKind::Unavailable, "the configuration is not available yet");
  }
  probe_.unauthorized.add();
  co_return fail(std::move(unknown));
}

}  // namespace flagstream::delivery
