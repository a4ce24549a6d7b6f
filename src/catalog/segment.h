// Segments as people edit them: sets of contexts of one environment, by lists and rules, or (big
// segments) by memberships that are kept apart and never travel in the segment's document.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "catalog/instructions.h"
#include "catalog/json_fields.h"
#include "catalog/model.h"

namespace flagstream::catalog {

// Contexts of one kind other than user.
struct ContextList {
  std::string context_kind = {};
  std::vector<std::string> values = {};

  friend bool operator==(const ContextList&, const ContextList&) = default;
};

struct SegmentRule {
  std::string id = {};
  std::string description = {};
  std::vector<Clause> clauses = {};
  std::optional<int> weight = {};  // of 100,000; none: all who match
  std::string rollout_context_kind = "user";
  std::string bucket_by = {};  // empty: the key

  friend bool operator==(const SegmentRule&, const SegmentRule&) = default;
};

struct Segment {
  std::string key = {};
  std::string name = {};
  std::string description = {};
  std::vector<std::string> tags = {};
  MillisUtc created = 0;
  MillisUtc last_modified = 0;
  std::int64_t version = 0;                // +1 on any change, survives delete and re-create
  std::string salt = {};                   // random at creation, never changes
  std::vector<std::string> included = {};  // keys of kind user
  std::vector<std::string> excluded = {};
  std::vector<ContextList> included_contexts = {};  // all other kinds
  std::vector<ContextList> excluded_contexts = {};
  std::vector<SegmentRule> rules = {};
  bool unbounded = false;  // a big segment: its lists are memberships
  std::string unbounded_context_kind = "user";
  std::int64_t generation = 0;  // of a big segment: names its memberships, never used twice

  friend bool operator==(const Segment&, const Segment&) = default;
};

struct NewSegment {
  std::string key;
  std::string name;
  std::string description = {};
  std::vector<std::string> tags = {};
  bool unbounded = false;
  std::string unbounded_context_kind = "user";
};

// For `segments.document`, and in REST's words: `rules` with ids and descriptions.
std::string stored_segment(const Segment& segment);
Result<Segment> read_stored_segment(std::string_view text);
// As SDKs get it: every array always present.
std::string sdk_segment(const Segment& segment);
// Adds included, excluded, includedContexts, excludedContexts and rules in the shape of the REST
// API.
void add_rest_targeting(ObjectText& out, const Segment& segment);

// The segment after the instructions, all or nothing, as apply() of a flag (instructions.h).
Result<Segment> apply(Segment segment, std::span<const Instruction> instructions,
                      const NewId& new_id);

// InvalidArgument when SDKs would disagree about the segment.  `others` are all segments of the
// environment, with or without this one: a cycle through them is refused.
Result<void> check_for_publication(const Segment& segment, std::span<const Segment> others);

// The keys of segments that the clauses of these rules name.
std::vector<std::string> segments_in(const std::vector<Clause>& clauses);

}  // namespace flagstream::catalog
