// What the two processes of a query tell each other.
//
// Request (the child's stdin): a JSON object.  Answer (its stdout): '+' and the result, or '-', the
// error's kind as one letter ('a' + its number) and its text; then a newline, without which the
// child has died on the way.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "lake/sql_query.h"

namespace flagstream::lake {

std::string encode_request(const SqlSettings& settings, std::string_view sql);

struct SqlRequest {
  SqlSettings settings;  // `program` is not part of it
  std::string sql;
};
Result<SqlRequest> decode_request(std::string_view text);

std::string encode_answer(const Result<std::string>& answer);
// nullopt: not a whole answer.
std::optional<Result<std::string>> decode_answer(std::string_view text);

}  // namespace flagstream::lake
