#include "http/tls_identity.h"

#include <limits>
#include <utility>

#include <fmt/format.h>

#include "telemetry/tell.h"

namespace flagstream::http {
namespace {

// The keys of session tickets live with the certificate's context: after a day they are made anew,
// with it.
constexpr std::int64_t kTicketKeysMicros = kMicrosPerDay;
constexpr std::int64_t kExpiryNoticeMicros = 14 * kMicrosPerDay;

telemetry::MetricName handshake(const std::string& server, const char* outcome) {
  return {"flagstream_http_tls_handshakes_total", "TLS handshakes, by how they ended.",
          fmt::format("server=\"{}\",outcome=\"{}\"", server, outcome)};
}

telemetry::MetricName reload_of(const std::string& server, const char* outcome) {
  return {"flagstream_http_tls_reloads_total",
          "Changed certificate files: taken, or refused because they cannot be served.",
          fmt::format("server=\"{}\",outcome=\"{}\"", server, outcome)};
}

telemetry::MetricName named(const std::string& server, const char* what, const char* help) {
  return {std::string("flagstream_http_tls_") + what, help, fmt::format("server=\"{}\"", server)};
}

}  // namespace

TlsProbe::TlsProbe(telemetry::Registry& r, const std::string& s)
    : completed(r, handshake(s, "completed")),
      resumed(r, handshake(s, "resumed")),
      plain_http(r, handshake(s, "plain_http")),
      version(r, handshake(s, "version")),
      cipher(r, handshake(s, "cipher")),
      alpn(r, handshake(s, "alpn")),
      refused(r, handshake(s, "refused")),
      malformed(r, handshake(s, "malformed")),
      closed(r, handshake(s, "closed")),
      timeout(r, handshake(s, "timeout")),
      reloads(r, reload_of(s, "taken")),
      reload_failures(r, reload_of(s, "refused")),
      handshake_waits(r,
                      named(s, "handshake_waits_total",
                            "Times that accepting paused because too many handshakes were open.")),
      remaining_seconds(r, named(s, "certificate_remaining_seconds",
                                 "Until the served certificate expires; +Inf without TLS.")),
      is_stale(r,
               named(s, "certificate_stale",
                     "1 while the certificate's files cannot be served and an earlier one is.")) {
  remaining_seconds.set(std::numeric_limits<double>::infinity());
}

void TlsProbe::count(HandshakeOutcome outcome) {
  switch (outcome) {
    case HandshakeOutcome::Completed:
      return completed.add();
    case HandshakeOutcome::Resumed:
      return resumed.add();
    case HandshakeOutcome::PlainHttp:
      return plain_http.add();
    case HandshakeOutcome::Version:
      return version.add();
    case HandshakeOutcome::Cipher:
      return cipher.add();
    case HandshakeOutcome::Alpn:
      return alpn.add();
    case HandshakeOutcome::Refused:
      return refused.add();
    case HandshakeOutcome::Malformed:
      return malformed.add();
    case HandshakeOutcome::Closed:
      return closed.add();
    case HandshakeOutcome::Timeout:
      return timeout.add();
  }
}

TlsIdentity::TlsIdentity(TlsSettings settings, const Clock& clock, TlsProbe& probe,
                         TlsCertificate first)
    : settings_(std::move(settings)),
      clock_(clock),
      probe_(probe),
      taken_at_(clock.monotonic()),
      certificate_(std::move(first)) {}

Result<std::unique_ptr<TlsIdentity>> TlsIdentity::open(TlsSettings settings, const Clock& clock,
                                                       TlsProbe& probe) {
  FS_TRY(TlsCertificate first, TlsCertificate::load(settings));
  std::unique_ptr<TlsIdentity> identity(
      new TlsIdentity(std::move(settings), clock, probe, std::move(first)));
  identity->told_at_ = clock.monotonic() - kMicrosPerDay;
  identity->tell_remaining();
  return identity;
}

TlsIdentity::~TlsIdentity() {
  if (!watcher_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  wakes_.notify_all();
  watcher_.join();
}

void TlsIdentity::watch() {
  watcher_ = std::thread([this] {
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        if (wakes_.wait_for(lock, settings_.poll_interval, [this] { return is_ending_; })) return;
      }
      reload();
    }
  });
}

void TlsIdentity::reload() {
  const std::lock_guard one_at_a_time(reload_mutex_);
  const FileStamp certificate = stamp_of(settings_.certificate_path);
  const FileStamp key = stamp_of(settings_.key_path);
  // Only reload() replaces it, so that it needs no lock to be read here.
  const bool is_same =
      certificate == certificate_.certificate_stamp() && key == certificate_.key_stamp();
  const bool is_old = clock_.monotonic() - taken_at_ > kTicketKeysMicros;
  if (!is_same || is_old) {
    if (const auto replaced = replace(); replaced) {
      last_failure_.clear();
      if (!is_same) probe_.reloads.add();
    } else if (const std::string failure =
                   fmt::format("{} {} {} {} {}", replaced.error().what, certificate.inode,
                               certificate.changed, key.inode, key.changed);
               failure != last_failure_) {
      last_failure_ = failure;
      probe_.reload_failures.add();
      telemetry::warn("the new TLS certificate cannot be served, the one before it stays",
                      {{"error", replaced.error()}});
    }
  } else {
    last_failure_.clear();  // put back as they were
  }
  probe_.is_stale.set(last_failure_.empty() ? 0 : 1);
  tell_remaining();
}

Result<void> TlsIdentity::replace() {
  FS_TRY(TlsCertificate next, TlsCertificate::load(settings_));
  const MicrosUtc now = clock_.now();
  if (next.valid_until() <= now && certificate_.valid_until() > now) {
    return fail(ErrorKind::InvalidArgument,
                fmt::format("the TLS certificate {} has expired", settings_.certificate_path));
  }
  taken_at_ = clock_.monotonic();
  const bool is_new = next.valid_until() != certificate_.valid_until() ||
                      next.certificate_stamp() != certificate_.certificate_stamp();
  {
    const std::lock_guard lock(mutex_);
    std::swap(certificate_, next);
  }
  if (is_new) {
    told_at_ = taken_at_ - kMicrosPerDay;
    telemetry::info("a new TLS certificate is served",
                    {{"path", settings_.certificate_path},
                     {"remaining_seconds", (certificate_.valid_until() - now) / kMicrosPerSecond}});
  }
  return {};
}

void TlsIdentity::tell_remaining() {
  const std::int64_t remaining = certificate_.valid_until() - clock_.now();
  probe_.remaining_seconds.set(static_cast<double>(remaining) / kMicrosPerSecond);
  const bool is_early = certificate_.valid_from() > clock_.now();
  if (remaining > kExpiryNoticeMicros && !is_early) return;
  const std::int64_t now = clock_.monotonic();
  const bool has_just_expired = remaining <= 0 && !is_told_expired_;
  if (now - told_at_ < kMicrosPerDay && !has_just_expired) return;
  told_at_ = now;
  is_told_expired_ = remaining <= 0;
  const auto level = remaining <= 0 || is_early ? telemetry::Level::Error : telemetry::Level::Warn;
  telemetry::tell(
      level,
      remaining <= 0 ? "the TLS certificate has expired"
      : is_early     ? "the TLS certificate is not valid yet"
                     : "the TLS certificate expires soon",
      {{"path", settings_.certificate_path}, {"remaining_seconds", remaining / kMicrosPerSecond}});
}

SslPointer TlsIdentity::new_session() const {
  const std::lock_guard lock(mutex_);
  return certificate_.new_session();
}

}  // namespace flagstream::http
