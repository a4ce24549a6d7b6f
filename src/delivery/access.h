// Which environment a request of an SDK reads, with the status policy of
// docs/protocols/delivery.md.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "environment/environments.h"
#include "io/task.h"
#include "telemetry/metrics.h"

namespace flagstream::delivery {

using Flags = std::shared_ptr<const environment::FlagSet>;

inline constexpr std::chrono::milliseconds kRecent{20};

// Thread-safe.  `environments` must outlive it.
class Access {
 public:
  Access(environment::Environments& environments, telemetry::Registry& registry);

  // What the credential opens, current as of now: what `config` held at the call has been applied,
  // unless that takes too long.  An SDK takes 401 and 404 for good, so they are given only for what
  // is known to be unknown.  Errors: Unauthenticated (no or an unknown key), NotFound (an unknown
  // client-side id), Unavailable (it cannot be told yet).
  io::Task<Result<Flags>> flags_for(environment::CredentialKind kind,
                                    std::optional<std::string_view> credential);
  // The same, current as of at most kRecent ago: for requests that are too many to wait for the end
  // of `config` each.  Does not go back behind what anybody was given before.
  io::Task<Result<Flags>> recent_flags_for(environment::CredentialKind kind,
                                           std::optional<std::string_view> credential);
  // What it opens by what is known at this moment; null: nothing.
  Flags find(environment::CredentialKind kind, std::string_view credential) const;

 private:
  struct Probe {
    explicit Probe(telemetry::Registry& registry);

    telemetry::Counter unauthorized;
    telemetry::Counter unavailable;
    telemetry::Counter stale;
  };

  environment::Environments& environments_;
  Probe probe_;
};

}  // namespace flagstream::delivery
