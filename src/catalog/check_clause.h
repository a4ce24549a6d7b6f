// What flags and segments may hold so that all SDKs read it alike.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "catalog/model.h"
#include "json/json.h"

namespace flagstream::catalog {

// 2^53: beyond it JavaScript loses digits.
inline constexpr std::int64_t kWholeMax = 9'007'199'254'740'992;

// All of these: InvalidArgument with what is wrong.

// Parses JSON without integers beyond kWholeMax.
Result<json::Value> exact_value(const std::string& text, const std::string& what);
Result<void> check_kind(std::string_view kind);
// A literal name, or a path of non-empty components with ~0 and ~1 as its only escapes.
Result<void> check_reference(std::string_view reference);
Result<void> check_clause(const Clause& clause);

}  // namespace flagstream::catalog
