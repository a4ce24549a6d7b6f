// Which route serves a path.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/server.h"

namespace flagstream::http {

class Router {
 public:
  explicit Router(std::vector<Route> routes);

  struct Match {
    const Route* route = nullptr;
    const Route* nearest = nullptr;  // where only the method does not fit: the one that it misses
    int status = 404;                // without a route: 404 or 405
    std::vector<std::string> captures;  // percent-decoded
  };
  // `raw_path` begins with '/' and holds valid escapes only. HEAD is served by routes for GET.
  Match match(std::string_view method, std::string_view raw_path) const;
  // The methods that this path knows, as an Allow field lists them.
  std::string allowed(std::string_view raw_path) const;

 private:
  struct Compiled {
    Route route;
    std::vector<std::string> segments;
  };
  std::vector<Compiled> routes_;  // more exact patterns first
};

}  // namespace flagstream::http
