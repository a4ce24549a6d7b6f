// Which environment a request of an SDK opens, with the status policy of
// docs/protocols/delivery.md.  Flag delivery and the events API both ask here.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "delivery/negative_cache.h"
#include "delivery/rate_limit.h"
#include "environment/environments.h"
#include "io/task.h"
#include "telemetry/metrics.h"

namespace flagstream::delivery {

using Flags = std::shared_ptr<const environment::FlagSet>;

inline constexpr std::chrono::milliseconds kRecent{20};

struct Opened {
  environment::Credential credential;
  Flags flags;
};

// Of look-ups that a credential costs which this gateway does not know: each waits until `config`
// has been read to its end. What is known costs none.
struct AccessLimits {
  Rate of_each_client{.per_second = 50, .burst = 100};
  Rate of_all{.per_second = 500, .burst = 1'000};
  std::chrono::milliseconds negative_age{1'000};  // how long an answer stands over the limit
};

// Thread-safe.  `environments` must outlive it.
class Access {
 public:
  Access(environment::Environments& environments, telemetry::Registry& registry,
         const AccessLimits& limits = {});

  // What the credential opens, current as of now: what `config` held at the call has been applied,
  // unless that takes too long.  An SDK takes 401 and 404 for good, so they are given only for what
  // is known to be unknown.  Errors: Unauthenticated (no key, an unknown or an expired one),
  // NotFound (an unknown client-side id), Unavailable (it cannot be told yet, or too many unknown
  // credentials came from `client_address`, or in all).
  io::Task<Result<Flags>> flags_for(environment::CredentialKind kind,
                                    std::optional<std::string_view> credential,
                                    std::string_view client_address = {});
  // The same, current as of at most kRecent ago: for requests that are too many to wait for the end
  // of `config` each.  Does not go back behind what anybody was given before.
  io::Task<Result<Flags>> recent_flags_for(environment::CredentialKind kind,
                                           std::optional<std::string_view> credential,
                                           std::string_view client_address = {});
  // The same without waiting where the credential is known: for requests to which it does not
  // matter whether the flags are the newest.
  io::Task<Result<Flags>> known_flags_for(environment::CredentialKind kind,
                                          std::string_view credential,
                                          std::string_view client_address);
  // The same for a request that does not say of which kind its credential is: the first of these
  // that opens something, waiting once for all.  Errors: Unauthenticated (none came, or all are
  // unknown), Unavailable.
  io::Task<Result<Opened>> opened_by(std::vector<environment::Credential> candidates,
                                     std::string_view client_address);
  // The same for what a text may be, current as of at most kRecent ago, as recent_flags_for() is.
  io::Task<Result<Opened>> recent_opened_by(std::optional<std::string_view> text,
                                            std::string_view client_address);
  // What a text may be.
  static std::vector<environment::Credential> of_any_kind(std::string_view text);
  // What keys the digest of a key, as 64 hexadecimal digits, may belong to; empty: it is none.
  static std::vector<environment::Credential> of_digest(std::string_view hex);
  // What it opens by what is known at this moment; null: nothing.
  Flags find(environment::CredentialKind kind, std::string_view credential) const {
    return find(environment::Credential::of(kind, credential));
  }
  Flags find(const environment::Credential& credential) const;

 private:
  // Of one kind of credential.
  struct Rejections {
    Rejections(telemetry::Registry& registry, std::string_view credential);

    telemetry::Counter missing;
    telemetry::Counter unknown;
    telemetry::Counter expired;
  };
  struct Probe {
    explicit Probe(telemetry::Registry& registry);
    Rejections& rejections(environment::CredentialKind kind);

    Rejections sdk_key;
    Rejections mobile_key;
    Rejections client_side_id;
    telemetry::Counter unavailable;
    telemetry::Counter stale;
    telemetry::Counter lookups;
    telemetry::Counter limited;
    telemetry::Counter negative_hits;
  };

  // Of a credential that is not known at this moment: an error if it may not be looked up now.
  Result<void> admit_lookup(const environment::Credential& credential,
                            std::string_view client_address);
  bool is_recent() const;
  std::optional<Opened> find_first(const std::vector<environment::Credential>& candidates) const;
  io::Task<Result<Opened>> look_up(std::vector<environment::Credential> candidates);
  Error reject(environment::CredentialKind kind, NegativeCache::Unknown unknown);

  environment::Environments& environments_;
  AccessLimits limits_;
  RateLimit each_client_;
  RateLimit all_;
  NegativeCache negative_;
  Probe probe_;
};

}  // namespace flagstream::delivery
