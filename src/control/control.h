// The role `control`: REST API, web page, queries, sign-in.  Edits go into its database and through
// an outbox into the topic `config`.  It serves on a Unix socket; the gateway forwards people to
// it.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "control/insight.h"
#include "http/server.h"
#include "io/file_system.h"
#include "log/log.h"
#include "telemetry/metrics.h"

namespace flagstream::control {

struct Settings {
  std::string socket_path;   // where it serves
  std::string catalog_path;  // its database; made if it does not exist
  std::string results_path;  // the results database; read only, may not exist yet
  std::string web_folder;    // the built page
  std::string
      admin_token_path;  // an access token for programs on this machine is kept here (mode 600)
  std::string gateway_socket = {};  // where the gateway says which SDKs are connected
  bool demo = false;                // make the demo project
  http::Limits limits = {};
  // How long to wait for a control that is letting go of the topic.
  std::chrono::milliseconds hand_over_patience{5'000};

  // Runs one query over the lake for at most as long as it thinks right;
  // {"columns":[..],"rows":[..],"truncated":b}. Called on threads of its own, two at once.  Empty:
  // queries are answered with 503.
  std::function<Result<std::string>(std::string sql)> sql = {};
  // Called about once a second while somebody looks.  Empty: health says nothing of a lake.
  std::function<Result<LakeStatus>()> lake = {};
};

class Control {
 public:
  // Takes ownership of the topic `config` (waits for a control that is going), brings the
  // catalog above it and publishes what waits; then listens.  All arguments must outlive it.
  static Result<std::unique_ptr<Control>> start(Settings settings, log::Log& log,
                                                io::FileSystem& files, const Clock& clock,
                                                telemetry::Registry& registry);
  // stop() if it was not called.
  ~Control();

  // Serves, and the log takes its changes.
  bool is_ready() const;
  // One JSON object.
  std::string status() const;
  // For the supervisor's announcement, one JSON object: "setupPath" of the one-time setup link
  // (empty when a browser is signed in already) and, of the demo, "sdkKey", "mobileKey" and
  // "clientSideId".
  const std::string& announcement() const;
  // Ends requests and streams.  What waits is published, and the log let go of, on destruction.
  void stop(std::chrono::milliseconds patience);

 private:
  class Parts;
  explicit Control(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace flagstream::control
