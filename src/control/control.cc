#include "control/control.h"

#include <optional>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "catalog/json_fields.h"
#include "control/api.h"
#include "control/demo.h"
#include "control/live.h"
#include "control/probe.h"
#include "control/publish_loop.h"
#include "control/routes.h"
#include "control/secret_file.h"
#include "control/static_files.h"
#include "control/worker.h"
#include "http/forward.h"
#include "telemetry/tell.h"

namespace flagstream::control {
namespace {

constexpr std::chrono::milliseconds kHandOverPause{50};
constexpr std::size_t kCallsMax = 128;
constexpr std::size_t kQueryThreads = 2;
constexpr std::size_t kQueriesMax = 8;
constexpr std::string_view kLocalTokenName = "local";

using catalog::Catalog;
using catalog::Publisher;

PublishLoop::Open opener(const std::string& catalog_path, log::Log& log, const Clock& clock,
                         telemetry::Registry& registry) {
  return [catalog_path, &log, &clock, &registry]() -> Result<std::unique_ptr<Publisher>> {
    FS_TRY(Catalog catalog, Catalog::open(catalog_path, clock));
    return Publisher::open(std::move(catalog), log, registry);
  };
}

// Another control may still be letting go of the topic.
Result<std::unique_ptr<Publisher>> open_and_recover(const PublishLoop::Open& open,
                                                    const Clock& clock,
                                                    std::chrono::milliseconds patience) {
  const std::int64_t give_up = clock.monotonic() + patience.count() * kMicrosPerMilli;
  for (;;) {
    auto publisher = open();
    if (publisher) {
      FS_TRY((*publisher)->recover());
      return publisher;
    }
    if (publisher.error().kind != ErrorKind::Conflict || clock.monotonic() >= give_up)
      return publisher;
    std::this_thread::sleep_for(kHandOverPause);
  }
}

// Programs on this machine find their token in a file that only its owner may read.  One that works
// is kept: whoever read it goes on working when control restarts.
Result<void> keep_local_token(catalog::Access access, io::FileSystem& files,
                              const std::string& path) {
  if (path.empty()) return {};
  if (files.exists(path)) {
    FS_TRY(std::string token, files.read_file(path));
    while (token.ends_with('\n')) token.pop_back();
    FS_TRY(const auto known, access.find_token(token));
    if (known && known->role == catalog::Role::Admin) return {};
  }
  FS_TRY(access.remove_tokens(kLocalTokenName));
  FS_TRY(const std::string token, access.create_token(kLocalTokenName, catalog::Role::Admin));
  return write_secret_file(files, path, token + "\n");
}

}  // namespace

class Control::Parts {
 public:
  struct Given {
    Settings settings;
    Catalog catalog;
    Insight insight;
    StaticFiles files;
    std::unique_ptr<Publisher> publisher;
    PublishLoop::Open open;
  };
  Parts(Given given, const Clock& clock, telemetry::Registry& registry)
      : settings_(std::move(given.settings)),
        probe_(registry),
        catalog_(std::move(given.catalog)),
        insight_(std::move(given.insight)),
        files_(std::move(given.files)),
        publishing_(std::move(given.publisher), std::move(given.open)),
        api_(catalog_, [this] { has_changed(); }),
        catalog_worker_(1, kCallsMax),
        insight_worker_(1, kCallsMax),
        sql_worker_(kQueryThreads, kQueriesMax),
        to_gateway_({.socket_path = settings_.gateway_socket, .role = "gateway-status"}, registry),
        live_(insight_, insight_worker_, clock, registry),
        routes_({.catalog = catalog_,
                 .api = api_,
                 .insight = insight_,
                 .live = live_,
                 .files = files_,
                 .catalog_worker = catalog_worker_,
                 .insight_worker = insight_worker_,
                 .sql_worker = sql_worker_,
                 .sql = settings_.sql,
                 .gateway = to_gateway_.handler(),
                 .clock = clock,
                 .probe = probe_}) {}
  ~Parts() { stop(std::chrono::milliseconds(0)); }

