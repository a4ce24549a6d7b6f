#include "control/rest_shapes.h"

#include <algorithm>
#include <map>

#include "catalog/flag_json.h"
#include "catalog/json_fields.h"
#include "json/json.h"

namespace flagstream::control {
namespace {

using catalog::list_text;
using catalog::ObjectText;

std::string link(const std::string& href, std::string_view type = "application/json") {
  ObjectText out;
  out.text("href", href).text("type", type);
  return std::move(out).done();
}

std::string links(const std::string& self, const std::string& parent) {
  ObjectText out;
  out.raw("parent", link(parent)).raw("self", link(self));
  return std::move(out).done();
}

std::string project_path(const std::string& key) { return "/api/v2/projects/" + key; }
std::string flag_path(const std::string& project, const std::string& flag) {
  return "/api/v2/flags/" + project + "/" + flag;
}
std::string environment_path(const std::string& project, const std::string& key) {
  return project_path(project) + "/environments/" + key;
}

std::string tags_text(const std::vector<std::string>& tags) {
  return list_text(tags, json::quoted);
}

std::string variation_shape(const catalog::Variation& variation) {
  ObjectText out;
  out.text("_id", variation.id).raw("value", variation.value_json);
  if (!variation.name.empty()) out.text("name", variation.name);
  if (!variation.description.empty()) out.text("description", variation.description);
  return std::move(out).done();
}

struct VariationUse {
  int rules = 0;
  int null_rules = 0;
  int targets = 0;
  int context_targets = 0;
  bool is_fallthrough = false;
  bool is_off = false;
};

// A rollout counts for each variation that it may serve.
template <class Count>
void for_each_served(const catalog::Serve& serve, Count count) {
  if (const int* variation = std::get_if<int>(&serve)) return count(*variation);
  for (const auto& each : std::get<catalog::Rollout>(serve).variations) {
    if (each.weight > 0) count(each.variation);
  }
}

std::string summary_shape(const catalog::FlagConfig& config) {
  std::map<int, VariationUse> uses;
  for (const auto& rule : config.rules) {
    for_each_served(rule.serve, [&](int variation) { uses[variation].rules += 1; });
  }
  for (const auto& target : config.targets)
    uses[target.variation].targets += static_cast<int>(target.values.size());
  for (const auto& target : config.context_targets) {
    uses[target.variation].context_targets += static_cast<int>(target.values.size());
  }
  for_each_served(config.fallthrough,
                  [&](int variation) { uses[variation].is_fallthrough = true; });
  if (config.off_variation) uses[*config.off_variation].is_off = true;
  ObjectText variations;
  for (const auto& [variation, use] : uses) {
    ObjectText out;
    out.integer("rules", use.rules)
        .integer("nullRules", use.null_rules)
        .integer("targets", use.targets);
    out.integer("contextTargets", use.context_targets);
    if (use.is_fallthrough) out.boolean("isFallthrough", true);
    if (use.is_off) out.boolean("isOff", true);
    variations.raw(std::to_string(variation), std::move(out).done());
  }
  ObjectText summary;
  summary.raw("variations", std::move(variations).done());
  summary.integer("prerequisites", static_cast<std::int64_t>(config.prerequisites.size()));
  return std::move(summary).done();
}

std::string config_shape(const catalog::Project& project, const catalog::Environment& environment,
                         const catalog::Flag& flag, const catalog::FlagConfig& config,
                         bool with_targeting) {
  ObjectText out;
  out.boolean("on", config.on)
      .boolean("archived", config.archived)
      .text("salt", config.salt)
      .text("sel", "");
  out.integer("lastModified", config.last_modified).integer("version", config.version);
  out.raw("_site", link("/ui/?project=" + project.key + "&environment=" + environment.key +
                            "&flag=" + flag.key,
                        "text/html"));
  out.text("_environmentName", environment.name);
  if (with_targeting) {
    catalog::add_rest_targeting(out, config);
  } else {
    out.boolean("trackEvents", config.track_events);
    out.boolean("trackEventsFallthrough", config.track_events_fallthrough);
  }
  out.raw("_summary", summary_shape(config));
  return std::move(out).done();
}

std::string environments_of_flag(const catalog::Project& project, Environments environments,
                                 const catalog::Flag& flag, const FlagView& view) {
  ObjectText out;
  for (const auto& environment : environments) {
    const auto config = flag.environments.find(environment.key);
    const auto& wanted = view.environment_keys;
    const bool is_wanted =
        wanted.empty() || std::find(wanted.begin(), wanted.end(), environment.key) != wanted.end();
    if (config == flag.environments.end() || !is_wanted) continue;
    out.raw(environment.key,
            config_shape(project, environment, flag, config->second, view.with_targeting));
  }
  return std::move(out).done();
}

}  // namespace

std::string flag_shape(const catalog::Project& project, Environments environments,
                       const catalog::Flag& flag, const FlagView& view) {
  ObjectText defaults;
  defaults.integer("onVariation", flag.default_on_variation)
      .integer("offVariation", flag.default_off_variation);
  ObjectText out;
  out.text("name", flag.name).text("kind", kind_of(flag)).text("description", flag.description);
  out.text("key", flag.key).integer("_version", flag.version).integer("creationDate", flag.created);
  out.boolean("includeInSnippet", flag.client_side.using_environment_id);
  out.raw("clientSideAvailability", catalog::client_side_json(flag.client_side));
  out.raw("variations", list_text(flag.variations, variation_shape));
  out.boolean("temporary", flag.temporary).raw("tags", tags_text(flag.tags));
  out.raw("_links", links(flag_path(project.key, flag.key), "/api/v2/flags/" + project.key));
  out.raw("experiments", R"({"baselineIdx":0,"items":[]})").raw("customProperties", "{}");
  out.boolean("archived", flag.archived).boolean("deprecated", false).raw("goalIds", "[]");
  out.raw("defaults", std::move(defaults).done());
  if (view.with_environments)
    out.raw("environments", environments_of_flag(project, environments, flag, view));
  return std::move(out).done();
}

std::string environment_shape(const catalog::Project& project,
                              const catalog::Environment& environment) {
  ObjectText out;
  out.raw("_links",
          links(environment_path(project.key, environment.key), project_path(project.key)));
  out.text("_id", environment.client_side_id)
      .text("key", environment.key)
      .text("name", environment.name);
  out.text("apiKey", environment.sdk_key).text("mobileKey", environment.mobile_key);
  const catalog::EnvironmentSettings& settings = environment.settings;
  out.text("color", environment.color)
      .integer("defaultTtl", settings.default_ttl_minutes)
      .boolean("secureMode", settings.secure_mode);
  out.boolean("defaultTrackEvents", settings.default_track_events)
      .boolean("requireComments", settings.require_comments)
      .boolean("confirmChanges", settings.confirm_changes);
  out.raw("tags", tags_text(environment.tags)).boolean("critical", settings.critical);
  return std::move(out).done();
}

std::string expiring_key_shape(const catalog::ExpiringKey& key) {
  ObjectText out;
  out.text("_id", key.id).text("kind", to_string(key.kind)).text("value", key.key);
  out.integer("expiry", key.expires);
  return std::move(out).done();
}

std::string project_shape(const catalog::Project& project, Environments environments,
                          Expand expand) {
  ObjectText project_links;
  project_links.raw("self", link(project_path(project.key)));
  project_links.raw("environments", link(project_path(project.key) + "/environments"));
  ObjectText out;
  out.raw("_links", std::move(project_links).done());
  out.text("_id", std::to_string(to_number(project.id))).text("key", project.key);
  out.boolean("includeInSnippetByDefault", false);
  out.raw("defaultClientSideAvailability", catalog::client_side_json({}));
  out.text("name", project.name).raw("tags", tags_text(project.tags));
  std::vector<std::string> shapes;
  for (const auto& each : environments) shapes.push_back(environment_shape(project, each));
  switch (expand) {
    case Expand::None:
      break;
    case Expand::Collection:
      out.raw("environments",
              list_shape(shapes, {.path = project_path(project.key) + "/environments",
                                  .limit = shapes.size(),
                                  .total = shapes.size()}));
      break;
    case Expand::List:
      out.raw("environments", list_text(shapes, [](const std::string& each) { return each; }));
      break;
  }
  return std::move(out).done();
}

std::string segment_shape(const catalog::EnvironmentPath& in, const catalog::Segment& segment,
                          std::optional<std::int64_t> members) {
  const std::string parent = "/api/v2/segments/" + in.project_key + "/" + in.environment_key;
  ObjectText out;
  out.text("name", segment.name).text("description", segment.description);
  out.raw("tags", tags_text(segment.tags)).integer("creationDate", segment.created);
  out.integer("lastModifiedDate", segment.last_modified).text("key", segment.key);
  out.raw("_links", links(parent + "/" + segment.key, parent)).text("salt", segment.salt);
  catalog::add_rest_targeting(out, segment);
  out.integer("version", segment.version).boolean("deleted", false);
  out.boolean("unbounded", segment.unbounded).integer("generation", segment.generation);
  if (segment.unbounded) {
    out.text("unboundedContextKind", segment.unbounded_context_kind);
    if (members) {
      ObjectText metadata;
      metadata.integer("memberCount", *members);
      out.raw("_unboundedMetadata", std::move(metadata).done());
    }
  }
  return std::move(out).done();
}

std::string token_shape(const catalog::Access::Token& token, std::string_view secret) {
  ObjectText token_links;
  token_links.raw("self", link("/api/v2/tokens/" + token.id));
  ObjectText out;
  out.text("_id", token.id).text("ownerId", "flagstream").text("memberId", "owner");
  out.text("name", token.name).text("role", catalog::to_string(token.role));
  out.integer("creationDate", token.created_ms).integer("lastModified", token.created_ms);
  out.boolean("serviceToken", true).raw("_links", std::move(token_links).done());
  if (!secret.empty()) out.text("token", secret);
  return std::move(out).done();
}

std::string list_shape(std::span<const std::string> items, const Page& page) {
  const auto href = [&](std::size_t offset) {
    return page.path + "?limit=" + std::to_string(page.limit) + "&offset=" + std::to_string(offset);
  };
  ObjectText list_links;
  list_links.raw("self", link(href(page.offset)));
  if (page.offset + items.size() < page.total)
    list_links.raw("next", link(href(page.offset + items.size())));
  ObjectText out;
  out.raw("items", list_text(items, [](const std::string& each) { return each; }));
  out.raw("_links", std::move(list_links).done())
      .integer("totalCount", static_cast<std::int64_t>(page.total));
  return std::move(out).done();
}

}  // namespace flagstream::control
