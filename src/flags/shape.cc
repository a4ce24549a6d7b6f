#include "flags/shape.h"

#include <span>

#include <fmt/format.h>

namespace flagstream::flags {
namespace {

struct Field {
  std::string_view name;
  NodeType type;
  NodeType element = NodeType::Null;   // of an Array; Null: any
  std::span<const Field> inside = {};  // of an Object, or of an Array's Objects
};

using enum NodeType;

constexpr Field kWeighted[] = {{"variation", Number}, {"weight", Number}, {"untracked", Bool}};
constexpr Field kRollout[] = {
    {"kind", String},     {"contextKind", String}, {"variations", Array, Object, kWeighted},
    {"bucketBy", String}, {"seed", Number},
};
constexpr Field kClause[] = {
    {"contextKind", String}, {"attribute", String}, {"op", String},
    {"values", Array},       {"negate", Bool},
};
constexpr Field kRule[] = {
    {"id", String},
    {"clauses", Array, Object, kClause},
    {"variation", Number},
    {"rollout", Object, Null, kRollout},
};
constexpr Field kFallthrough[] = {{"variation", Number}, {"rollout", Object, Null, kRollout}};
constexpr Field kTarget[] = {
    {"contextKind", String}, {"values", Array, String}, {"variation", Number}};
constexpr Field kPrerequisite[] = {{"key", String}, {"variation", Number}};
constexpr Field kFlag[] = {
    {"key", String},
    {"on", Bool},
    {"prerequisites", Array, Object, kPrerequisite},
    {"targets", Array, Object, kTarget},
    {"contextTargets", Array, Object, kTarget},
    {"rules", Array, Object, kRule},
    {"fallthrough", Object, Null, kFallthrough},
    {"offVariation", Number},
    {"variations", Array},
    {"salt", String},
};
constexpr Field kSegmentTarget[] = {{"contextKind", String}, {"values", Array, String}};
constexpr Field kSegmentRule[] = {
    {"clauses", Array, Object, kClause},
    {"weight", Number},
    {"bucketBy", String},
    {"rolloutContextKind", String},
};
constexpr Field kSegment[] = {
    {"key", String},
    {"included", Array, String},
    {"excluded", Array, String},
    {"includedContexts", Array, Object, kSegmentTarget},
    {"excludedContexts", Array, Object, kSegmentTarget},
    {"salt", String},
    {"rules", Array, Object, kSegmentRule},
    {"unbounded", Bool},
    {"unboundedContextKind", String},
    {"generation", Number},
};

std::string_view article_and_name(NodeType type) {
  switch (type) {
    case Null:
      return "null";
    case Bool:
      return "a boolean";
    case Number:
      return "a number";
    case String:
      return "a string";
    case Array:
      return "an array";
    case Object:
      return "an object";
  }
  return "";
}

std::string problem_of(const Node& object, std::span<const Field> fields, const std::string& path);

std::string problem_inside(const Node& value, const Field& field, const std::string& path) {
  if (field.type == Object) return problem_of(value, field.inside, path + ".");
  if (field.type != Array || field.element == Null) return {};
  std::size_t index = 0;
  for (const Node& each : Elements(value)) {
    const std::string place = fmt::format("{}[{}]", path, index++);
    if (each.type != field.element)
      return fmt::format("{} is not {}", place, article_and_name(field.element));
    if (field.element != Object) continue;
    if (std::string problem = problem_of(each, field.inside, place + "."); !problem.empty())
      return problem;
  }
  return {};
}

std::string problem_of(const Node& object, std::span<const Field> fields, const std::string& path) {
  for (const auto& [name, value] : Members(object)) {
    for (const Field& field : fields) {
      if (field.name != name || value.type == Null) continue;
      const std::string place = path + std::string(name);
      if (value.type != field.type)
        return fmt::format("{} is not {}", place, article_and_name(field.type));
      if (std::string problem = problem_inside(value, field, place); !problem.empty())
        return problem;
    }
  }
  return {};
}

std::string problem_with(const Node& item, std::span<const Field> fields) {
  if (item.type != Object) return "it is not an object";
  return problem_of(item, fields, "");
}

}  // namespace

std::string flag_problem(const Node& flag) { return problem_with(flag, kFlag); }
std::string segment_problem(const Node& segment) { return problem_with(segment, kSegment); }

}  // namespace flagstream::flags
