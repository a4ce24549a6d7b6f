// What an evaluation answers, and its JSON.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace flagstream::flags {

enum class ReasonKind {
  Off,
  Fallthrough,
  TargetMatch,
  RuleMatch,
  PrerequisiteFailed,
  Error,
};

// Why there is no value.  SDKs know more kinds, which arise only inside them.
enum class EvaluationError { FlagNotFound, MalformedFlag, UserNotSpecified };

// From the best to the worst.
enum class BigSegmentsStatus { Healthy, Stale, StoreError, NotConfigured };

struct Reason {
  ReasonKind kind = ReasonKind::Error;
  EvaluationError error = EvaluationError::MalformedFlag;  // of Error
  std::uint32_t rule_index = 0;                            // of RuleMatch
  bool is_in_experiment = false;                           // of RuleMatch and Fallthrough
  std::optional<BigSegmentsStatus> big_segments = {};      // set if a big segment was consulted
  std::string_view rule_id = {};                           // of RuleMatch; may be empty
  std::string_view prerequisite_key = {};                  // of PrerequisiteFailed
};

// Views are into the flag that was evaluated.
struct Evaluation {
  std::string_view value = "null";  // JSON, as it was written
  std::optional<std::uint32_t> variation;
  // The reason must be in the events of this evaluation, because an experiment or a rule or the
  // fallthrough that is tracked decided it.
  bool is_experiment = false;
  Reason reason;

  static Evaluation failed(EvaluationError error) {
    Evaluation evaluation;
    evaluation.reason.error = error;
    return evaluation;
  }
};

// {"kind":...} with what belongs to the kind.
void append_reason(std::string& out, const Reason& reason);
// {"value":...,"variationIndex":...,"reason":{...}}; without a variation its index is null.
void append_evaluation(std::string& out, const Evaluation& evaluation);

}  // namespace flagstream::flags
