#include "catalog/flag_json.h"

#include "catalog/json_fields.h"
#include "json/json.h"

namespace flagstream::catalog {
namespace {

// Where the two audiences of one shape differ: people's tools also get ids and descriptions.
enum class Audience { Rest, Sdk };

std::string rollout_json(const Rollout& rollout, Audience audience) {
  const std::string_view untracked = audience == Audience::Rest ? "_untracked" : "untracked";
  ObjectText out;
  if (audience == Audience::Sdk) out.text("kind", "rollout");
  out.text("contextKind", rollout.context_kind);
  out.raw("variations", list_text(rollout.variations, [&](const WeightedVariation& each) {
            ObjectText entry;
            entry.integer("variation", each.variation).integer("weight", each.weight);
            if (each.untracked) entry.boolean(untracked, true);
            return std::move(entry).done();
          }));
  if (!rollout.bucket_by.empty()) out.text("bucketBy", rollout.bucket_by);
  if (rollout.seed) out.integer("seed", *rollout.seed);
  return std::move(out).done();
}

void add_serve(ObjectText& out, const Serve& serve, Audience audience) {
  if (const int* variation = std::get_if<int>(&serve)) {
    out.integer("variation", *variation);
  } else {
    out.raw("rollout", rollout_json(std::get<Rollout>(serve), audience));
  }
}

std::string serve_json(const Serve& serve, Audience audience) {
  ObjectText out;
  add_serve(out, serve, audience);
  return std::move(out).done();
}

std::string rule_json(const Rule& rule, Audience audience) {
  ObjectText out;
  if (audience == Audience::Rest) {
    out.text("_id", rule.id).text("ref", rule.ref);
    if (!rule.description.empty()) out.text("description", rule.description);
  } else {
    out.text("id", rule.id);
  }
  out.raw("clauses", list_text(rule.clauses, [&](const Clause& each) {
            return clause_json(each,
                               audience == Audience::Rest ? ClauseId::With : ClauseId::Without);
          }));
  add_serve(out, rule.serve, audience);
  out.boolean("trackEvents", rule.track_events);
  return std::move(out).done();
}

std::string targets_json(const std::vector<Target>& targets) {
  return list_text(targets, [](const Target& each) {
    ObjectText out;
    out.text("contextKind", each.context_kind);
    out.raw("values", list_text(each.values, json::quoted)).integer("variation", each.variation);
    return std::move(out).done();
  });
}

std::string prerequisites_json(const std::vector<Prerequisite>& prerequisites) {
  return list_text(prerequisites, [](const Prerequisite& each) {
    ObjectText out;
    out.text("key", each.key).integer("variation", each.variation);
    return std::move(out).done();
  });
}

void add_targeting(ObjectText& out, const FlagConfig& config, Audience audience) {
  out.raw("targets", targets_json(config.targets))
      .raw("contextTargets", targets_json(config.context_targets));
  out.raw("rules",
          list_text(config.rules, [&](const Rule& each) { return rule_json(each, audience); }));
  out.raw("fallthrough", serve_json(config.fallthrough, audience));
  if (config.off_variation) out.integer("offVariation", *config.off_variation);
  out.raw("prerequisites", prerequisites_json(config.prerequisites));
  out.boolean("trackEvents", config.track_events);
  out.boolean("trackEventsFallthrough", config.track_events_fallthrough);
}

Result<json::Object> parse_object(std::string_view text) {
  FS_TRY(json::Value value, json::parse(text));
  if (!value.is_object())
    return fail(ErrorKind::DataLoss, "a stored document is not a JSON object");
  return std::move(value.get_object());
}

// Appends read(element) of each element of the list `name`.
template <class T>
Result<void> read_list(const json::Object& object, std::string_view name,
                       Result<T> (*read)(const json::Value&), std::vector<T>& out) {
  FS_TRY(const json::Array* list, optional_list(object, name));
  if (list == nullptr) return {};
  for (const json::Value& each : *list) {
    FS_TRY(T element, read(each));
    out.push_back(std::move(element));
  }
  return {};
}

Result<Variation> read_variation(const json::Value& value) {
  if (!value.is_object()) return fail(ErrorKind::DataLoss, "a stored variation is not an object");
  const json::Object& object = value.get_object();
  Variation variation;
  FS_TRY(variation.id, required_text(object, "_id"));
  FS_TRY(variation.value_json, required_text(object, "value"));
  FS_TRY(auto name, optional_text(object, "name"));
  variation.name = std::move(name).value_or("");
  FS_TRY(auto description, optional_text(object, "description"));
  variation.description = std::move(description).value_or("");
  return variation;
}

}  // namespace

std::string client_side_json(const ClientSideAvailability& client_side) {
  ObjectText out;
  out.boolean("usingMobileKey", client_side.using_mobile_key);
  out.boolean("usingEnvironmentId", client_side.using_environment_id);
  return std::move(out).done();
}

void add_rest_targeting(ObjectText& out, const FlagConfig& config) {
  add_targeting(out, config, Audience::Rest);
}

std::string stored_config(const FlagConfig& config) {
  ObjectText out;
  out.boolean("on", config.on).boolean("archived", config.archived).text("salt", config.salt);
  out.integer("lastModified", config.last_modified).integer("version", config.version);
  add_targeting(out, config, Audience::Rest);
  return std::move(out).done();
}

Result<FlagConfig> read_stored_config(std::string_view text) {
  FS_TRY(const json::Object object, parse_object(text));
  FlagConfig config;
  FS_TRY(config.on, bool_or(object, "on", false));
  FS_TRY(config.archived, bool_or(object, "archived", false));
  FS_TRY(config.salt, required_text(object, "salt"));
  FS_TRY(const auto last_modified, optional_integer(object, "lastModified"));
  config.last_modified = last_modified.value_or(0);
  FS_TRY(const auto version, optional_integer(object, "version"));
  config.version = version.value_or(0);
  FS_TRY(read_list(object, "targets", read_target, config.targets));
  FS_TRY(read_list(object, "contextTargets", read_target, config.context_targets));
  FS_TRY(read_list(object, "rules", read_rule, config.rules));
  FS_TRY(read_list(object, "prerequisites", read_prerequisite, config.prerequisites));
  const json::Value* fallthrough = object.if_contains("fallthrough");
  if (fallthrough == nullptr || !fallthrough->is_object()) {
    return fail(ErrorKind::DataLoss, "a stored flag has no fallthrough");
  }
  FS_TRY(config.fallthrough, read_serve(fallthrough->get_object()));
  FS_TRY(const auto off_variation, optional_integer(object, "offVariation"));
  if (off_variation) config.off_variation = static_cast<int>(*off_variation);
  FS_TRY(config.track_events, bool_or(object, "trackEvents", false));
  FS_TRY(config.track_events_fallthrough, bool_or(object, "trackEventsFallthrough", false));
  return config;
}

std::string stored_flag(const Flag& flag) {
  ObjectText out;
  out.text("key", flag.key).text("name", flag.name).text("description", flag.description);
  out.integer("version", flag.version).integer("created", flag.created);
  out.raw("variations", list_text(flag.variations, [](const Variation& each) {
            // The value stands as text inside a string: it must come back byte for byte (1.0 is not
            // 1).
            ObjectText entry;
            entry.text("_id", each.id).text("value", each.value_json).text("name", each.name);
            entry.text("description", each.description);
            return std::move(entry).done();
          }));
  out.integer("defaultOn", flag.default_on_variation)
      .integer("defaultOff", flag.default_off_variation);
  out.raw("tags", stored_tags(flag.tags))
      .boolean("temporary", flag.temporary)
      .boolean("archived", flag.archived);
  out.raw("clientSideAvailability", client_side_json(flag.client_side));
  return std::move(out).done();
}

Result<Flag> read_stored_flag(std::string_view text) {
  FS_TRY(const json::Object object, parse_object(text));
  Flag flag;
  FS_TRY(flag.key, required_text(object, "key"));
  FS_TRY(flag.name, required_text(object, "name"));
  FS_TRY(flag.description, required_text(object, "description"));
  FS_TRY(const auto version, optional_integer(object, "version"));
  flag.version = version.value_or(0);
  FS_TRY(const auto created, optional_integer(object, "created"));
  flag.created = created.value_or(0);
  FS_TRY(read_list(object, "variations", read_variation, flag.variations));
  FS_TRY(const auto on, optional_integer(object, "defaultOn"));
  flag.default_on_variation = static_cast<int>(on.value_or(0));
  FS_TRY(const auto off, optional_integer(object, "defaultOff"));
  flag.default_off_variation = static_cast<int>(off.value_or(0));
  FS_TRY(flag.tags, texts(object, "tags"));
  FS_TRY(flag.temporary, bool_or(object, "temporary", false));
  FS_TRY(flag.archived, bool_or(object, "archived", false));
  const json::Value* client_side = object.if_contains("clientSideAvailability");
  if (client_side != nullptr && client_side->is_object()) {
    const json::Object& members = client_side->get_object();
    FS_TRY(flag.client_side.using_mobile_key, bool_or(members, "usingMobileKey", false));
    FS_TRY(flag.client_side.using_environment_id, bool_or(members, "usingEnvironmentId", false));
  }
  return flag;
}

std::string stored_tags(const std::vector<std::string>& tags) {
  return list_text(tags, json::quoted);
}

Result<std::vector<std::string>> read_stored_tags(std::string_view text) {
  FS_TRY(const json::Object object, parse_object("{\"tags\":" + std::string(text) + "}"));
  return texts(object, "tags");
}

std::string stored_keys(const std::vector<ExpiringKey>& keys) {
  return list_text(keys, [](const ExpiringKey& each) {
    ObjectText out;
    out.text("_id", each.id).text("kind", to_string(each.kind)).text("key", each.key);
    out.integer("expires", each.expires);
    return std::move(out).done();
  });
}

Result<std::vector<ExpiringKey>> read_stored_keys(std::string_view text) {
  FS_TRY(const json::Object object, parse_object("{\"keys\":" + std::string(text) + "}"));
  FS_TRY(const json::Array* list, optional_list(object, "keys"));
  std::vector<ExpiringKey> keys;
  if (list == nullptr) return keys;
  for (const json::Value& each : *list) {
    if (!each.is_object()) return fail(ErrorKind::DataLoss, "a stored key is no object");
    const json::Object& stored = each.get_object();
    ExpiringKey key;
    FS_TRY(key.id, required_text(stored, "_id"));
    FS_TRY(const std::string kind, required_text(stored, "kind"));
    key.kind = kind == to_string(KeyKind::Mobile) ? KeyKind::Mobile : KeyKind::Sdk;
    FS_TRY(key.key, required_text(stored, "key"));
    FS_TRY(const auto expires, optional_integer(stored, "expires"));
    key.expires = expires.value_or(0);
    if (key.expires <= 0) return fail(ErrorKind::DataLoss, "a stored key never expires");
    keys.push_back(std::move(key));
  }
  return keys;
}

std::string sdk_flag(const Flag& flag, const FlagConfig& config) {
  ObjectText out;
  out.text("key", flag.key).integer("version", config.version).boolean("on", config.on);
  add_targeting(out, config, Audience::Sdk);
  out.raw("variations",
          list_text(flag.variations, [](const Variation& each) { return each.value_json; }));
  out.raw("clientSideAvailability", client_side_json(flag.client_side));
  out.boolean("clientSide", flag.client_side.using_environment_id).text("salt", config.salt);
  return std::move(out).done();
}

}  // namespace flagstream::catalog
