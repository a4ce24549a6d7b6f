#include "delivery/access.h"

#include <array>
#include <charconv>
#include <string>
#include <utility>

#include <boost/asio/ip/address.hpp>

#include "base/clock.h"
#include "base/hash.h"
#include "io/await_callback.h"

namespace flagstream::delivery {
namespace {

using environment::Credential;
using environment::CredentialKind;

constexpr std::size_t kClientSlots = 4'096;
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

telemetry::MetricName rejection(std::string_view credential, std::string_view reason) {
  return {"flagstream_delivery_unauthorized_total",
          "Requests of SDKs, events included, that were refused for good because of their "
          "credential.",
          "credential=\"" + std::string(credential) + "\",reason=\"" + std::string(reason) + "\""};
}

// In the order in which a text is tried.
constexpr std::array kAnyKind = {CredentialKind::SdkKey, CredentialKind::MobileKey,
                                 CredentialKind::ClientSideId};

// Who shares a rate: an IPv4 address, or the network that one IPv6 customer has.
std::uint64_t client_of(std::string_view address) {
  namespace ip = boost::asio::ip;
  boost::system::error_code error;
  const ip::address parsed = ip::make_address(address, error);
  if (error || parsed.is_v4()) return xxh3_128(address).low;
  constexpr std::size_t kNetworkBytes = 8;
  const auto bytes = parsed.to_v6().to_bytes();
  const bool is_v4 = parsed.to_v6().is_v4_mapped();
  return xxh3_128(
             {reinterpret_cast<const char*>(bytes.data()), is_v4 ? bytes.size() : kNetworkBytes})
      .low;
}

}  // namespace

Access::Rejections::Rejections(telemetry::Registry& registry, std::string_view credential)
    : missing(registry, rejection(credential, "missing")),
      unknown(registry, rejection(credential, "unknown")),
      expired(registry, rejection(credential, "expired")) {}

Access::Probe::Probe(telemetry::Registry& registry)
    : sdk_key(registry, "sdk_key"),
      mobile_key(registry, "mobile_key"),
      client_side_id(registry, "client_side_id"),
      unavailable(registry, {"flagstream_delivery_unavailable_total",
                             "Requests answered 503 because their credential could not be looked "
                             "up.",
                             ""}),
      stale(registry, {"flagstream_delivery_stale_total",
                       "Connections served before the end of config was read.", ""}),
      lookups(registry, {"flagstream_delivery_unknown_lookups_total",
                         "Look-ups of credentials that were not known.", ""}),
      limited(registry, {"flagstream_delivery_unknown_limited_total",
                         "Requests with an unknown credential over the rate of look-ups.", ""}),
      negative_hits(registry,
                    {"flagstream_delivery_unknown_cached_total",
                     "Requests over the rate of look-ups whose credential was refused: it had "
                     "been found to be unknown within the last second.",
                     ""}) {}

Access::Rejections& Access::Probe::rejections(CredentialKind kind) {
  switch (kind) {
    case CredentialKind::SdkKey:
      return sdk_key;
    case CredentialKind::MobileKey:
      return mobile_key;
    case CredentialKind::ClientSideId:
      return client_side_id;
  }
  std::unreachable();
}

Access::Access(environment::Environments& environments, telemetry::Registry& registry,
               const AccessLimits& limits)
    : environments_(environments),
      limits_(limits),
      each_client_(limits.of_each_client, kClientSlots),
      all_(limits.of_all, 1),
      probe_(registry) {}

Flags Access::find(const Credential& credential) const {
  const auto id = environments_.find(credential);
  return id ? environments_.flag_set(*id) : nullptr;
}

io::Task<Result<Flags>> Access::flags_for(CredentialKind kind,
                                          std::optional<std::string_view> credential,
                                          std::string_view client_address) {
  if (!credential) {
    probe_.rejections(kind).missing.add();
    co_return fail(ErrorKind::Unauthenticated, "the " + std::string(name_of(kind)) + " is missing");
  }
  const auto name = Credential::of(kind, *credential);
  if (!environments_.find(name)) FS_CO_TRY(admit_lookup(name, client_address));
  FS_CO_TRY(Opened opened, co_await look_up({name}));
  co_return std::move(opened.flags);
}

io::Task<Result<Flags>> Access::known_flags_for(CredentialKind kind, std::string_view credential,
                                                std::string_view client_address) {
  const auto name = Credential::of(kind, credential);
  if (auto flags = find(name)) co_return flags;
  FS_CO_TRY(admit_lookup(name, client_address));
  FS_CO_TRY(Opened opened, co_await look_up({name}));
  co_return std::move(opened.flags);
}

io::Task<Result<Opened>> Access::opened_by(std::vector<Credential> candidates,
                                           std::string_view client_address) {
  if (candidates.empty()) {
    probe_.rejections(CredentialKind::SdkKey).missing.add();
    co_return fail(ErrorKind::Unauthenticated, "the credential is missing");
  }
  Result<void> admitted;
  if (!find_first(candidates)) admitted = admit_lookup(candidates.front(), client_address);
  if (admitted) {
    auto opened = co_await look_up(std::move(candidates));
    if (opened || opened.error().kind == ErrorKind::Unavailable) co_return opened;
  } else if (admitted.error().kind == ErrorKind::Unavailable) {
    co_return fail(std::move(admitted).error());
  }
  co_return fail(ErrorKind::Unauthenticated, "unknown credential");
}

io::Task<Result<Opened>> Access::recent_opened_by(std::optional<std::string_view> text,
                                                  std::string_view client_address) {
  if (text && is_recent()) {
    // One after the other: what a key is called by takes a hash.
    for (const CredentialKind kind : kAnyKind) {
      Credential credential = Credential::of(kind, *text);
      if (auto flags = find(credential))
        co_return Opened{.credential = std::move(credential), .flags = std::move(flags)};
    }
  }
  co_return co_await opened_by(text ? of_any_kind(*text) : std::vector<Credential>(),
                               client_address);
}

std::optional<Opened> Access::find_first(const std::vector<Credential>& candidates) const {
  for (const Credential& each : candidates) {
    if (auto flags = find(each)) return Opened{.credential = each, .flags = std::move(flags)};
  }
  return std::nullopt;
}

std::vector<Credential> Access::of_any_kind(std::string_view text) {
  std::vector<Credential> all;
  all.reserve(std::size(kAnyKind));
  for (const CredentialKind kind : kAnyKind) all.push_back(Credential::of(kind, text));
  return all;
}

std::vector<Credential> Access::of_digest(std::string_view hex) {
  const auto digest = bytes_of_hex(hex);
  if (!digest) return {};
  return {{.kind = CredentialKind::SdkKey, .name = *digest},
          {.kind = CredentialKind::MobileKey, .name = *digest}};
}

// A look-up is cheap, but all of them wait in one queue with requests whose credential is known.
Result<void> Access::admit_lookup(const Credential& credential, std::string_view client_address) {
  const std::int64_t now = environments_.clock().monotonic();
  if (each_client_.take(client_of(client_address), now) && all_.take(0, now)) {
    probe_.lookups.add();
    return {};
  }
  probe_.limited.add();
  const auto unknown = negative_.find(credential, environments_.credentials_version(), now);
  if (unknown) {
    probe_.negative_hits.add();
    return fail(reject(credential.kind, *unknown));
  }
  probe_.unavailable.add();
  return fail(ErrorKind::Unavailable, "too many unknown credentials: try again");
}

io::Task<Result<Opened>> Access::look_up(std::vector<Credential> candidates) {
  const std::uint64_t version = environments_.credentials_version();
  const auto current = co_await io::await_callback<Result<void>>(
      [&](auto done) { environments_.read_to_end(std::move(done)); });
  if (auto opened = find_first(candidates)) {
    if (!current) probe_.stale.add();
    co_return *std::move(opened);
  }
  if (!current || !environments_.has_configuration()) {
    probe_.unavailable.add();
    co_return fail(ErrorKind::Unavailable, "the configuration is not available yet");
  }
  const Credential& asked = candidates.front();
  const NegativeCache::Unknown unknown{.is_expired = environments_.has_expired(asked)};
  negative_.add(asked, unknown, version,
                environments_.clock().monotonic() + kMicrosPerMilli * limits_.negative_age.count());
  co_return fail(reject(asked.kind, unknown));
}

Error Access::reject(CredentialKind kind, NegativeCache::Unknown unknown) {
  Rejections& rejections = probe_.rejections(kind);
  (unknown.is_expired ? rejections.expired : rejections.unknown).add();
  if (kind == CredentialKind::ClientSideId)
    return Error(ErrorKind::NotFound, "unknown client-side id");
  return Error(ErrorKind::Unauthenticated,
               unknown.is_expired ? "the " + std::string(name_of(kind)) + " has expired"
                                  : "unknown " + std::string(name_of(kind)));
}

bool Access::is_recent() const { return environments_.age() <= kMicrosPerMilli * kRecent.count(); }

io::Task<Result<Flags>> Access::recent_flags_for(CredentialKind kind,
                                                 std::optional<std::string_view> credential,
                                                 std::string_view client_address) {
  if (credential && is_recent()) {
    if (auto flags = find(kind, *credential)) co_return flags;
  }
  co_return co_await flags_for(kind, credential, client_address);
}

}  // namespace flagstream::delivery
