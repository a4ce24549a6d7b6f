#include "catalog/json_fields.h"
#include "catalog/segment.h"
#include "json/json.h"

namespace flagstream::catalog {
namespace {

enum class Audience { Rest, Sdk };

std::string texts_json(const std::vector<std::string>& texts) {
  return list_text(texts, json::quoted);
}

std::string contexts_json(const std::vector<ContextList>& lists) {
  return list_text(lists, [](const ContextList& each) {
    ObjectText out;
    out.text("contextKind", each.context_kind).raw("values", texts_json(each.values));
    return std::move(out).done();
  });
}

std::string rule_json(const SegmentRule& rule, Audience audience) {
  ObjectText out;
  out.text(audience == Audience::Rest ? "_id" : "id", rule.id);
  if (audience == Audience::Rest && !rule.description.empty())
    out.text("description", rule.description);
  out.raw("clauses", list_text(rule.clauses, [&](const Clause& each) {
            return clause_json(each,
                               audience == Audience::Rest ? ClauseId::With : ClauseId::Without);
          }));
  if (rule.weight) {
    out.integer("weight", *rule.weight).text("rolloutContextKind", rule.rollout_context_kind);
    if (!rule.bucket_by.empty()) out.text("bucketBy", rule.bucket_by);
  }
  return std::move(out).done();
}

void add_lists(ObjectText& out, const Segment& segment, Audience audience) {
  out.raw("included", texts_json(segment.included)).raw("excluded", texts_json(segment.excluded));
  out.raw("includedContexts", contexts_json(segment.included_contexts));
  out.raw("excludedContexts", contexts_json(segment.excluded_contexts));
  out.raw("rules", list_text(segment.rules,
                             [&](const SegmentRule& each) { return rule_json(each, audience); }));
}

Result<const json::Object*> object_of(const json::Value& value) {
  if (!value.is_object()) return fail(ErrorKind::DataLoss, "a stored segment is damaged");
  return &value.get_object();
}

Result<std::vector<ContextList>> read_contexts(const json::Object& from, std::string_view name) {
  FS_TRY(const json::Array* list, optional_list(from, name));
  std::vector<ContextList> all;
  if (list == nullptr) return all;
  for (const json::Value& each : *list) {
    FS_TRY(const json::Object* object, object_of(each));
    ContextList contexts;
    FS_TRY(contexts.context_kind, required_text(*object, "contextKind"));
    FS_TRY(contexts.values, texts(*object, "values"));
    all.push_back(std::move(contexts));
  }
  return all;
}

Result<SegmentRule> read_rule_of_segment(const json::Value& value) {
  FS_TRY(const json::Object* object, object_of(value));
  SegmentRule rule;
  FS_TRY(rule.id, required_text(*object, "_id"));
  FS_TRY(auto description, optional_text(*object, "description"));
  rule.description = std::move(description).value_or("");
  FS_TRY(rule.clauses, read_clauses(*object));
  FS_TRY(const auto weight, optional_integer(*object, "weight"));
  if (weight) rule.weight = static_cast<int>(*weight);
  FS_TRY(auto kind, optional_text(*object, "rolloutContextKind"));
  rule.rollout_context_kind = std::move(kind).value_or("user");
  FS_TRY(auto bucket_by, optional_text(*object, "bucketBy"));
  rule.bucket_by = std::move(bucket_by).value_or("");
  return rule;
}

}  // namespace

void add_rest_targeting(ObjectText& out, const Segment& segment) {
  add_lists(out, segment, Audience::Rest);
}

std::string stored_segment(const Segment& segment) {
  ObjectText out;
  out.text("key", segment.key).text("name", segment.name).text("description", segment.description);
  out.raw("tags", texts_json(segment.tags)).integer("created", segment.created);
  out.integer("lastModified", segment.last_modified).integer("version", segment.version);
  out.text("salt", segment.salt).boolean("unbounded", segment.unbounded);
  out.text("unboundedContextKind", segment.unbounded_context_kind);
  out.integer("generation", segment.generation);
  add_lists(out, segment, Audience::Rest);
  return std::move(out).done();
}

Result<Segment> read_stored_segment(std::string_view text) {
  FS_TRY(const json::Value value, json::parse(text));
  FS_TRY(const json::Object* object, object_of(value));
  Segment segment;
  FS_TRY(segment.key, required_text(*object, "key"));
  FS_TRY(segment.name, required_text(*object, "name"));
  FS_TRY(segment.description, required_text(*object, "description"));
  FS_TRY(segment.tags, texts(*object, "tags"));
  FS_TRY(const auto created, optional_integer(*object, "created"));
  segment.created = created.value_or(0);
  FS_TRY(const auto last_modified, optional_integer(*object, "lastModified"));
  segment.last_modified = last_modified.value_or(0);
  FS_TRY(const auto version, optional_integer(*object, "version"));
  segment.version = version.value_or(0);
  FS_TRY(segment.salt, required_text(*object, "salt"));
  FS_TRY(segment.unbounded, bool_or(*object, "unbounded", false));
  FS_TRY(segment.unbounded_context_kind, required_text(*object, "unboundedContextKind"));
  FS_TRY(const auto generation, optional_integer(*object, "generation"));
  segment.generation = generation.value_or(0);
  FS_TRY(segment.included, texts(*object, "included"));
  FS_TRY(segment.excluded, texts(*object, "excluded"));
  FS_TRY(segment.included_contexts, read_contexts(*object, "includedContexts"));
  FS_TRY(segment.excluded_contexts, read_contexts(*object, "excludedContexts"));
  FS_TRY(const json::Array* rules, optional_list(*object, "rules"));
  if (rules == nullptr) return segment;
  for (const json::Value& each : *rules) {
    FS_TRY(SegmentRule rule, read_rule_of_segment(each));
    segment.rules.push_back(std::move(rule));
  }
  return segment;
}

std::string sdk_segment(const Segment& segment) {
  ObjectText out;
  out.text("key", segment.key).integer("version", segment.version).text("salt", segment.salt);
  add_lists(out, segment, Audience::Sdk);
  if (segment.unbounded) {
    out.boolean("unbounded", true).text("unboundedContextKind", segment.unbounded_context_kind);
    out.integer("generation", segment.generation);
  }
  return std::move(out).done();
}

}  // namespace flagstream::catalog
