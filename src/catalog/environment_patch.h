// Edits of an environment by those who hold a token: its name, color, tags and settings.  JSON
// Patch (RFC 6902) and JSON merge patch (RFC 7396), the forms in which clients send them, over the
// members of the REST API.
#pragma once

#include <cstddef>
#include <string>

#include "base/error.h"
#include "catalog/model.h"
#include "json/json.h"

namespace flagstream::catalog {

struct EnvironmentPatch {
  std::string comment;
  json::Array operations;  // of a JSON Patch; a merge patch has become `replace` and `remove`
};

inline constexpr std::size_t kOperationsMax = 1'000;

// The body of a PATCH of an environment, told apart by shape: JSON Patch as a bare array or as
// {comment?, patch}, else a merge patch, as {comment?, merge} or bare.  InvalidArgument for any
// other shape, TooLarge for more than kOperationsMax.
Result<EnvironmentPatch> parse_environment_patch(const json::Value& body);

// The environment after all of it, in order; nothing but labels and settings differ.
// InvalidArgument says which operation cannot be applied and why; Conflict: a `test` failed.
Result<Environment> apply(const Environment& environment, const EnvironmentPatch& patch);

// Bounds of the settings: InvalidArgument.
Result<void> check_settings(const EnvironmentSettings& settings);

}  // namespace flagstream::catalog
