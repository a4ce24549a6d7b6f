#include "delivery/ofrep_messages.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "flags/document.h"
#include "json/json.h"

namespace flagstream::delivery {
namespace {

using flags::Members;
using flags::Node;
using flags::NodeType;

constexpr std::string_view kTargetingKey = "targetingKey";

std::string_view name_of(OfrepCode code) {
  switch (code) {
    case OfrepCode::ParseError:
      return "PARSE_ERROR";
    case OfrepCode::TargetingKeyMissing:
      return "TARGETING_KEY_MISSING";
    case OfrepCode::InvalidContext:
      return "INVALID_CONTEXT";
    case OfrepCode::FlagNotFound:
      return "FLAG_NOT_FOUND";
    case OfrepCode::General:
      return "GENERAL";
  }
  std::unreachable();
}

std::unexpected<OfrepError> refuse(OfrepCode code, std::string details) {
  return std::unexpected(OfrepError{.code = code, .details = std::move(details)});
}

// JSON text of a LaunchDarkly context, from the members of an OpenFeature one.
class ContextText {
 public:
  std::expected<std::string, OfrepError> of(const Node& context) {
    const Node& kind = flags::member(context, "kind");
    const bool is_multi = kind.type == NodeType::String && kind.text == "multi";
    const bool has_kind = kind.type == NodeType::String && flags::is_valid_kind(kind.text);
    out_ = "{\"kind\":";
    json::append_quoted(out_, is_multi ? "multi" : has_kind ? kind.text : flags::kUserKind);
    const auto added = is_multi ? add_kinds(context) : add_members(context);
    if (!added) return std::unexpected(added.error());
    out_ += '}';
    return std::move(out_);
  }

 private:
  // The targeting key as `key`, then every attribute; `kind` has been written or is not wanted.
  std::expected<void, OfrepError> add_members(const Node& node) {
    const auto key = key_of(node);
    if (!key) return std::unexpected(key.error());
    add("key", (*key)->source);
    for (const auto& [name, value] : Members(node)) {
      const bool is_unset_anonymous = name == "anonymous" && value.type == NodeType::Null;
      if (name != kTargetingKey && name != "key" && name != "kind" && !is_unset_anonymous)
        add(name, value.source);
    }
    return {};
  }

  std::expected<void, OfrepError> add_kinds(const Node& context) {
    for (const auto& [name, value] : Members(context)) {
      if (name == "kind" || name == kTargetingKey) continue;
      if (value.type != NodeType::Object)
        return refuse(OfrepCode::InvalidContext,
                      "invalid context: the " + std::string(name) + " is not an object");
      open(name);
      out_ += '{';
      if (const auto added = add_members(value); !added) return added;
      out_ += '}';
    }
    return {};
  }

  // `key` counts only where there is no targetingKey.
  static std::expected<const Node*, OfrepError> key_of(const Node& node) {
    for (const std::string_view name : {kTargetingKey, std::string_view("key")}) {
      const Node& key = flags::member(node, name);
      if (key.type == NodeType::String && !key.text.empty()) return &key;
      const bool is_missing = key.type == NodeType::Null || key.type == NodeType::String;
      if (name == kTargetingKey && !is_missing)
        return refuse(OfrepCode::InvalidContext, "targetingKey is not a string");
    }
    return refuse(OfrepCode::TargetingKeyMissing, "the context has no targetingKey");
  }

  void add(std::string_view name, std::string_view value) {
    open(name);
    out_ += value;
  }
  void open(std::string_view name) {
    if (out_.back() != '{') out_ += ',';
    json::append_quoted(out_, name);
    out_ += ':';
  }

  std::string out_;
};

std::string_view reason_of(const flags::Flag& flag, const flags::Reason& reason) {
  using flags::ReasonKind;
  const auto is_rollout = [](const flags::Outcome& outcome) {
    return std::holds_alternative<flags::Rollout>(outcome);
  };
  switch (reason.kind) {
    case ReasonKind::Off:
    case ReasonKind::PrerequisiteFailed:
      return "DISABLED";
    case ReasonKind::TargetMatch:
      return "TARGETING_MATCH";
    case ReasonKind::RuleMatch:
      return is_rollout(flag.rules.at(reason.rule_index).outcome) ? "SPLIT" : "TARGETING_MATCH";
    case ReasonKind::Fallthrough:
      return is_rollout(flag.fallthrough) ? "SPLIT" : "STATIC";
    case ReasonKind::Error:
      return "ERROR";
  }
  std::unreachable();
}

}  // namespace

std::expected<flags::Context, OfrepError> read_ofrep_request(std::string_view body) {
  const auto document = flags::Document::parse(body);
  if (!document) return refuse(OfrepCode::ParseError, document.error().what);
  const Node& root = (*document)->root();
  if (root.type != NodeType::Object)
    return refuse(OfrepCode::ParseError, "the request is not a JSON object");
  const Node& context = flags::member(root, "context");
  if (context.type == NodeType::Null)
    return refuse(OfrepCode::TargetingKeyMissing, "the request has no context");
  if (context.type != NodeType::Object)
    return refuse(OfrepCode::InvalidContext, "the context is not an object");
  const auto text = ContextText().of(context);
  if (!text) return std::unexpected(text.error());
  auto read = flags::Context::parse(*text);
  if (!read) return refuse(OfrepCode::InvalidContext, read.error().what);
  return *std::move(read);
}

void append_ofrep_error(std::string& out, std::optional<std::string_view> key,
                        const OfrepError& error) {
  out += '{';
  if (key) {
    out += "\"key\":";
    json::append_quoted(out, *key);
    out += ',';
  }
  out += "\"errorCode\":\"";
  out += name_of(error.code);
  out += "\",\"errorDetails\":";
  json::append_quoted(out, error.details);
  out += '}';
}

std::optional<OfrepError> ofrep_error_of(const flags::Evaluation& evaluation) {
  if (evaluation.reason.kind != flags::ReasonKind::Error) return std::nullopt;
  switch (evaluation.reason.error) {
    case flags::EvaluationError::FlagNotFound:
      return OfrepError{.code = OfrepCode::FlagNotFound, .details = "there is no such flag"};
    case flags::EvaluationError::MalformedFlag:
      // What is wrong with it would tell of its rules, which clients do not see.
      return OfrepError{.code = OfrepCode::ParseError, .details = "the flag is malformed"};
    case flags::EvaluationError::UserNotSpecified:
      return OfrepError{.code = OfrepCode::General, .details = "there is no context"};
  }
  std::unreachable();
}

void append_ofrep_result(std::string& out, const flags::Flag& flag,
                         const flags::Evaluation& evaluation) {
  if (const auto error = ofrep_error_of(evaluation))
    return append_ofrep_error(out, flag.key, *error);
  out += "{\"key\":";
  json::append_quoted(out, flag.key);
  // An off flag without an off variation: the application's default counts.
  if (evaluation.variation) {
    out += ",\"value\":";
    out += evaluation.value;
  }
  out += ",\"reason\":\"";
  out += reason_of(flag, evaluation.reason);
  out += '"';
  if (evaluation.variation) {
    out += ",\"variant\":\"";
    out += std::to_string(*evaluation.variation);
    out += '"';
  }
  out += ",\"metadata\":{\"version\":";
  out += std::to_string(flag.version);
  if (evaluation.reason.is_in_experiment) out += ",\"inExperiment\":true";
  out += "}}";
}

}  // namespace flagstream::delivery
