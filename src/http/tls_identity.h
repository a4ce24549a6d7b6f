// The certificate that new connections are given: read again whenever its files change, so that a
// renewal needs no restart. Connections that stand keep the one they began with.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "http/tls.h"
#include "telemetry/metrics.h"

namespace flagstream::http {

struct TlsProbe {
  TlsProbe(telemetry::Registry& registry, const std::string& server);
  void count(HandshakeOutcome outcome);

  telemetry::Counter completed, resumed, plain_http, version, cipher, alpn, refused, malformed,
      closed, timeout;
  telemetry::Counter reloads, reload_failures;
  telemetry::Counter handshake_waits;
  telemetry::Gauge remaining_seconds, is_stale;
};

// Thread-safe.
class TlsIdentity {
 public:
  // InvalidArgument: see TlsCertificate::load(). An expired certificate is served, with an error in
  // the telemetry. The arguments must outlive it.
  static Result<std::unique_ptr<TlsIdentity>> open(TlsSettings settings, const Clock& clock,
                                                   TlsProbe& probe);
  // Ends the thread of watch().
  ~TlsIdentity();

  // Looks for new files every poll_interval, in a thread of its own.
  void watch();
  // Reads the files now if they have changed. What cannot be served (see load()), or has expired,
  // is told and counted once, and the certificate before it stays.
  void reload();
  SslPointer new_session() const;

 private:
  TlsIdentity(TlsSettings settings, const Clock& clock, TlsProbe& probe, TlsCertificate first);
  Result<void> replace();
  void take(TlsCertificate certificate);
  void tell_remaining();

  const TlsSettings settings_;
  const Clock& clock_;
  TlsProbe& probe_;
  std::mutex reload_mutex_;  // one reload() at a time
  std::string last_failure_;
  std::int64_t taken_at_ = 0;  // monotonic
  std::int64_t told_at_ = 0;   // monotonic; when the coming expiry was told
  bool is_told_expired_ = false;
  mutable std::mutex mutex_;  // over what is below
  TlsCertificate certificate_;
  std::condition_variable wakes_;
  bool is_ending_ = false;
  std::thread watcher_;
};

}  // namespace flagstream::http
