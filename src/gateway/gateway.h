// The role `gateway`: the front door.  Delivers flags, accepts events, forwards people to control.
// It depends on the log and on its own saved configuration, and on nothing else.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "delivery/server_side.h"
#include "http/server.h"
#include "ingest/events_api.h"
#include "io/file_system.h"
#include "log/log.h"
#include "telemetry/metrics.h"

namespace flagstream::gateway {

struct Settings {
  std::string listen;  // without TLS; empty: nowhere
  http::TlsSettings tls;
  http::TrustedProxies trusted_proxies;
  std::uint32_t shards = 1;
  http::Limits limits;
  std::string state_path;  // last known configuration
  std::chrono::milliseconds catch_up_deadline{
      2'000};                  // how long a request waits for the newest one
  std::string control_socket;  // where /api/ and /ui/ are forwarded to
  std::string gateway_id;
  delivery::Settings delivery;
  log::TopicOptions payloads;
  ingest::Limits events;
  bool status_page = false;  // whether strangers may see /status
  std::string version;       // of the program
};

class Gateway {
 public:
  // Takes ownership of the topic `payloads` (waits up to 5 s for a gateway that is going), then
  // listens.  All arguments must outlive it.
  static Result<std::unique_ptr<Gateway>> start(Settings settings, log::Log& log,
                                                io::FileSystem& files, const Clock& clock,
                                                telemetry::Registry& registry);
  ~Gateway();

  // With the real port; empty: none.
  const std::string& address() const;
  const std::string& tls_address() const;
  // See http::Server.
  void reload_certificate();
  // Is not ready from now on, and serves as before: whoever asks /readyz sends no new work.
  void begin_leaving();
  // What may change while it runs.  Any thread.
  void set_rates(const ingest::Rates& rates);
  void set_retention(std::chrono::microseconds retention, std::uint64_t retention_bytes);
  // Serves with a configuration; how old that may be is in `config_age_seconds` of status().
  bool is_ready() const;
  // One JSON object.
  std::string status() const;
  // What only operators and control may see: /status/environments, and the SDKs of an environment
  // by its number, /sdks/{environment}.  Must not outlive the gateway.
  std::vector<http::Route> operator_routes();
  void stop(std::chrono::milliseconds patience);

 private:
  class Parts;
  explicit Gateway(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace flagstream::gateway