  // Before anything is served: demo, token, setup link.
  Result<void> prepare(io::FileSystem& files) {
    catalog::ObjectText said;
    if (settings_.demo) {
      FS_TRY(const catalog::Environment demo, seed_demo(catalog_));
      publishing_.notify();
      said.text("sdkKey", demo.sdk_key).text("mobileKey", demo.mobile_key);
      said.text("clientSideId", demo.client_side_id);
      telemetry::info("the demo project is there",
                      {{"project", kDemoProject}, {"sdk_key", masked(demo.sdk_key)}});
    }
    catalog::Access access = catalog_.access();
    FS_TRY(keep_local_token(access, files, settings_.admin_token_path));
    FS_TRY(const bool needs_setup, access.needs_setup());
    std::string path;
    if (needs_setup) {
      FS_TRY(const std::string token, access.create_setup_token());
      path = setup_path(token);
    }
    said.text("setupPath", path);
    announcement_ = std::move(said).done();
    return {};
  }

  Result<void> listen(const Clock& clock, telemetry::Registry& registry) {
    FS_TRY(server_, http::Server::start({.name = "control",
                                         .listen = "unix:" + settings_.socket_path,
                                         .shards = 1,
                                         .limits = settings_.limits},
                                        routes_.all(), clock, registry));
    return {};
  }

  bool is_ready() const { return publishing_.is_healthy(); }
  const std::string& announcement() const { return announcement_; }
  std::string status() const {
    return fmt::format(
        R"({{"role":"control","ready":{},"refusedBusy":{}}})", is_ready(),
        catalog_worker_.refused() + insight_worker_.refused() + sql_worker_.refused());
  }

  // Requests end before what they use does.
  void stop(std::chrono::milliseconds patience) {
    if (server_ != nullptr) server_->stop(patience);
  }

 private:
  void has_changed() {
    probe_.changes.add();
    publishing_.notify();
  }

  Settings settings_;
  Probe probe_;
  Catalog catalog_;
  Insight insight_;
  StaticFiles files_;
  PublishLoop publishing_;
  Api api_;
  Worker catalog_worker_;
  Worker insight_worker_;
  Worker sql_worker_;
  http::Forwarder to_gateway_;
  Live live_;
  Routes routes_;
  std::string announcement_;
  std::unique_ptr<http::Server> server_;
};

Control::Control(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Control::~Control() = default;

Result<std::unique_ptr<Control>> Control::start(Settings settings, log::Log& log,
                                                io::FileSystem& files, const Clock& clock,
                                                telemetry::Registry& registry) {
  FS_TRY(StaticFiles page, StaticFiles::load(settings.web_folder));
  const PublishLoop::Open open = opener(settings.catalog_path, log, clock, registry);
  FS_TRY(auto publisher, open_and_recover(open, clock, settings.hand_over_patience));
  FS_TRY(Catalog catalog, Catalog::open(settings.catalog_path, clock));
  FS_TRY(keep_for_owner(settings.catalog_path));  // SDK keys stand in it in clear
  FS_TRY(Catalog reading, Catalog::open(settings.catalog_path, clock));
  FS_TRY(auto results, analytics::ResultsReader::open(settings.results_path));
  Insight insight({.catalog = std::move(reading),
                   .results = std::move(results),
                   .log = log,
                   .clock = clock,
                   .lake = settings.lake});
  auto parts = std::make_unique<Parts>(Parts::Given{.settings = std::move(settings),
                                                    .catalog = std::move(catalog),
                                                    .insight = std::move(insight),
                                                    .files = std::move(page),
                                                    .publisher = std::move(publisher),
                                                    .open = open},
                                       clock, registry);
  FS_TRY(parts->prepare(files));
  FS_TRY(parts->listen(clock, registry));
  return std::unique_ptr<Control>(new Control(std::move(parts)));
}

bool Control::is_ready() const { return parts_->is_ready(); }
std::string Control::status() const { return parts_->status(); }
const std::string& Control::announcement() const { return parts_->announcement(); }
void Control::stop(std::chrono::milliseconds patience) { parts_->stop(patience); }

}  // namespace flagstream::control
