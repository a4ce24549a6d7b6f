// Reading members of JSON objects that people and programs send, and writing objects member by
// member.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "catalog/model.h"
#include "json/json.h"

namespace flagstream::catalog {

// All of these: InvalidArgument naming the member when its type is wrong.  A null counts as absent.
Result<std::optional<std::string>> optional_text(const json::Object& object, std::string_view name);
Result<std::string> required_text(const json::Object& object, std::string_view name);
Result<bool> bool_or(const json::Object& object, std::string_view name, bool fallback);
Result<std::optional<std::int64_t>> optional_integer(const json::Object& object,
                                                     std::string_view name);
Result<std::vector<std::string>> texts(const json::Object& object, std::string_view name);
// The list of that name; null if it is absent.
Result<const json::Array*> optional_list(const json::Object& object, std::string_view name);

// An integer, also when it is written 1.0 or 1e3; nullopt for anything else.
std::optional<std::int64_t> integer_of(const json::Value& value);

Result<Clause> read_clause(const json::Value& value);
// Of the list `clauses`; none where it is absent.
Result<std::vector<Clause>> read_clauses(const json::Object& object);
Result<Rule> read_rule(const json::Value& value);
Result<Serve> read_serve(const json::Object& object);
Result<Target> read_target(const json::Value& value);
Result<Prerequisite> read_prerequisite(const json::Value& value);

// For people's tools, which also get its id, or for SDKs.
enum class ClauseId { With, Without };
std::string clause_json(const Clause& clause, ClauseId id);

// The reference tokens of a JSON Pointer (RFC 6901), unescaped.
Result<std::vector<std::string>> pointer_steps(std::string_view pointer);

// {"name":value,...} in the order of the calls.
class ObjectText {
 public:
  ObjectText& text(std::string_view name, std::string_view value);
  ObjectText& integer(std::string_view name, std::int64_t value);
  ObjectText& boolean(std::string_view name, bool value);
  ObjectText& raw(std::string_view name, std::string_view json);
  std::string done() &&;

 private:
  void begin(std::string_view name);
  std::string text_ = "{";
};

// [f(x),f(y),...]
template <class Range, class ToJson>
std::string list_text(const Range& range, ToJson to_json) {
  std::string out = "[";
  for (const auto& each : range) {
    if (out.size() > 1) out += ',';
    out += to_json(each);
  }
  out += ']';
  return out;
}

}  // namespace flagstream::catalog
