#include "flags/evaluation.h"

#include "json/json.h"

namespace flagstream::flags {
namespace {

std::string_view name_of(ReasonKind kind) {
  switch (kind) {
    case ReasonKind::Off:
      return "OFF";
    case ReasonKind::Fallthrough:
      return "FALLTHROUGH";
    case ReasonKind::TargetMatch:
      return "TARGET_MATCH";
    case ReasonKind::RuleMatch:
      return "RULE_MATCH";
    case ReasonKind::PrerequisiteFailed:
      return "PREREQUISITE_FAILED";
    case ReasonKind::Error:
      return "ERROR";
  }
  return "";
}

std::string_view name_of(EvaluationError error) {
  switch (error) {
    case EvaluationError::FlagNotFound:
      return "FLAG_NOT_FOUND";
    case EvaluationError::MalformedFlag:
      return "MALFORMED_FLAG";
    case EvaluationError::UserNotSpecified:
      return "USER_NOT_SPECIFIED";
  }
  return "";
}

std::string_view name_of(BigSegmentsStatus status) {
  switch (status) {
    case BigSegmentsStatus::Healthy:
      return "HEALTHY";
    case BigSegmentsStatus::Stale:
      return "STALE";
    case BigSegmentsStatus::StoreError:
      return "STORE_ERROR";
    case BigSegmentsStatus::NotConfigured:
      return "NOT_CONFIGURED";
  }
  return "";
}

void append_text(std::string& out, std::string_view name, std::string_view text) {
  out += ",\"";
  out += name;
  out += "\":";
  json::append_quoted(out, text);
}

}  // namespace

void append_reason(std::string& out, const Reason& reason) {
  out += R"({"kind":")";
  out += name_of(reason.kind);
  out += '"';
  if (reason.kind == ReasonKind::RuleMatch) {
    out += R"(,"ruleIndex":)";
    out += std::to_string(reason.rule_index);
    if (!reason.rule_id.empty()) append_text(out, "ruleId", reason.rule_id);
  }
  if (reason.kind == ReasonKind::PrerequisiteFailed)
    append_text(out, "prerequisiteKey", reason.prerequisite_key);
  if (reason.kind == ReasonKind::Error) append_text(out, "errorKind", name_of(reason.error));
  if (reason.is_in_experiment) out += R"(,"inExperiment":true)";
  if (reason.big_segments) append_text(out, "bigSegmentsStatus", name_of(*reason.big_segments));
  out += '}';
}

void append_evaluation(std::string& out, const Evaluation& evaluation) {
  out += R"({"value":)";
  out += evaluation.value;
  out += R"(,"variationIndex":)";
  out += evaluation.variation ? std::to_string(*evaluation.variation) : "null";
  out += R"(,"reason":)";
  append_reason(out, evaluation.reason);
  out += '}';
}

}  // namespace flagstream::flags
