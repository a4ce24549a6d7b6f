#include "catalog/json_fields.h"

#include <cmath>

namespace flagstream::catalog {
namespace {

constexpr double kIntegersExact = 9007199254740992.0;  // 2^53

std::unexpected<Error> wrong(std::string_view name, std::string_view expected) {
  return fail(ErrorKind::InvalidArgument, std::string(name) + " must be " + std::string(expected));
}

// Null and absent are the same thing to every client.
const json::Value* present(const json::Object& object, std::string_view name) {
  const json::Value* value = object.if_contains(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

Result<const json::Object*> object_of(const json::Value& value, std::string_view what) {
  if (!value.is_object()) return wrong(what, "an object");
  return &value.get_object();
}

Result<int> required_index(const json::Object& object, std::string_view name) {
  FS_TRY(const auto value, optional_integer(object, name));
  if (!value || *value < 0 || *value > kWeightsTotal)
    return wrong(name, "an integer from 0 to 100000");
  return static_cast<int>(*value);
}

Result<Rollout> read_rollout(const json::Value& value) {
  FS_TRY(const json::Object* object, object_of(value, "rollout"));
  Rollout rollout;
  FS_TRY(const json::Array* variations, optional_list(*object, "variations"));
  if (variations == nullptr) return wrong("rollout.variations", "a list");
  for (const json::Value& each : *variations) {
    FS_TRY(const json::Object* entry, object_of(each, "an entry of rollout.variations"));
    WeightedVariation weighted;
    FS_TRY(weighted.variation, required_index(*entry, "variation"));
    FS_TRY(weighted.weight, required_index(*entry, "weight"));
    FS_TRY(weighted.untracked, bool_or(*entry, "_untracked", false));
    rollout.variations.push_back(weighted);
  }
  FS_TRY(auto kind, optional_text(*object, "contextKind"));
  if (kind) rollout.context_kind = *std::move(kind);
  FS_TRY(auto bucket_by, optional_text(*object, "bucketBy"));
  rollout.bucket_by = std::move(bucket_by).value_or("");
  FS_TRY(rollout.seed, optional_integer(*object, "seed"));
  return rollout;
}

}  // namespace

std::optional<std::int64_t> integer_of(const json::Value& value) {
  if (value.is_int64()) return value.get_int64();
  if (!value.is_double()) return std::nullopt;
  const double number = value.get_double();
  if (std::trunc(number) != number || std::abs(number) > kIntegersExact) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

Result<std::optional<std::string>> optional_text(const json::Object& object,
                                                 std::string_view name) {
  const json::Value* value = present(object, name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) return wrong(name, "a string");
  return std::string(value->get_string());
}

Result<std::string> required_text(const json::Object& object, std::string_view name) {
  FS_TRY(auto text, optional_text(object, name));
  if (!text) return fail(ErrorKind::InvalidArgument, std::string(name) + " is missing");
  return *std::move(text);
}

Result<bool> bool_or(const json::Object& object, std::string_view name, bool fallback) {
  const json::Value* value = present(object, name);
  if (value == nullptr) return fallback;
  if (!value->is_bool()) return wrong(name, "true or false");
  return value->get_bool();
}

Result<std::optional<std::int64_t>> optional_integer(const json::Object& object,
                                                     std::string_view name) {
  const json::Value* value = present(object, name);
  if (value == nullptr) return std::nullopt;
  const auto number = integer_of(*value);
  if (!number) return wrong(name, "an integer");
  return number;
}

Result<const json::Array*> optional_list(const json::Object& object, std::string_view name) {
  const json::Value* value = present(object, name);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) return wrong(name, "a list");
  return &value->get_array();
}

Result<std::vector<std::string>> texts(const json::Object& object, std::string_view name) {
  FS_TRY(const json::Array* list, optional_list(object, name));
  std::vector<std::string> result;
  if (list == nullptr) return result;
  for (const json::Value& each : *list) {
    if (!each.is_string()) return wrong(name, "a list of strings");
    result.emplace_back(each.get_string());
  }
  return result;
}

Result<Clause> read_clause(const json::Value& value) {
  FS_TRY(const json::Object* object, object_of(value, "a clause"));
  Clause clause;
  FS_TRY(auto id, optional_text(*object, "_id"));
  clause.id = std::move(id).value_or("");
  FS_TRY(auto kind, optional_text(*object, "contextKind"));
  if (kind && !kind->empty()) clause.context_kind = *std::move(kind);
  FS_TRY(auto attribute, optional_text(*object, "attribute"));
  clause.attribute = std::move(attribute).value_or("");
  FS_TRY(clause.op, required_text(*object, "op"));
  FS_TRY(const json::Array* values, optional_list(*object, "values"));
  if (values != nullptr) {
    for (const json::Value& each : *values) clause.values_json.push_back(json::serialize(each));
  }
  FS_TRY(clause.negate, bool_or(*object, "negate", false));
  return clause;
}

Result<std::vector<Clause>> read_clauses(const json::Object& object) {
  FS_TRY(const json::Array* list, optional_list(object, "clauses"));
  std::vector<Clause> clauses;
  if (list == nullptr) return clauses;
  for (const json::Value& each : *list) {
    FS_TRY(Clause clause, read_clause(each));
    clauses.push_back(std::move(clause));
  }
  return clauses;
}

Result<Serve> read_serve(const json::Object& object) {
  const json::Value* rollout = object.if_contains("rollout");
  if (rollout != nullptr && !rollout->is_null()) {
    FS_TRY(Rollout read, read_rollout(*rollout));
    return read;
  }
  FS_TRY(const int variation, required_index(object, "variation"));
  return variation;
}

Result<Rule> read_rule(const json::Value& value) {
  FS_TRY(const json::Object* object, object_of(value, "a rule"));
  Rule rule;
  FS_TRY(auto id, optional_text(*object, "_id"));
  rule.id = std::move(id).value_or("");
  FS_TRY(auto ref, optional_text(*object, "ref"));
  rule.ref = std::move(ref).value_or("");
  FS_TRY(auto description, optional_text(*object, "description"));
  rule.description = std::move(description).value_or("");
  FS_TRY(rule.clauses, read_clauses(*object));
  FS_TRY(rule.serve, read_serve(*object));
  FS_TRY(rule.track_events, bool_or(*object, "trackEvents", false));
  return rule;
}

Result<Target> read_target(const json::Value& value) {
  FS_TRY(const json::Object* object, object_of(value, "a target"));
  Target target;
  FS_TRY(auto kind, optional_text(*object, "contextKind"));
  if (kind) target.context_kind = *std::move(kind);
  FS_TRY(target.values, texts(*object, "values"));
  FS_TRY(target.variation, required_index(*object, "variation"));
  return target;
}

Result<Prerequisite> read_prerequisite(const json::Value& value) {
  FS_TRY(const json::Object* object, object_of(value, "a prerequisite"));
  Prerequisite prerequisite;
  FS_TRY(prerequisite.key, required_text(*object, "key"));
  FS_TRY(prerequisite.variation, required_index(*object, "variation"));
  return prerequisite;
}

std::string clause_json(const Clause& clause, ClauseId id) {
  ObjectText out;
  if (id == ClauseId::With) out.text("_id", clause.id);
  out.text("contextKind", clause.context_kind)
      .text("attribute", clause.attribute)
      .text("op", clause.op);
  out.raw("values", list_text(clause.values_json, [](const std::string& each) { return each; }));
  out.boolean("negate", clause.negate);
  return std::move(out).done();
}

Result<std::vector<std::string>> pointer_steps(std::string_view pointer) {
  std::vector<std::string> steps;
  if (pointer.empty()) return steps;
  if (pointer.front() != '/') return wrong("path", "a JSON Pointer, beginning with '/'");
  for (std::size_t i = 0; i < pointer.size(); ++i) {
    if (pointer[i] == '/') {
      steps.emplace_back();
    } else if (pointer[i] != '~') {
      steps.back() += pointer[i];
    } else if (i + 1 < pointer.size() && (pointer[i + 1] == '0' || pointer[i + 1] == '1')) {
      steps.back() += pointer[++i] == '0' ? '~' : '/';
    } else {
      return wrong("path", "a JSON Pointer: '~' is written ~0");
    }
  }
  return steps;
}

void ObjectText::begin(std::string_view name) {
  if (text_.size() > 1) text_ += ',';
  text_ += '"';
  text_ += name;
  text_ += "\":";
}

ObjectText& ObjectText::text(std::string_view name, std::string_view value) {
  return raw(name, json::quoted(value));
}
ObjectText& ObjectText::integer(std::string_view name, std::int64_t value) {
  return raw(name, std::to_string(value));
}
ObjectText& ObjectText::boolean(std::string_view name, bool value) {
  return raw(name, value ? "true" : "false");
}

ObjectText& ObjectText::raw(std::string_view name, std::string_view json) {
  begin(name);
  text_ += json;
  return *this;
}

std::string ObjectText::done() && {
  text_ += '}';
  return std::move(text_);
}

}  // namespace flagstream::catalog
