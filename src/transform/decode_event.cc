#include "transform/decode_event.h"

#include <limits>

#include "events/noise.h"

namespace flagstream::transform {
namespace {

namespace proto = events::proto;

constexpr std::int64_t kInt32Max = std::numeric_limits<std::int32_t>::max();

enum class Member {
  Other,
  Kind,
  Key,
  CreationDate,
  StartDate,
  EndDate,
  Context,
  ContextKeys,
  ContextKind,
  User,
  UserKey,
  Value,
  Default,
  Variation,
  Version,
  Reason,
  PrereqOf,
  SamplingRatio,
  Data,
  MetricValue,
  Url,
  Selector,
  Features,
  Evaluation,
  DroppedEvents,
};

// By size first: an event has many members, and names of one size are few.
Member member_of(std::string_view name) {
  switch (name.size()) {
    case 3:
      if (name == "key") return Member::Key;
      return name == "url" ? Member::Url : Member::Other;
    case 4:
      if (name == "kind") return Member::Kind;
      if (name == "data") return Member::Data;
      return name == "user" ? Member::User : Member::Other;
    case 5:
      return name == "value" ? Member::Value : Member::Other;
    case 6:
      return name == "reason" ? Member::Reason : Member::Other;
    case 7:
      if (name == "context") return Member::Context;
      if (name == "default") return Member::Default;
      if (name == "version") return Member::Version;
      if (name == "endDate") return Member::EndDate;
      return name == "userKey" ? Member::UserKey : Member::Other;
    case 8:
      if (name == "features") return Member::Features;
      if (name == "prereqOf") return Member::PrereqOf;
      return name == "selector" ? Member::Selector : Member::Other;
    case 9:
      if (name == "variation") return Member::Variation;
      return name == "startDate" ? Member::StartDate : Member::Other;
    case 10:
      return name == "evaluation" ? Member::Evaluation : Member::Other;
    case 11:
      if (name == "contextKeys") return Member::ContextKeys;
      if (name == "contextKind") return Member::ContextKind;
      return name == "metricValue" ? Member::MetricValue : Member::Other;
    case 12:
      return name == "creationDate" ? Member::CreationDate : Member::Other;
    case 13:
      if (name == "samplingRatio") return Member::SamplingRatio;
      return name == "droppedEvents" ? Member::DroppedEvents : Member::Other;
    default:
      return Member::Other;
  }
}

std::optional<proto::EventKind> kind_of(std::string_view kind) {
  if (kind == "feature") return proto::FEATURE;
  if (kind == "index") return proto::INDEX;
  if (kind == "custom") return proto::CUSTOM;
  if (kind == "summary") return proto::SUMMARY;
  if (kind == "identify") return proto::IDENTIFY;
  if (kind == "debug") return proto::DEBUG;
  if (kind == "click") return proto::CLICK;
  if (kind == "pageview") return proto::PAGEVIEW;
  if (kind == "migration_op") return proto::MIGRATION_OP;
  if (kind == "alias") return proto::ALIAS;
  if (kind.starts_with("diagnostic")) return proto::DIAGNOSTIC;
  return std::nullopt;
}

// What an event of that kind cannot do without, and whether its text is kept whole.
struct Needs {
  bool key = false;
  bool contexts = false;
  bool text = false;
};

Needs needs_of(proto::EventKind kind) {
  if (kind == proto::FEATURE || kind == proto::DEBUG || kind == proto::CUSTOM ||
      kind == proto::CLICK || kind == proto::PAGEVIEW) {
    return {.key = true, .contexts = true};
  }
  if (kind == proto::INDEX || kind == proto::IDENTIFY) return {.contexts = true};
  if (kind == proto::MIGRATION_OP) return {.contexts = true, .text = true};
  if (kind == proto::ALIAS) return {.key = true, .text = true};
  return {.text = kind == proto::DIAGNOSTIC};
}

Fault read_variation(ondemand::value& value, events::EventView& event) {
  std::optional<std::int64_t> variation;
  if (const Fault fault = read_whole(value, -kInt32Max, kInt32Max, variation)) return fault;
  if (variation) event.variation = static_cast<std::int32_t>(*variation);
  return {};
}

Fault read_version(ondemand::value& value, events::EventView& event) {
  std::optional<std::int64_t> version;
  if (const Fault fault = read_whole(value, -kScaledMax, kScaledMax, version)) return fault;
  if (version) event.version = *version;
  return {};
}

events::NoiseMask noise_of_contexts(const events::EventView& event) {
  for (const auto& context : event.contexts) {
    if (context.anonymous) return events::kNoiseAnonymous;
  }
  return 0;
}

}  // namespace

Fault EventReader::read(ondemand::object& object, const Source& source, EventList& out) {
  if (out.size() >= kRecordsPerPayloadMax) return RejectReason::TooLarge;
  first_ = out.size();
  source_ = &source;
  out_ = &out;
  out.emplace_back();
  members_ = {};
  use_ = {};
  context_kinds_.clear();
  contexts_.begin(source);
  if (const Fault fault = read_members(object, out)) return fault;
  return finish(object, out);
}

Fault EventReader::read_members(ondemand::object& object, EventList& out) {
  for (auto result : object) {
    ondemand::field field;
    if (std::move(result).get(field)) return kMalformed;
    std::string_view name;
    if (const Fault fault = read_name(field, source_->arena, name)) return fault;
    if (const Fault fault = read_member(name, field.value(), out)) return fault;
  }
  return {};
}

Fault EventReader::read_member(std::string_view name, ondemand::value& value, EventList& out) {
  switch (member_of(name)) {
    case Member::Other:
      return is_unsummarized_ ? read_use(name, value) : Fault();
    case Member::Kind:
      return read_string(value, source_->arena, members_.kind);
    case Member::Key:
      return read_name_value(value, source_->arena, own().key);
    case Member::CreationDate:
      return read_date(value, members_.date);
    case Member::StartDate:
      return read_date(value, members_.start_date);
    case Member::EndDate:
      return read_date(value, members_.end_date);
    case Member::Context:
      return contexts_.read_context(value);
    case Member::ContextKeys:
      return contexts_.read_context_keys(value);
    case Member::ContextKind:
      return contexts_.read_context_kind(value);
    case Member::User:
      return contexts_.read_user(value);
    case Member::UserKey:
      return contexts_.read_user_key(value);
    case Member::Value:
      return read_raw(value, own().value_json);
    case Member::Default:
      return read_raw(value, own().default_json);
    case Member::Variation:
      return read_variation(value, own());
    case Member::Version:
      return read_version(value, own());
    case Member::Reason:
      return read_reason(value);
    case Member::PrereqOf:
      return read_name_value(value, source_->arena, own().prereq_of);
    case Member::Data:
      return read_raw(value, own().data_json);
    case Member::MetricValue:
      return read_metric(value);
    case Member::Url:
      return read_name_value(value, source_->arena, own().url);
    case Member::Selector:
      return read_name_value(value, source_->arena, own().selector);
    case Member::Features:
      return read_features(value, out);
    case Member::Evaluation:
      return read_evaluation(value);
    case Member::SamplingRatio: {
      std::optional<std::int64_t> ratio;
      const Fault fault = read_whole(value, 0, kScaledMax, ratio);
      if (ratio) own().sampling_ratio = *ratio;
      return fault;
    }
    case Member::DroppedEvents: {
      std::optional<std::int64_t> dropped;
      const Fault fault = read_whole(value, 0, kScaledMax, dropped);
      own().dropped_events = dropped.value_or(0);
      return fault;
    }
  }
  return {};
}

Fault EventReader::read_use(std::string_view name, ondemand::value& value) {
  if (name == "trackEvents") return read_bool(value, use_.track_events);
  if (name == "excludeFromSummaries") return read_bool(value, use_.exclude_from_summaries);
  if (name == "debugEventsUntilDate") return read_date(value, use_.debug_until_us);
  return {};
}

Fault EventReader::read_metric(ondemand::value& value) {
  constexpr int kMicros = 6;
  const std::string_view token = token_of(value);
  if (token == "null") return {};
  const auto metric = scaled_number(token, kMicros);
  if (!metric) return RejectReason::WrongType;
  own().metric_micros = metric->value;
  if (metric->saturated) own().noise |= events::kNoiseMetricSaturated;
  return {};
}

// Of a migration_op; its members become those of the event.
Fault EventReader::read_evaluation(ondemand::value& value) {
  if (token_of(value) == "null") return {};
  ondemand::object evaluation;
  if (value.get_object().get(evaluation)) return RejectReason::WrongType;
  for (auto result : evaluation) {
    ondemand::field field;
    if (std::move(result).get(field)) return kMalformed;
    std::string_view name;
    if (const Fault fault = read_name(field, source_->arena, name)) return fault;
    Fault fault;
    const Member member = member_of(name);
    if (member == Member::Key) fault = read_name_value(field.value(), source_->arena, own().key);
    if (member == Member::Value) fault = read_raw(field.value(), own().value_json);
    if (member == Member::Default) fault = read_raw(field.value(), own().default_json);
    if (member == Member::Variation) fault = read_variation(field.value(), own());
    if (member == Member::Version) fault = read_version(field.value(), own());
    if (member == Member::Reason) fault = read_reason(field.value());
    if (fault) return fault;
  }
  return {};
}

// Few reasons hold inExperiment, so that most are not parsed.
Fault EventReader::read_reason(ondemand::value& value) {
  if (token_of(value) == "null") return {};
  ondemand::object reason;
  if (value.get_object().get(reason)) return RejectReason::WrongType;
  std::string_view text;
  if (reason.raw_json().get(text)) return kMalformed;
  text = without_blanks(text);
  if (const Fault fault = check_depth(text)) return fault;
  own().reason_json = text;
  if (text.find("inExperiment") == std::string_view::npos) return {};

  bool is_empty = false;
  if (reason.reset().get(is_empty)) return kMalformed;
  for (auto result : reason) {
    ondemand::field field;
    if (std::move(result).get(field)) return kMalformed;
    std::string_view name;
    if (const Fault fault = read_name(field, source_->arena, name)) return fault;
    if (name != "inExperiment") continue;
    std::optional<bool> in_experiment;
    if (const Fault fault = read_bool(field.value(), in_experiment)) return fault;
    own().in_experiment = in_experiment.value_or(false);
  }
  return {};
}

Fault EventReader::finish(ondemand::object& object, EventList& out) {
  if (!members_.kind) return RejectReason::MissingKind;
  const auto kind = kind_of(*members_.kind);
  if (!kind) return RejectReason::UnknownKind;
  own().kind = *kind;
  const Needs needs = needs_of(*kind);
  if (needs.key && own().key.empty()) return RejectReason::MissingKey;
  if (needs.contexts && contexts_.is_empty()) return RejectReason::MissingContext;
  if (const Fault fault = contexts_.finish(own())) return fault;
  finish_noise_and_date();

  if (needs.text) {
    std::string_view text;
    bool is_empty = false;
    if (object.reset().get(is_empty) || object.raw_json().get(text)) return kMalformed;
    text = without_blanks(text);
    if (const Fault fault = check_depth(text)) return fault;
    own().raw_json = text;
  }
  if (*kind == proto::SUMMARY) return finish_summary(out);
  out.resize(first_ + 1);  // counters outside a summary mean nothing
  return {};
}

void EventReader::finish_noise_and_date() {
  events::EventView& event = own();
  const proto::EventKind kind = event.kind;
  events::NoiseMask noise = event.noise | noise_of_contexts(event);
  if (kind == proto::FEATURE && !event.in_experiment) noise |= events::kNoiseNoExposure;
  if ((kind == proto::FEATURE || kind == proto::DEBUG) && !event.version) {
    noise |= events::kNoiseUnknownFlag;
    event.unknown_flag = true;
  }
  if (kind == proto::DEBUG) noise |= events::kNoiseDebugCopy;
  if (!event.prereq_of.empty()) noise |= events::kNoisePrerequisite;
  if (kind == proto::DIAGNOSTIC && event.dropped_events > 0) noise |= events::kNoiseSdkOverflow;
  event.time_us = members_.date.value_or(0);
  if (!members_.date) noise |= events::kNoiseInvalidDate;
  event.noise = noise;
}

}  // namespace flagstream::transform
