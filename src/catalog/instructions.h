// The one engine that edits flags.  An instruction is a JSON object with a `kind`; LaunchDarkly's
// semantic patch is a list of them, its JSON Patch is translated into them, and scheduled changes,
// approvals and triggers will store them.  A kind is one row of the table in instructions.cc.
//
// All or nothing: either every instruction of a list applies, in order, or the flag stays as it
// was.  An instruction whose effect is already there changes nothing.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "catalog/model.h"
#include "json/json.h"

namespace flagstream::catalog {

struct Instruction {
  std::string environment_key;  // empty: the instruction must not need one
  json::Object body;            // with its `kind`
};

struct SemanticPatch {
  std::string comment;
  std::vector<Instruction> instructions;
};

inline constexpr std::size_t kInstructionsMax = 1'000;

// The body of a PATCH of a flag, told apart by shape: semantic patch {comment?, environmentKey?,
// instructions}, or JSON Patch as a bare array or {comment?, patch}.  InvalidArgument for any other
// shape and for JSON Patch operations that have no instruction yet (there is one: add or replace of
// /environments/KEY/on).
Result<SemanticPatch> parse_patch(const json::Value& body);

// {comment?, instructions} and no other shape.
Result<SemanticPatch> parse_semantic_patch(const json::Value& body);

// The list as one JSON text, each with its environmentKey: what the audit log keeps.
std::string to_json(std::span<const Instruction> instructions);

// Makes the ids of new rules and clauses.
using NewId = std::function<std::string()>;

// The clauses of a rule to be made, at least one, with new ids.
Result<std::vector<Clause>> new_clauses(const json::Object& parameters, const NewId& new_id);

// The flag after the instructions.  Versions and times are not touched: Catalog raises them where
// something changed.  InvalidArgument says which instruction cannot be applied and why; NotFound
// when a rule or an environment that it names does not exist.
Result<Flag> apply(Flag flag, std::span<const Instruction> instructions, const NewId& new_id);

}  // namespace flagstream::catalog
