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

void ContextReader::begin(const Source& source) {
  source_ = &source;
  context_json_ = {};
  is_in_doubt_ = false;
  contexts_.clear();
  form_ = Form::None;
  anonymous_user_ = false;
}

bool ContextReader::replaces(Form form) {
  if (form < form_) return false;
  form_ = form;
  contexts_.clear();
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
    if (const Fault fault = read_name(field, source_->arena, candidate.kind)) return fault;
    std::optional<std::string_view> key;
    if (const Fault fault = read_string(field.value(), source_->arena, key)) return fault;
    candidate.key = key.value_or("");
    if (const Fault fault = add(candidate)) return fault;
  }
  return {};
}

Fault ContextReader::read_user_key(ondemand::value& value) {
  std::optional<std::string_view> key;
  if (const Fault fault = read_string(value, source_->arena, key)) return fault;
  if (!key || !replaces(Form::UserKey)) return {};
  return add({.kind = "user", .key = *key, .valid = true});
}

Fault ContextReader::read_context_kind(ondemand::value& value) {
  std::optional<std::string_view> kind;
  if (const Fault fault = read_string(value, source_->arena, kind)) return fault;
  anonymous_user_ = kind == "anonymousUser";
  return {};
}

Fault ContextReader::read_object(ondemand::value& value, std::string_view implied_kind) {
  if (is_null_token(value) || !replaces(Form::Inline)) return {};
  const char* const begin = token_of(value).data();
  if (is_seen(begin, implied_kind)) {
    context_json_ = {begin, seen_json_.size()};
    contexts_ = seen_;
    return {};
  }
  ondemand::object object;
  if (value.get_object().get(object)) return RejectReason::InvalidContext;
  Candidate whole{.kind = implied_kind};
  if (source_->is_careful) {
    if (const Fault fault = read_text_and_members(object, whole)) return fault;
  } else if (const Fault fault = read_members_and_text(object, begin, whole)) {
    is_in_doubt_ = true;
    return fault;
  }
  if (whole.kind.empty())
    whole.kind = "user";  // without a kind it is a user of the time before contexts
  if (const Fault fault = add_all(whole)) return fault;
  if (source_->is_careful) return {};
  seen_json_ = context_json_;
  seen_implied_kind_ = implied_kind;
  seen_ = contexts_;
  return {};
}

bool ContextReader::is_seen(const char* begin, std::string_view implied_kind) const {
  if (source_->is_careful || seen_json_.empty() || implied_kind != seen_implied_kind_) return false;
  if (static_cast<std::size_t>(source_->end - begin) < seen_json_.size()) return false;
  return std::memcmp(begin, seen_json_.data(), seen_json_.size()) == 0;
}

Fault ContextReader::add_all(const Candidate& whole) {
  if (whole.kind != "multi") return add(whole);
  if (nested_.empty()) return RejectReason::InvalidContext;
  for (const Candidate& candidate : nested_) {
    if (const Fault fault = add(candidate)) return fault;
  }
  return {};
}

Fault ContextReader::read_text_and_members(ondemand::object& object, Candidate& whole) {
  std::string_view text;
  if (object.raw_json().get(text)) return kMalformed;
  context_json_ = without_blanks(text);
  if (const Fault fault = check_depth(context_json_)) return fault;
  bool is_empty = false;
  if (object.reset().get(is_empty)) return kMalformed;
  return read_members(object, whole);
}

// The same in one walk, where the order of faults does not matter.
Fault ContextReader::read_members_and_text(ondemand::object& object, const char* begin,
                                           Candidate& whole) {
  if (const Fault fault = read_members(object, whole)) return fault;
  const char* end = nullptr;
  if (source_->document.current_location().get(end)) return kMalformed;
  context_json_ = without_blanks({begin, static_cast<std::size_t>(end - begin)});
  return check_depth(context_json_);
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
    if (const Fault fault = read_name(field, source_->arena, name)) return fault;
    ondemand::value& value = field.value();
    const std::string_view token = token_of(value);
    if (!token.empty() && token.front() == '{') {
      const bool may_be_context = name != "_meta" && (whole.kind.empty() || whole.kind == "multi");
      if (!may_be_context) continue;  // passed over by its brackets
      if (const Fault fault = read_nested(value, name)) return fault;
    } else if (name == "kind" && !kind_is_implied) {
      std::optional<std::string_view> kind;
      if (read_string(value, source_->arena, kind) || !kind || kind->empty())
        return RejectReason::InvalidContext;
      whole.kind = *kind;
    } else if (name == "key") {
      std::optional<std::string_view> key;
      if (read_string(value, source_->arena, key)) return RejectReason::InvalidContext;
      whole.key = key.value_or("");
      whole.valid = true;
    } else if (name == "anonymous") {
      std::optional<bool> anonymous;
      if (read_bool(value, anonymous)) return RejectReason::InvalidContext;
      whole.anonymous = anonymous.value_or(false);
    } else if (const Fault fault = pass_over(value, token)) {
      return fault;
    }
  }
  return {};
}

// On a single walk a context ends where its members do, on a careful one where its brackets do.
// These are one place unless a value left unread is none or is followed by what follows no value.
Fault ContextReader::pass_over(ondemand::value& value, std::string_view token) {
  if (source_->is_careful) return {};
  if (token.empty()) return kMalformed;
  switch (token.front()) {
    case ':':
    case ',':
    case ']':
    case '}':
      return kMalformed;
    case '"': {
      ondemand::raw_json_string consumed;
      if (value.get_raw_json_string().get(consumed)) return kMalformed;
      return {};
    }
    default:
      return {};
  }
}

Fault ContextReader::read_nested(ondemand::value& value, std::string_view kind) {
  ondemand::object object;
  if (value.get_object().get(object)) return kMalformed;
  Candidate candidate{.kind = kind, .valid = true};
  for (auto result : object) {
    ondemand::field field;
    if (std::move(result).get(field)) return kMalformed;
    std::string_view name;
    if (const Fault fault = read_name(field, source_->arena, name)) return fault;
    if (name == "key") {
      std::optional<std::string_view> key;
      if (read_string(field.value(), source_->arena, key)) candidate.valid = false;
      candidate.key = key.value_or("");
    } else if (name == "anonymous") {
      std::optional<bool> anonymous;
      if (read_bool(field.value(), anonymous)) candidate.valid = false;
      candidate.anonymous = anonymous.value_or(false);
    } else if (const Fault fault = pass_over(field.value(), token_of(field.value()))) {
      return fault;
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
  contexts_.push_back(
      {.kind = candidate.kind, .key = candidate.key, .anonymous = candidate.anonymous});
  return {};
}

Fault ContextReader::finish(events::EventView& event) {
  event.context_json = context_json_;
  if (anonymous_user_ && contexts_.size() == 1 && contexts_[0].kind == "user")
    contexts_[0].anonymous = true;
  std::sort(contexts_.begin(), contexts_.end(),
            [](const auto& a, const auto& b) { return a.kind < b.kind; });
  for (std::size_t i = 1; i < contexts_.size(); ++i) {
    if (contexts_[i].kind == contexts_[i - 1].kind) return RejectReason::InvalidContext;
  }
  event.contexts = kept<events::ContextKeyView>(contexts_, source_->arena);
  return {};
}

}  // namespace flagstream::transform
