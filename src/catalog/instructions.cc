#include "catalog/instructions.h"

#include <algorithm>
#include <array>
#include <utility>

#include "catalog/json_fields.h"
#include "catalog/limits.h"

namespace flagstream::catalog {
namespace {

struct Edit {
  Flag& flag;
  FlagConfig* config;  // null for kinds that need no environment
  const json::Object& parameters;
  const NewId& new_id;
};

std::unexpected<Error> invalid(std::string what) {
  return fail(ErrorKind::InvalidArgument, std::move(what));
}

Result<int> variation_of(const Flag& flag, std::string_view id) {
  const auto index = variation_index(flag, id);
  if (!index) return invalid("the flag has no variation with id \"" + std::string(id) + "\"");
  return *index;
}

Result<Rollout> rollout_of(const Edit& edit, const json::Object& weights) {
  Rollout rollout;
  std::int64_t total = 0;
  for (const auto& member : weights) {
    FS_TRY(const int variation, variation_of(edit.flag, member.key()));
    const auto weight = integer_of(member.value());
    if (!weight || *weight < 0 || *weight > kWeightsTotal) {
      return invalid("the weight of variation \"" + std::string(member.key()) +
                     "\" must be an integer from 0 to 100000");
    }
    total += *weight;
    rollout.variations.push_back({.variation = variation, .weight = static_cast<int>(*weight)});
  }
  if (total != kWeightsTotal) {
    return invalid("rolloutWeights must add up to 100000, not " + std::to_string(total));
  }
  // The order decides which contexts get which variation: that of the flag, not that of a JSON
  // object.
  std::sort(rollout.variations.begin(), rollout.variations.end(),
            [](const auto& a, const auto& b) { return a.variation < b.variation; });
  FS_TRY(const auto kind, optional_text(edit.parameters, "rolloutContextKind"));
  FS_TRY(const auto bucket_by, optional_text(edit.parameters, "rolloutBucketBy"));
  if (kind && !kind->empty()) rollout.context_kind = *kind;
  if (bucket_by && *bucket_by != "key") rollout.bucket_by = *bucket_by;
  return rollout;
}

// variationId or rolloutWeights, exactly one of them.
Result<Serve> serve_of(const Edit& edit) {
  FS_TRY(const auto variation_id, optional_text(edit.parameters, "variationId"));
  const json::Value* weights = edit.parameters.if_contains("rolloutWeights");
  if (variation_id.has_value() == (weights != nullptr)) {
    return invalid("give either variationId or rolloutWeights");
  }
  if (variation_id) {
    FS_TRY(const int variation, variation_of(edit.flag, *variation_id));
    return variation;
  }
  if (!weights->is_object())
    return invalid("rolloutWeights must be an object of variation ids and weights");
  FS_TRY(Rollout rollout, rollout_of(edit, weights->get_object()));
  return rollout;
}

auto find_rule(FlagConfig& config, std::string_view id) {
  return std::find_if(config.rules.begin(), config.rules.end(),
                      [id](const Rule& rule) { return rule.id == id; });
}

Result<void> turn_flag_on(Edit& edit) {
  edit.config->on = true;
  return {};
}

Result<void> turn_flag_off(Edit& edit) {
  edit.config->on = false;
  return {};
}

Result<void> update_fallthrough(Edit& edit) {
  FS_TRY(edit.config->fallthrough, serve_of(edit));
  return {};
}

Result<void> add_rule(Edit& edit) {
  Rule rule;
  rule.id = edit.new_id();
  FS_TRY(rule.clauses, new_clauses(edit.parameters, edit.new_id));
  FS_TRY(rule.serve, serve_of(edit));
  FS_TRY(auto description, optional_text(edit.parameters, "description"));
  rule.description = std::move(description).value_or("");
  FS_TRY(check_text("a description", rule.description));
  FS_TRY(auto ref, optional_text(edit.parameters, "ref"));
  rule.ref = std::move(ref).value_or("");
  FS_TRY(check_text("a ref", rule.ref));
  FS_TRY(const auto before, optional_text(edit.parameters, "beforeRuleId"));
  auto& rules = edit.config->rules;
  auto place = rules.end();
  if (before && !before->empty()) {
    place = find_rule(*edit.config, *before);
    if (place == rules.end())
      return fail(ErrorKind::NotFound, "there is no rule with id \"" + *before + "\"");
  }
  rules.insert(place, std::move(rule));
  return {};
}

// A rule that is gone already is no error: removing it twice has the effect of once.
Result<void> remove_rule(Edit& edit) {
  FS_TRY(const auto id, required_text(edit.parameters, "ruleId"));
  const auto rule = find_rule(*edit.config, id);
  if (rule != edit.config->rules.end()) edit.config->rules.erase(rule);
  return {};
}

enum class Scope { Environment, Flag };

struct Row {
  std::string_view kind;
  Scope scope;
  Result<void> (*apply)(Edit&);
};

constexpr std::array kRows = {
    Row{"addRule", Scope::Environment, add_rule},
    Row{"removeRule", Scope::Environment, remove_rule},
    Row{"turnFlagOff", Scope::Environment, turn_flag_off},
    Row{"turnFlagOn", Scope::Environment, turn_flag_on},
    Row{"updateFallthroughVariationOrRollout", Scope::Environment, update_fallthrough},
};

Result<void> apply_one(Flag& flag, const Instruction& instruction, const NewId& new_id) {
  FS_TRY(const std::string kind, required_text(instruction.body, "kind"));
  const auto row =
      std::find_if(kRows.begin(), kRows.end(), [&](const Row& each) { return each.kind == kind; });
  if (row == kRows.end()) return invalid("there is no instruction \"" + kind + "\"");
  Edit edit{flag, nullptr, instruction.body, new_id};
  if (row->scope == Scope::Environment) {
    if (instruction.environment_key.empty()) return invalid(kind + " needs environmentKey");
    const auto config = flag.environments.find(instruction.environment_key);
    if (config == flag.environments.end()) {
      return fail(ErrorKind::NotFound,
                  "there is no environment \"" + instruction.environment_key + "\"");
    }
    edit.config = &config->second;
  }
  auto applied = row->apply(edit);
  if (!applied) return fail(std::move(applied).error().in(kind));
  return {};
}

Result<std::string> comment_of(const json::Object& body) {
  FS_TRY(auto comment, optional_text(body, "comment"));
  FS_TRY(check_text("a comment", comment.value_or("")));
  return std::move(comment).value_or("");
}

Result<SemanticPatch> parse_semantic(const json::Object& body) {
  SemanticPatch patch;
  FS_TRY(patch.comment, comment_of(body));
  FS_TRY(const auto environment, optional_text(body, "environmentKey"));
  const json::Value* instructions = body.if_contains("instructions");
  if (!instructions->is_array()) return invalid("instructions must be a list");
  for (const json::Value& each : instructions->get_array()) {
    if (!each.is_object()) return invalid("an instruction must be an object with a kind");
    patch.instructions.push_back({environment.value_or(""), each.get_object()});
  }
  return patch;
}

// One operation of RFC 6902.
Result<Instruction> translate(const json::Value& operation) {
  if (!operation.is_object()) return invalid("an operation of a JSON Patch must be an object");
  const json::Object& object = operation.get_object();
  FS_TRY(const std::string op, required_text(object, "op"));
  FS_TRY(const std::string path, required_text(object, "path"));
  FS_TRY(const std::vector<std::string> steps, pointer_steps(path));
  const bool is_on = steps.size() == 3 && steps[0] == "environments" && steps[2] == "on";
  if (!is_on || (op != "replace" && op != "add")) {
    return invalid("JSON Patch \"" + op + "\" of " + path + " is not supported");
  }
  const json::Value* value = object.if_contains("value");
  if (value == nullptr || !value->is_bool()) return invalid(path + " must be true or false");
  Instruction instruction{steps[1], {}};
  instruction.body["kind"] = value->get_bool() ? "turnFlagOn" : "turnFlagOff";
  return instruction;
}

Result<SemanticPatch> parse_json_patch(const json::Value& operations, std::string comment) {
  SemanticPatch patch{std::move(comment), {}};
  if (!operations.is_array()) return invalid("patch must be a list of operations");
  for (const json::Value& each : operations.get_array()) {
    FS_TRY(Instruction instruction, translate(each));
    patch.instructions.push_back(std::move(instruction));
  }
  return patch;
}

Result<SemanticPatch> parse_shape(const json::Value& body) {
  if (body.is_array()) return parse_json_patch(body, "");
  if (!body.is_object()) return invalid("a patch is a list of operations or an object");
  const json::Object& object = body.get_object();
  if (object.contains("instructions")) return parse_semantic(object);
  const json::Value* operations = object.if_contains("patch");
  if (operations == nullptr)
    return invalid("a patch needs instructions or patch; merge patch is not supported");
  FS_TRY(std::string comment, comment_of(object));
  return parse_json_patch(*operations, std::move(comment));
}

Result<SemanticPatch> checked_size(SemanticPatch patch) {
  if (patch.instructions.empty()) return invalid("a patch must change something");
  if (patch.instructions.size() > kInstructionsMax) {
    return fail(ErrorKind::TooLarge,
                "a patch has at most " + std::to_string(kInstructionsMax) + " instructions");
  }
  return patch;
}

}  // namespace

Result<std::vector<Clause>> new_clauses(const json::Object& parameters, const NewId& new_id) {
  FS_TRY(auto clauses, read_clauses(parameters));
  if (clauses.empty()) return invalid("clauses must be a list with at least one clause");
  for (Clause& each : clauses) each.id = new_id();
  return clauses;
}

Result<SemanticPatch> parse_patch(const json::Value& body) {
  FS_TRY(SemanticPatch patch, parse_shape(body));
  return checked_size(std::move(patch));
}

Result<SemanticPatch> parse_semantic_patch(const json::Value& body) {
  if (!body.is_object() || !body.get_object().contains("instructions"))
    return invalid("the body must be an object with instructions");
  FS_TRY(SemanticPatch patch, parse_semantic(body.get_object()));
  return checked_size(std::move(patch));
}

std::string to_json(std::span<const Instruction> instructions) {
  return list_text(instructions, [](const Instruction& each) {
    json::Object body = each.body;
    if (!each.environment_key.empty()) body["environmentKey"] = each.environment_key;
    return json::serialize(body);
  });
}

Result<Flag> apply(Flag flag, std::span<const Instruction> instructions, const NewId& new_id) {
  for (std::size_t i = 0; i < instructions.size(); ++i) {
    auto applied = apply_one(flag, instructions[i], new_id);
    if (!applied) return fail(std::move(applied).error().in("instruction " + std::to_string(i)));
  }
  return flag;
}

}  // namespace flagstream::catalog
