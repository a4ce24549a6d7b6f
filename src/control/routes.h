// Every route of control, over what serves them.  Handlers run on the server's one shard and give
// what blocks to the workers.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "catalog/catalog.h"
#include "control/api.h"
#include "control/insight.h"
#include "control/live.h"
#include "control/probe.h"
#include "control/static_files.h"
#include "control/worker.h"
#include "http/server.h"

namespace flagstream::control {

class Routes {
 public:
  struct Parts {
    catalog::Catalog& catalog;  // used on `catalog_worker` only
    Api& api;                   // likewise
    Insight& insight;           // used on `insight_worker` only
    Live& live;
    const StaticFiles& files;
    Worker& catalog_worker;
    Worker& insight_worker;
    Worker& sql_worker;
    const std::function<Result<std::string>(std::string)>& sql;
    http::Handler gateway;  // forwards to the gateway's operators' routes
    const Clock& clock;
    Probe& probe;
  };
  explicit Routes(Parts parts) : parts_(std::move(parts)) {}

  // Must not outlive this object.
  std::vector<http::Route> all();

 private:
  using Answer = io::Task<Result<http::Response>>;
  using Method = Answer (Routes::*)(http::Request&);
  http::Route route(std::string method, std::string pattern, std::size_t body_bytes_max,
                    Method answer);
  http::Response finish(Result<http::Response> answer);

  // Unauthenticated, or PermissionDenied for fewer rights than `least`.
  io::Task<Result<void>> admit(const http::Request& request, catalog::Role least);
  // The environment of a request that names it by ?project&environment.
  io::Task<Result<catalog::Environment>> environment_of(const http::Request& request);

  Answer usage(http::Request& request);
  Answer sdks(http::Request& request);
  Answer health(http::Request& request);
  Answer live(http::Request& request);
  Answer sql(http::Request& request);
  Answer setup(http::Request& request);
  Answer make_setup_link(http::Request& request);
  Answer sign_out(http::Request& request);
  Answer page(http::Request& request);

  Parts parts_;
};

// The path of the one-time link that signs a browser in.
std::string setup_path(std::string_view setup_token);

}  // namespace flagstream::control
