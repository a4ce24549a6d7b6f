// Which SDK instances are connected to this gateway now, by what they say of themselves.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "base/id.h"
#include "environment/environments.h"
#include "http/message.h"
#include "telemetry/metrics.h"

namespace flagstream::delivery {

// Thread-safe.  An instance is what has one X-LaunchDarkly-Instance-Id, else one client address and
// user agent, in one environment.  It counts while it has a stream open, and for kPollWindow after
// each poll.
class ConnectedSdks {
  struct PerEnvironment;

 public:
  static constexpr std::size_t kInstancesMax = 20'000;  // of an environment; more are only counted
  static constexpr std::int64_t kPollWindow = 10 * kMicrosPerMinute;
  static constexpr std::size_t kRowsMax = 1'000;  // of a listing

  // An open stream; counts for as long as it lives.  Must not outlive the ConnectedSdks.
  class Connected {
   public:
    Connected() = default;
    Connected(Connected&& other) noexcept
        : sdks_(std::exchange(other.sdks_, nullptr)),
          environment_(std::move(other.environment_)),
          instance_(other.instance_) {}
    Connected& operator=(Connected&&) = delete;
    ~Connected();

   private:
    friend class ConnectedSdks;
    ConnectedSdks* sdks_ = nullptr;
    std::shared_ptr<PerEnvironment> environment_;
    Id128 instance_;
  };

  ConnectedSdks(const Clock& clock, telemetry::Registry& registry);

  // What is read of the request: its address and the headers that name the SDK, each cut to 64
  // bytes.
  Connected stream(EnvironmentId id, environment::CredentialKind kind,
                   const http::Request& request);
  void poll(EnvironmentId id, environment::CredentialKind kind, const http::Request& request);

  // {"items":[...],"instances":n,"uncounted":n}: one item for all instances that say the same of
  // themselves, the largest first (docs/protocols/rest.md).
  std::string list(EnvironmentId id) const;

 private:
  struct Description {
    environment::CredentialKind kind = environment::CredentialKind::SdkKey;
    std::string name;
    std::string version;
    std::string wrapper;
    std::string application_id;
    std::string application_version;
    friend auto operator<=>(const Description&, const Description&) = default;
  };
  struct Instance {
    Description description;
    std::uint32_t streams = 0;
    MicrosUtc seen_at = 0;
    std::int64_t polled_at = 0;  // monotonic; 0: never
  };
  struct PerEnvironment {
    mutable std::mutex mutex;
    std::unordered_map<Id128, Instance> instances;
    std::int64_t swept_at = 0;    // monotonic
    std::uint64_t uncounted = 0;  // open streams beyond the limit
  };
  struct Group;

  static Description describe(environment::CredentialKind kind, const http::Request& request);
  static Id128 identify(environment::CredentialKind kind, const http::Request& request);
  std::shared_ptr<PerEnvironment> of(EnvironmentId id);
  // Null: there is no room.  Needs the lock.
  Instance* find_or_add(PerEnvironment& in, const Id128& instance, environment::CredentialKind kind,
                        const http::Request& request);
  void sweep(PerEnvironment& in, std::int64_t now);
  void leave(PerEnvironment& from, const Id128& instance);
  bool is_there(const Instance& instance, std::int64_t now) const;

  const Clock& clock_;
  telemetry::Gauge instances_;
  telemetry::Counter beyond_;
  mutable std::shared_mutex mutex_;
  std::map<EnvironmentId, std::shared_ptr<PerEnvironment>> environments_;
};

// The same where there may be nobody who counts.
inline ConnectedSdks::Connected count_stream(ConnectedSdks* sdks, EnvironmentId id,
                                             environment::CredentialKind kind,
                                             const http::Request& request) {
  return sdks == nullptr ? ConnectedSdks::Connected() : sdks->stream(id, kind, request);
}
inline void count_poll(ConnectedSdks* sdks, EnvironmentId id, environment::CredentialKind kind,
                       const http::Request& request) {
  if (sdks != nullptr) sdks->poll(id, kind, request);
}

}  // namespace flagstream::delivery
