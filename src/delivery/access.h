// Which environment a request of an SDK reads, with the status policy of
// docs/protocols/delivery.md.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "environment/environments.h"
#include "io/task.h"
#include "telemetry/metrics.h"

namespace flagstream::delivery {

using Flags = std::shared_ptr<const environment::FlagSet>;

// What a credential opens whose kind was not known before.
struct Opened {
  environment::CredentialKind kind = environment::CredentialKind::SdkKey;
  Flags flags;
};

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
  // What it opens by what is known at this moment; null: nothing.
  Flags find(environment::CredentialKind kind, std::string_view credential) const;

  // A way to look up a credential; nullopt: it opens nothing.
  using Find = std::function<std::optional<Opened>()>;
  // flags_for() with that look-up, waiting once whatever kinds it tries.  Empty: no credential
  // came. Errors: Unauthenticated, Unavailable.
  io::Task<Result<Opened>> opened_by(Find find);
  // By what is known at this moment, like find().  Any kind of credential:
  std::optional<Opened> find_any(std::string_view credential) const;
  // One of a key's digests, as 64 hexadecimal digits:
  std::optional<Opened> find_by_digest(std::string_view hex) const;

 private:
  io::Task<Result<Opened>> current(Find find, Error unknown);

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
