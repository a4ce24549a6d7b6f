#include <algorithm>
#include <array>
#include <utility>

#include "catalog/json_fields.h"
#include "catalog/limits.h"
#include "catalog/segment.h"

namespace flagstream::catalog {
namespace {

struct Edit {
  Segment& segment;
  const json::Object& parameters;
  const NewId& new_id;
};

std::unexpected<Error> invalid(std::string what) {
  return fail(ErrorKind::InvalidArgument, std::move(what));
}

Result<void> update_name(Edit& edit) {
  FS_TRY(edit.segment.name, required_text(edit.parameters, "value"));
  return check_name("a segment", edit.segment.name);
}

Result<void> update_description(Edit& edit) {
  FS_TRY(edit.segment.description, required_text(edit.parameters, "value"));
  return check_text("a description", edit.segment.description);
}

void add_missing(std::vector<std::string>& to, const std::vector<std::string>& values) {
  for (const std::string& each : values) {
    if (std::find(to.begin(), to.end(), each) == to.end()) to.push_back(each);
  }
}

void remove_all(std::vector<std::string>& from, const std::vector<std::string>& values) {
  std::erase_if(from, [&](const std::string& each) {
    return std::find(values.begin(), values.end(), each) != values.end();
  });
}

Result<void> add_tags(Edit& edit) {
  FS_TRY(const auto values, texts(edit.parameters, "values"));
  add_missing(edit.segment.tags, values);
  return check_tags(edit.segment.tags);
}

Result<void> remove_tags(Edit& edit) {
  FS_TRY(const auto values, texts(edit.parameters, "values"));
  remove_all(edit.segment.tags, values);
  return {};
}

enum class Lists { Included, Excluded };

// The list of that kind: users have one of their own.
std::vector<std::string>& list_of(Segment& segment, Lists lists, const std::string& kind) {
  const bool is_included = lists == Lists::Included;
  if (kind == "user") return is_included ? segment.included : segment.excluded;
  auto& all = is_included ? segment.included_contexts : segment.excluded_contexts;
  const auto found = std::find_if(
      all.begin(), all.end(), [&](const ContextList& each) { return each.context_kind == kind; });
  if (found != all.end()) return found->values;
  return all.emplace_back(ContextList{.context_kind = kind}).values;
}

template <Lists lists, bool adds>
Result<void> edit_targets(Edit& edit) {
  if (edit.segment.unbounded)
    return invalid("the lists of a big segment are changed through its contexts");
  FS_TRY(const auto kind, optional_text(edit.parameters, "contextKind"));
  FS_TRY(const auto values, texts(edit.parameters, "values"));
  auto& list = list_of(edit.segment, lists, kind && !kind->empty() ? *kind : "user");
  if constexpr (adds) {
    for (const std::string& each : values) FS_TRY(check_context_key(each));
    add_missing(list, values);
  } else {
    remove_all(list, values);
  }
  const auto is_empty = [](const ContextList& each) { return each.values.empty(); };
  std::erase_if(edit.segment.included_contexts, is_empty);
  std::erase_if(edit.segment.excluded_contexts, is_empty);
  return {};
}

Result<void> add_rule(Edit& edit) {
  SegmentRule rule;
  rule.id = edit.new_id();
  FS_TRY(rule.clauses, new_clauses(edit.parameters, edit.new_id));
  FS_TRY(auto description, optional_text(edit.parameters, "description"));
  rule.description = std::move(description).value_or("");
  FS_TRY(check_text("a description", rule.description));
  FS_TRY(const auto weight, optional_integer(edit.parameters, "rolloutWeight"));
  if (weight) {
    if (*weight < 0 || *weight > kWeightsTotal)
      return invalid("rolloutWeight must be an integer from 0 to 100000");
    rule.weight = static_cast<int>(*weight);
  }
  FS_TRY(const auto kind, optional_text(edit.parameters, "rolloutContextKind"));
  if (kind && !kind->empty()) rule.rollout_context_kind = *kind;
  FS_TRY(const auto bucket_by, optional_text(edit.parameters, "rolloutBucketBy"));
  if (bucket_by && *bucket_by != "key") rule.bucket_by = *bucket_by;
  edit.segment.rules.push_back(std::move(rule));
  return {};
}

Result<void> remove_rule(Edit& edit) {
  FS_TRY(const auto id, required_text(edit.parameters, "ruleId"));
  std::erase_if(edit.segment.rules, [&](const SegmentRule& each) { return each.id == id; });
  return {};
}

struct Row {
  std::string_view kind;
  Result<void> (*apply)(Edit&);
};

constexpr std::array kRows = {
    Row{"addExcludedTargets", edit_targets<Lists::Excluded, true>},
    Row{"addExcludedUsers", edit_targets<Lists::Excluded, true>},
    Row{"addIncludedTargets", edit_targets<Lists::Included, true>},
    Row{"addIncludedUsers", edit_targets<Lists::Included, true>},
    Row{"addRule", add_rule},
    Row{"addTags", add_tags},
    Row{"removeExcludedTargets", edit_targets<Lists::Excluded, false>},
    Row{"removeExcludedUsers", edit_targets<Lists::Excluded, false>},
    Row{"removeIncludedTargets", edit_targets<Lists::Included, false>},
    Row{"removeIncludedUsers", edit_targets<Lists::Included, false>},
    Row{"removeRule", remove_rule},
    Row{"removeTags", remove_tags},
    Row{"updateDescription", update_description},
    Row{"updateName", update_name},
};

Result<void> apply_one(Segment& segment, const Instruction& instruction, const NewId& new_id) {
  FS_TRY(const std::string kind, required_text(instruction.body, "kind"));
  const auto row =
      std::find_if(kRows.begin(), kRows.end(), [&](const Row& each) { return each.kind == kind; });
  if (row == kRows.end()) return invalid("there is no instruction \"" + kind + "\" for segments");
  Edit edit{segment, instruction.body, new_id};
  auto applied = row->apply(edit);
  if (!applied) return fail(std::move(applied).error().in(kind));
  return {};
}

}  // namespace

Result<Segment> apply(Segment segment, std::span<const Instruction> instructions,
                      const NewId& new_id) {
  for (std::size_t i = 0; i < instructions.size(); ++i) {
    auto applied = apply_one(segment, instructions[i], new_id);
    if (!applied) return fail(std::move(applied).error().in("instruction " + std::to_string(i)));
  }
  return segment;
}

}  // namespace flagstream::catalog
