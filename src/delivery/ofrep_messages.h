// The JSON of the OpenFeature Remote Evaluation Protocol: what a request asks for and what it is
// answered.  docs/protocols/ofrep.md has the mapping.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "flags/context.h"
#include "flags/evaluation.h"
#include "flags/model.h"

namespace flagstream::delivery {

// Error codes of OpenFeature that a server gives.
enum class OfrepCode { ParseError, TargetingKeyMissing, InvalidContext, FlagNotFound, General };

struct OfrepError {
  OfrepCode code = OfrepCode::General;
  std::string details;
};

// The context of {"context":{...}}, for one flag or all.
std::expected<flags::Context, OfrepError> read_ofrep_request(std::string_view body);

// {"key":...,"errorCode":...,"errorDetails":...}; without a key for a whole bulk request.
void append_ofrep_error(std::string& out, std::optional<std::string_view> key,
                        const OfrepError& error);
// One flag's result: its value, reason, variant and version, or an error.
void append_ofrep_result(std::string& out, const flags::Flag& flag,
                         const flags::Evaluation& evaluation);
// What makes the whole evaluation fail; nullopt: it has a result, if not always a value.
std::optional<OfrepError> ofrep_error_of(const flags::Evaluation& evaluation);

}  // namespace flagstream::delivery
