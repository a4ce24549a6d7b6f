// The demo project: flags for examples/shop.
#pragma once

#include "base/error.h"
#include "catalog/catalog.h"

namespace flagstream::control {

inline constexpr std::string_view kDemoProject = "demo";
inline constexpr std::string_view kDemoEnvironment = "production";

// Makes the project `demo` with the environments `production` and `test` and its five flags.  What
// exists already is left as it is.  Returns the environment `production`, whose keys the example
// uses.
Result<catalog::Environment> seed_demo(catalog::Catalog& catalog);

}  // namespace flagstream::control
