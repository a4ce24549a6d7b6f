#include "flags/shape.h"

#include <span>

#include <fmt/format.h>

#include "flags/key_set.h"

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

// Where a value stands.  As text it is wanted only where something is wrong.
struct Place {
  const Place* outer = nullptr;  // null: the item itself
  std::string_view name;         // in an object
  std::size_t index = 0;         // in an array, where it has no name

  std::string text() const {
    const std::string around = outer == nullptr ? std::string() : outer->text();
    if (name.empty()) return fmt::format("{}[{}]", around, index);
    return around.empty() ? std::string(name) : fmt::format("{}.{}", around, name);
  }
};

std::string problem_of(const Node& object, std::span<const Field> fields, const Place* outer);

std::string problem_inside(const Node& value, const Field& field, const Place& place) {
  if (field.type == Object) return problem_of(value, field.inside, &place);
  if (field.type != Array || field.element == Null) return {};
  Place inner{.outer = &place, .name = {}};
  for (const Node& each : Elements(value)) {
    if (each.type != field.element)
      return fmt::format("{} is not {}", inner.text(), article_and_name(field.element));
    if (field.element == Object) {
      std::string problem = problem_of(each, field.inside, &inner);
      if (!problem.empty()) return problem;
    }
    ++inner.index;
  }
  return {};
}

std::string problem_of(const Node& object, std::span<const Field> fields, const Place* outer) {
  for (const auto& [name, value] : Members(object)) {
    for (const Field& field : fields) {
      if (!is_same(field.name, name) || value.type == Null) continue;
      const Place place{.outer = outer, .name = name};
      if (value.type != field.type)
        return fmt::format("{} is not {}", place.text(), article_and_name(field.type));
      if (std::string problem = problem_inside(value, field, place); !problem.empty())
        return problem;
    }
  }
  return {};
}

std::string problem_with(const Node& item, std::span<const Field> fields) {
  if (item.type != Object) return "it is not an object";
  return problem_of(item, fields, nullptr);
}

}  // namespace

std::string flag_problem(const Node& flag) { return problem_with(flag, kFlag); }
std::string segment_problem(const Node& segment) { return problem_with(segment, kSegment); }

}  // namespace flagstream::flags
