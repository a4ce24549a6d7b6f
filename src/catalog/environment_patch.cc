#include "catalog/environment_patch.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "catalog/json_fields.h"
#include "catalog/limits.h"

namespace flagstream::catalog {
namespace {

constexpr std::string_view kTags = "tags";
constexpr std::array<std::string_view, 9> kEditable = {"name",
                                                       "color",
                                                       kTags,
                                                       "defaultTtl",
                                                       "secureMode",
                                                       "defaultTrackEvents",
                                                       "requireComments",
                                                       "confirmChanges",
                                                       "critical"};

std::unexpected<Error> invalid(std::string what) {
  return fail(ErrorKind::InvalidArgument, std::move(what));
}

json::Object editable_part(const Environment& environment) {
  json::Array tags;
  for (const std::string& each : environment.tags) tags.emplace_back(each);
  json::Object part;
  part["name"] = environment.name;
  part["color"] = environment.color;
  part[kTags] = std::move(tags);
  part["defaultTtl"] = environment.settings.default_ttl_minutes;
  part["secureMode"] = environment.settings.secure_mode;
  part["defaultTrackEvents"] = environment.settings.default_track_events;
  part["requireComments"] = environment.settings.require_comments;
  part["confirmChanges"] = environment.settings.confirm_changes;
  part["critical"] = environment.settings.critical;
  return part;
}

// A setting has a value, always: null is none.
Result<bool> bool_of(const json::Object& part, std::string_view name) {
  const json::Value& value = part.at(name);
  if (!value.is_bool()) return invalid(std::string(name) + " must be true or false");
  return value.get_bool();
}

Result<Environment> with_part(Environment environment, const json::Object& part) {
  FS_TRY(environment.name, required_text(part, "name"));
  FS_TRY(check_name("an environment", environment.name));
  FS_TRY(environment.color, required_text(part, "color"));
  FS_TRY(check_color(environment.color));
  FS_TRY(environment.tags, texts(part, kTags));
  FS_TRY(check_tags(environment.tags));
  EnvironmentSettings& settings = environment.settings;
  const auto minutes = integer_of(part.at("defaultTtl"));
  if (!minutes) return invalid("defaultTtl must be a number of minutes");
  settings.default_ttl_minutes = static_cast<int>(std::clamp<std::int64_t>(*minutes, -1, 1 << 20));
  FS_TRY(settings.secure_mode, bool_of(part, "secureMode"));
  FS_TRY(settings.default_track_events, bool_of(part, "defaultTrackEvents"));
  FS_TRY(settings.require_comments, bool_of(part, "requireComments"));
  FS_TRY(settings.confirm_changes, bool_of(part, "confirmChanges"));
  FS_TRY(settings.critical, bool_of(part, "critical"));
  FS_TRY(check_settings(settings));
  return environment;
}

// Index in a list of `size` that the last step of a path names.
Result<std::size_t> index_of(const std::string& step, std::size_t size) {
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), index);
  if (error != std::errc() || end != step.data() + step.size() || index >= size)
    return invalid("there is no tag " + step);
  return index;
}

struct Operation {
  std::string op;
  std::string path;
  std::vector<std::string> steps;      // one, or two in tags
  const json::Value* value = nullptr;  // null: none is needed
};

Result<Operation> read_operation(const json::Value& operation) {
  if (!operation.is_object()) return invalid("an operation of a JSON Patch must be an object");
  const json::Object& object = operation.get_object();
  Operation read;
  FS_TRY(read.op, required_text(object, "op"));
  FS_TRY(read.path, required_text(object, "path"));
  FS_TRY(read.steps, pointer_steps(read.path));
  constexpr std::array<std::string_view, 4> kKnown = {"add", "remove", "replace", "test"};
  if (std::ranges::find(kKnown, read.op) == kKnown.end())
    return invalid("JSON Patch \"" + read.op + "\" is not supported for environments");
  const bool is_known = !read.steps.empty() &&
                        std::ranges::find(kEditable, read.steps[0]) != kEditable.end() &&
                        read.steps.size() <= (read.steps[0] == kTags ? 2u : 1u);
  if (!is_known)
    return invalid(read.path +
                   " cannot be changed; name, color, tags, defaultTtl, secureMode, "
                   "defaultTrackEvents, requireComments, confirmChanges and critical can");
  read.value = object.if_contains("value");
  if (read.value == nullptr && read.op != "remove") return invalid("value is missing");
  return read;
}

