#include "control/demo.h"

#include "json/json.h"

namespace flagstream::control {
namespace {

using catalog::Catalog;

constexpr catalog::ClientSideAvailability kForBrowsers{.using_mobile_key = true,
                                                       .using_environment_id = true};
constexpr catalog::ClientSideAvailability kForServers{};

std::string project_key() { return std::string(kDemoProject); }

// Text of an object of weights: the variations of the flag in order.
std::string weights(const catalog::Flag& flag, std::initializer_list<int> in_order) {
  std::string out = "{";
  std::size_t i = 0;
  for (const int weight : in_order) {
    if (i != 0) out += ',';
    out += "\"" + flag.variations[i++].id + "\":" + std::to_string(weight);
  }
  return out + "}";
}

std::string rollout(const catalog::Flag& flag, std::initializer_list<int> in_order,
                    const std::string& context_kind) {
  return R"({"kind":"updateFallthroughVariationOrRollout","rolloutContextKind":")" + context_kind +
         R"(","rolloutWeights":)" + weights(flag, in_order) + "}";
}

std::string fallthrough(const catalog::Flag& flag, std::size_t variation) {
  return R"({"kind":"updateFallthroughVariationOrRollout","variationId":")" +
         flag.variations[variation].id + R"("})";
}

std::string rule(const catalog::Flag& flag, std::size_t variation, const std::string& clause) {
  return R"({"kind":"addRule","variationId":")" + flag.variations[variation].id +
         R"(","clauses":[)" + clause + "]}";
}

// Creates the flag, off everywhere, then gives it the same targeting in every environment and turns
// it on in production, in one transaction.  A flag that was edited since is left as it is.
Result<void> seed_flag(Catalog& catalog, const catalog::NewFlag& wanted, bool on_in_production,
                       std::string (*targeting)(const catalog::Flag&)) {
  const catalog::Actor actor{"demo"};
  FS_TRY(const catalog::Project project, catalog.project(project_key()));
  auto flag = catalog.flag(project, wanted.key);
  if (!flag && flag.error().kind != ErrorKind::NotFound) return fail(std::move(flag).error());
  if (!flag) flag = catalog.create_flag(project_key(), wanted, actor);
  if (!flag) return fail(std::move(flag).error());
  if (flag->version > 1) return {};
  catalog::SemanticPatch all;
  all.comment = "demo";
  for (const auto& [environment, config] : flag->environments) {
    std::string instructions = targeting(*flag);
    if (on_in_production && environment == kDemoEnvironment) {
      if (!instructions.empty()) instructions += ',';
      instructions += R"({"kind":"turnFlagOn"})";
    }
    if (instructions.empty()) continue;
    FS_TRY(const json::Value body, json::parse(R"({"environmentKey":")" + environment +
                                               R"(","instructions":[)" + instructions + "]}"));
    FS_TRY(auto patch, catalog::parse_patch(body));
    for (auto& each : patch.instructions) all.instructions.push_back(std::move(each));
  }
  if (all.instructions.empty()) return {};
  FS_TRY(catalog.edit_flag(project_key(), flag->key, all, actor));
  return {};
}

Result<void> seed_flags(Catalog& catalog) {
  FS_TRY(seed_flag(
      catalog,
      {.key = "new-checkout",
       .name = "New checkout",
       .description = "Half of the users see the new checkout.",
       .client_side = kForBrowsers},
      true, [](const catalog::Flag& flag) { return rollout(flag, {50'000, 50'000}, "user"); }));
  FS_TRY(seed_flag(
      catalog,
      {.key = "banner-text",
       .name = "Banner text",
       .description = "Visitors from Germany and France are greeted in a way of their own.",
       .variations = {{.value_json = R"("Welcome")", .name = "Plain"},
                      {.value_json = R"("Bienvenue, willkommen")", .name = "European"},
                      {.value_json = R"("Summer sale")", .name = "Sale"}},
       .client_side = kForBrowsers,
       .off_variation = 0},
      true, [](const catalog::Flag& flag) {
        return rule(
                   flag, 1,
                   R"({"contextKind":"user","attribute":"country","op":"in","values":["de","fr"]})") +
               "," + fallthrough(flag, 0);
      }));
  FS_TRY(seed_flag(
      catalog,
      {.key = "search-config",
       .name = "Search configuration",
       .description = "How search ranks; tried on organizations.",
       .variations = {{.value_json = R"({"engine":"classic","pageSize":20})", .name = "Classic"},
                      {.value_json = R"({"engine":"semantic","pageSize":20})", .name = "Semantic"},
                      {.value_json = R"({"engine":"semantic","pageSize":50})",
                       .name = "Semantic, long"}},
       .client_side = kForServers,
       .off_variation = 0},
      true, [](const catalog::Flag& flag) {
        return rollout(flag, {60'000, 20'000, 20'000}, "organization");
      }));
  FS_TRY(seed_flag(
      catalog,
      {.key = "dark-mode",
       .name = "Dark mode",
       .description = "On for iOS devices.",
       .client_side = kForBrowsers},
      true, [](const catalog::Flag& flag) {
        return rule(flag, 0,
                    R"({"contextKind":"device","attribute":"os","op":"in","values":["ios"]})") +
               "," + fallthrough(flag, 1);
      }));
  return seed_flag(catalog,
                   {.key = "free-shipping",
                    .name = "Free shipping",
                    .description = "Switch it on and watch the shop.",
                    .client_side = kForServers},
                   false, [](const catalog::Flag&) { return std::string(); });
}

}  // namespace

Result<catalog::Environment> seed_demo(Catalog& catalog) {
  auto project = catalog.project(project_key());
  if (!project) {
    if (project.error().kind != ErrorKind::NotFound) return fail(std::move(project).error());
    FS_TRY(catalog.create_project(
        {.key = project_key(),
         .name = "Demo shop",
         .environments = {{.key = std::string(kDemoEnvironment), .name = "Production"},
                          {.key = "test", .name = "Test", .color = "f5a623"}}},
        {"demo"}));
    project = catalog.project(project_key());
    if (!project) return fail(std::move(project).error());
  }
  FS_TRY(seed_flags(catalog));
  return catalog.environment(project->id, std::string(kDemoEnvironment));
}

}  // namespace flagstream::control
