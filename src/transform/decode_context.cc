#include "transform/decode_context.h"

#include <algorithm>

namespace flagstream::transform {
namespace {

bool is_kind_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

bool is_possible_kind(std::string_view kind) {
  if (kind.empty() || kind.size() > kNameBytesMax || kind == "kind" || kind == "multi")
    return false;
  return std::all_of(kind.begin(), kind.end(), is_kind_character);
}

bool is_null_token(ondemand::value& value) { return token_of(value) == "null"; }

}  // namespace

void ContextReader::begin(events::proto::Event& event) {
  event_ = &event;
  form_ = Form::None;
  anonymous_user_ = false;
}

bool ContextReader::replaces(Form form) {
  if (form < form_) return false;
  form_ = form;
  event_->clear_contexts();
  return true;
}

Fault ContextReader::read_context(ondemand::value& value) { return read_object(value, {}); }

Fault ContextReader::read_user(ondemand::value& value) { return read_object(value, "user"); }

Fault ContextReader::read_context_keys(ondemand::value& value) {
  if (is_null_token(value) || !replaces(Form::ContextKeys)) return {};
  ondemand::object object;
  if (value.get_object().get(object)) return RejectReason::InvalidContext;
  for (auto result : object) {
    ondemand::field field;
    if (std::move(result).get(field)) return kMalformed;
    Candidate candidate{.valid = true};
    if (const Fault fault = read_name(field, candidate.kind)) return fault;
    std::optional<std::string_view> key;
    if (const Fault fault = read_string(field.value(), key)) return fault;
    candidate.key = key.value_or("");
    if (const Fault fault = add(candidate)) return fault;
  }
  return {};
}

Fault ContextReader::read_user_key(ondemand::value& value) {
  std::optional<std::string_view> key;
  if (const Fault fault = read_string(value, key)) return fault;
  if (!key || !replaces(Form::UserKey)) return {};
  return add({.kind = "user", .key = *key, .valid = true});
}

Fault ContextReader::read_context_kind(ondemand::value& value) {
  std::optional<std::string_view> kind;
  if (const Fault fault = read_string(value, kind)) return fault;
  anonymous_user_ = kind == "anonymousUser";
  return {};
}

Fault ContextReader::read_object(ondemand::value& value, std::string_view implied_kind) {
  if (is_null_token(value) || !replaces(Form::Inline)) return {};
  ondemand::object object;
  if (value.get_object().get(object)) return RejectReason::InvalidContext;
  std::string_view text;
  if (object.raw_json().get(text)) return kMalformed;
  text = without_blanks(text);
  if (const Fault fault = check_depth(text)) return fault;
  event_->set_context_json(text.data(), text.size());

  bool is_empty = false;
  if (object.reset().get(is_empty)) return kMalformed;
  Candidate whole{.kind = implied_kind};
  if (const Fault fault = read_members(object, whole)) return fault;
  if (whole.kind.empty())
    whole.kind = "user";  // without a kind it is a user of the time before contexts
  if (whole.kind != "multi") return add(whole);
  if (nested_.empty()) return RejectReason::InvalidContext;
  for (const Candidate& candidate : nested_) {
    if (const Fault fault = add(candidate)) return fault;
  }
  return {};
}

// One pass: while the kind is unknown an object may be an attribute, or a context of a multi-kind
// context.
Fault ContextReader::read_members(ondemand::object& object, Candidate& whole) {
  nested_.clear();
  const bool kind_is_implied = !whole.kind.empty();
  for (auto result : object) {
    ondemand::field field;
    if (std::move(result).get(field)) return kMalformed;
    std::string_view name;
    if (const Fault fault = read_name(field, name)) return fault;
    ondemand::value& value = field.value();
    const std::string_view token = token_of(value);
    if (!token.empty() && token.front() == '{') {
      const bool may_be_context = name != "_meta" && (whole.kind.empty() || whole.kind == "multi");
      if (!may_be_context) continue;
      if (const Fault fault = read_nested(value, name)) return fault;
    } else if (name == "kind" && !kind_is_implied) {
      std::optional<std::string_view> kind;
      if (read_string(value, kind) || !kind || kind->empty()) return RejectReason::InvalidContext;
      whole.kind = *kind;
    } else if (name == "key") {
      std::optional<std::string_view> key;
      if (read_string(value, key)) return RejectReason::InvalidContext;
      whole.key = key.value_or("");
      whole.valid = true;
    } else if (name == "anonymous") {
      std::optional<bool> anonymous;
      if (read_bool(value, anonymous)) return RejectReason::InvalidContext;
      whole.anonymous = anonymous.value_or(false);
    }
  }
  return {};
}

Fault ContextReader::read_nested(ondemand::value& value, std::string_view kind) {
  ondemand::object object;
  if (value.get_object().get(object)) return kMalformed;
  Candidate candidate{.kind = kind, .valid = true};
  for (auto result : object) {
    ondemand::field field;
    if (std::move(result).get(field)) return kMalformed;
    std::string_view name;
    if (const Fault fault = read_name(field, name)) return fault;
    if (name == "key") {
      std::optional<std::string_view> key;
      if (read_string(field.value(), key)) candidate.valid = false;
      candidate.key = key.value_or("");
    } else if (name == "anonymous") {
      std::optional<bool> anonymous;
      if (read_bool(field.value(), anonymous)) candidate.valid = false;
      candidate.anonymous = anonymous.value_or(false);
    }
  }
  nested_.push_back(candidate);
  return {};
}

Fault ContextReader::add(const Candidate& candidate) {
  if (!candidate.valid || candidate.key.empty() || candidate.key.size() > kNameBytesMax) {
    return RejectReason::InvalidContext;
  }
  if (!is_possible_kind(candidate.kind)) return RejectReason::InvalidContext;
  auto* context = event_->add_contexts();
  context->set_kind(candidate.kind.data(), candidate.kind.size());
  context->set_key(candidate.key.data(), candidate.key.size());
  context->set_anonymous(candidate.anonymous);
  return {};
}

Fault ContextReader::finish() {
  auto& contexts = *event_->mutable_contexts();
  if (anonymous_user_ && contexts.size() == 1 && contexts[0].kind() == "user")
    contexts[0].set_anonymous(true);
  if (contexts.size() < 2) return {};
  std::sort(contexts.pointer_begin(), contexts.pointer_end(),
            [](const auto* a, const auto* b) { return a->kind() < b->kind(); });
  for (int i = 1; i < contexts.size(); ++i) {
    if (contexts[i].kind() == contexts[i - 1].kind()) return RejectReason::InvalidContext;
  }
  return {};
}

}  // namespace flagstream::transform