Result<void> test(const Operation& operation, const json::Value& found) {
  if (found == *operation.value) return {};
  return fail(ErrorKind::Conflict, operation.path + " is " + json::serialize(found));
}

Result<void> apply_to_tags(json::Array& tags, const Operation& operation) {
  const std::string& step = operation.steps[1];
  if (operation.op == "add") {
    if (tags.size() > kTagsMax) return check_tags(std::vector<std::string>(tags.size()));
    if (step == "-") {
      tags.push_back(*operation.value);
      return {};
    }
    FS_TRY(const std::size_t index, index_of(step, tags.size() + 1));
    tags.insert(tags.begin() + static_cast<std::ptrdiff_t>(index), *operation.value);
    return {};
  }
  FS_TRY(const std::size_t index, index_of(step, tags.size()));
  if (operation.op == "test") return test(operation, tags[index]);
  if (operation.op == "remove") {
    tags.erase(tags.begin() + static_cast<std::ptrdiff_t>(index));
  } else {
    tags[index] = *operation.value;
  }
  return {};
}

Result<void> apply_one(json::Object& part, const Operation& operation) {
  json::Value& member = part[operation.steps[0]];
  if (operation.steps.size() == 2) {
    if (!member.is_array()) return invalid("tags must be a list of strings");
    return apply_to_tags(member.get_array(), operation);
  }
  if (operation.op == "test") return test(operation, member);
  if (operation.op == "remove") {
    if (operation.steps[0] != kTags) return invalid(operation.path + " cannot be removed");
    member = json::Array();
    return {};
  }
  member = *operation.value;
  return {};
}

Result<std::string> comment_of(const json::Object& body) {
  FS_TRY(auto comment, optional_text(body, "comment"));
  FS_TRY(check_text("a comment", comment.value_or("")));
  return std::move(comment).value_or("");
}

json::Array as_operations(const json::Object& merge) {
  json::Array operations;
  for (const auto& member : merge) {
    json::Object operation;
    operation["op"] = member.value().is_null() ? "remove" : "replace";
    operation["path"] = "/" + std::string(member.key());
    if (!member.value().is_null()) operation["value"] = member.value();
    operations.emplace_back(std::move(operation));
  }
  return operations;
}

Result<EnvironmentPatch> parse_shape(const json::Value& body) {
  if (body.is_array()) return EnvironmentPatch{.comment = {}, .operations = body.get_array()};
  if (!body.is_object()) return invalid("a patch is a list of operations or an object");
  const json::Object& object = body.get_object();
  if (object.contains("instructions"))
    return invalid("environments have no instructions: send a JSON Patch");
  EnvironmentPatch patch;
  const json::Value* operations = object.if_contains("patch");
  const json::Value* merge = object.if_contains("merge");
  if (operations == nullptr && merge == nullptr)
    return EnvironmentPatch{.comment = {}, .operations = as_operations(object)};
  FS_TRY(patch.comment, comment_of(object));
  if (operations != nullptr) {
    if (!operations->is_array()) return invalid("patch must be a list of operations");
    patch.operations = operations->get_array();
    return patch;
  }
  if (!merge->is_object()) return invalid("merge must be an object");
  patch.operations = as_operations(merge->get_object());
  return patch;
}

}  // namespace

Result<EnvironmentPatch> parse_environment_patch(const json::Value& body) {
  FS_TRY(EnvironmentPatch patch, parse_shape(body));
  if (patch.operations.empty()) return invalid("a patch must change something");
  if (patch.operations.size() > kOperationsMax) {
    return fail(ErrorKind::TooLarge,
                "a patch has at most " + std::to_string(kOperationsMax) + " operations");
  }
  return patch;
}

Result<Environment> apply(const Environment& environment, const EnvironmentPatch& patch) {
  json::Object part = editable_part(environment);
  for (std::size_t i = 0; i < patch.operations.size(); ++i) {
    const std::string place = "operation " + std::to_string(i);
    auto operation = read_operation(patch.operations[i]);
    if (!operation) return fail(std::move(operation).error().in(place));
    auto applied = apply_one(part, *operation);
    if (!applied) return fail(std::move(applied).error().in(place));
  }
  return with_part(environment, part);
}

Result<void> check_settings(const EnvironmentSettings& settings) {
  if (settings.default_ttl_minutes >= 0 && settings.default_ttl_minutes <= kTtlMinutesMax)
    return {};
  return invalid("defaultTtl must be 0 to " + std::to_string(kTtlMinutesMax) + " minutes");
}

}  // namespace flagstream::catalog
