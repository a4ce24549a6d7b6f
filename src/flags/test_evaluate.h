// For tests: evaluations from JSON to JSON.
#pragma once

#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "flags/evaluator.h"

namespace flagstream::flags {

inline std::string evaluated(std::string_view document, std::string_view flag,
                             std::string_view context, const EvaluationOptions& options = {}) {
  const auto evaluator = Evaluator::compile(document);
  if (!evaluator) return "! " + evaluator.error().what;
  const auto parsed = Context::parse(context);
  if (!parsed) return "! " + parsed.error().what;
  std::string out;
  append_evaluation(out, (*evaluator)->evaluate(flag, *parsed, options));
  return out;
}

// A document with the flag `f`, which is on, has the variations "a" to "d" and falls through to
// "a". `more` is further members, each with a comma before it.
inline std::string flag_document(std::string_view more, std::string_view segments = "{}") {
  std::string out = R"({"flags":{"f":{"key":"f","version":1,"on":true,"offVariation":3,"salt":"s",)"
                    R"("variations":["a","b","c","d"],"fallthrough":{"variation":0})";
  return out.append(more).append(R"(}},"segments":)").append(segments).append("}");
}

inline std::string with_rule(std::string_view clauses, std::string_view segments = "{}") {
  return flag_document(
      std::string(R"(,"rules":[{"id":"r","variation":1,"clauses":[)").append(clauses).append("]}]"),
      segments);
}

inline constexpr std::string_view kFellThrough =
    R"({"value":"a","variationIndex":0,"reason":{"kind":"FALLTHROUGH"}})";
inline constexpr std::string_view kMatched =
    R"({"value":"b","variationIndex":1,"reason":{"kind":"RULE_MATCH","ruleIndex":0,"ruleId":"r"}})";
inline constexpr std::string_view kMalformed =
    R"({"value":null,"variationIndex":null,"reason":{"kind":"ERROR","errorKind":"MALFORMED_FLAG"}})";

// What one clause says about a context.
inline std::string clause_result(std::string_view clause, std::string_view context,
                                 std::string_view segments = "{}") {
  const std::string result = evaluated(with_rule(clause, segments), "f", context);
  if (result == kMatched) return "match";
  if (result == kFellThrough) return "no match";
  return result == kMalformed ? "malformed" : result;
}

}  // namespace flagstream::flags
