#include "control/api.h"

#include <algorithm>
#include <array>

#include "catalog/json_fields.h"
#include "control/rest_input.h"
#include "control/rest_shapes.h"
#include "control/sign_in.h"
#include "json/json.h"

namespace flagstream::control {
namespace {

using catalog::ObjectText;
using catalog::Role;

constexpr std::size_t kPageDefault = 20;
constexpr std::size_t kTokensDefault = 25;

catalog::Actor actor_of(const catalog::Identity& identity) { return {identity.name}; }

bool is_true(const std::optional<std::string>& value) { return value == "true" || value == "1"; }

// The page of `all`, each through `to_json`.
template <class T, class ToJson>
std::string page_of(const std::vector<T>& all, Page page, ToJson to_json) {
  page.total = all.size();
  page.offset = std::min(page.offset, all.size());
  std::vector<std::string> items;
  for (std::size_t i = page.offset; i < all.size() && items.size() < page.limit; ++i)
    items.push_back(to_json(all[i]));
  return list_shape(items, page);
}

}  // namespace

std::span<const Api::Route> Api::routes() {
  static constexpr std::array kRoutes = {
      Route{"GET", "/api/internal/session", Role::Reader, &Api::session},
      Route{"GET", "/api/v2/account", Role::Reader, &Api::account},
      Route{"GET", "/api/v2/caller-identity", Role::Reader, &Api::caller_identity},
      Route{"GET", "/api/v2/projects", Role::Reader, &Api::list_projects},
      Route{"POST", "/api/v2/projects", Role::Writer, &Api::create_project},
      Route{"GET", "/api/v2/projects/{project}", Role::Reader, &Api::show_project},
      Route{"GET", "/api/v2/projects/{project}/environments", Role::Reader,
            &Api::list_environments},
      Route{"POST", "/api/v2/projects/{project}/environments", Role::Writer,
            &Api::create_environment},
      Route{"GET", "/api/v2/projects/{project}/environments/{environment}", Role::Reader,
            &Api::show_environment},
      Route{"PATCH", "/api/v2/projects/{project}/environments/{environment}", Role::Writer,
            &Api::patch_environment},
      Route{"POST", "/api/v2/projects/{project}/environments/{environment}/apiKey", Role::Writer,
            &Api::reset_sdk_key},
      Route{"POST", "/api/v2/projects/{project}/environments/{environment}/mobileKey", Role::Writer,
            &Api::reset_mobile_key},
      Route{"GET", "/api/internal/projects/{project}/environments/{environment}/keys", Role::Reader,
            &Api::list_expiring_keys},
      Route{"DELETE", "/api/internal/projects/{project}/environments/{environment}/keys/{id}",
            Role::Writer, &Api::end_expiring_key},
      Route{"GET", "/api/v2/tokens", Role::Admin, &Api::list_tokens},
      Route{"POST", "/api/v2/tokens", Role::Admin, &Api::create_token},
      Route{"DELETE", "/api/v2/tokens/{id}", Role::Admin, &Api::delete_token},
      Route{"GET", "/api/v2/flags/{project}", Role::Reader, &Api::list_flags},
      Route{"POST", "/api/v2/flags/{project}", Role::Writer, &Api::create_flag},
      Route{"GET", "/api/v2/flags/{project}/{flag}", Role::Reader, &Api::show_flag},
      Route{"PATCH", "/api/v2/flags/{project}/{flag}", Role::Writer, &Api::patch_flag},
      Route{"DELETE", "/api/v2/flags/{project}/{flag}", Role::Writer, &Api::delete_flag},
      Route{"GET", "/api/v2/segments/{project}/{environment}", Role::Reader, &Api::list_segments},
      Route{"POST", "/api/v2/segments/{project}/{environment}", Role::Writer, &Api::create_segment},
      Route{"GET", "/api/v2/segments/{project}/{environment}/{segment}", Role::Reader,
            &Api::show_segment},
      Route{"PATCH", "/api/v2/segments/{project}/{environment}/{segment}", Role::Writer,
            &Api::patch_segment},
      Route{"DELETE", "/api/v2/segments/{project}/{environment}/{segment}", Role::Writer,
            &Api::delete_segment},
      Route{"POST", "/api/v2/segments/{project}/{environment}/{segment}/contexts", Role::Writer,
            &Api::change_members},
      Route{"GET", "/api/v2/segments/{project}/{environment}/{segment}/contexts/{context}",
            Role::Reader, &Api::show_member},
  };
  return kRoutes;
}

namespace {

catalog::EnvironmentPath path_of(const http::Request& request) {
  return {.project_key = request.captures[0], .environment_key = request.captures[1]};
}

http::Response no_content() {
  http::Response response;
  response.status = 204;
  return response;
}

}  // namespace

Result<http::Response> Api::answer(const Route& route, const http::Request& request) {
  FS_TRY(const catalog::Identity identity, authenticate(request, catalog_.access()));
  FS_TRY(require(identity, route.least));
  return (this->*route.answer)(Call{request, identity});
}

Result<http::Response> Api::account(const Call&) {
  ObjectText out;
  out.text("_id", "flagstream").text("organization", "Flagstream");
  return http::json_response(200, std::move(out).done());
}

Result<http::Response> Api::caller_identity(const Call& call) {
  ObjectText out;
  out.text("accountId", "flagstream")
      .text("authKind", call.identity.token_id.empty() ? "session" : "token");
  out.text("tokenKind", "personal")
      .text("tokenName", call.identity.name)
      .text("tokenId", call.identity.token_id);
  out.boolean("serviceToken", !call.identity.token_id.empty()).raw("scopes", "[]");
  return http::json_response(200, std::move(out).done());
}

Result<http::Response> Api::session(const Call& call) {
  ObjectText out;
  out.boolean("authenticated", true).text("name", call.identity.name);
  return http::json_response(200, std::move(out).done());
}

Result<http::Response> Api::list_projects(const Call& call) {
  FS_TRY(const Page page, read_page(call.request, kPageDefault));
  FS_TRY(const auto projects, catalog_.projects());
  return http::json_response(200, page_of(projects, page, [](const catalog::Project& each) {
                               return project_shape(each, {}, Expand::None);
                             }));
}

Result<http::Response> Api::create_project(const Call& call) {
  FS_TRY(const auto wanted, read_new_project(call.request.body));
  FS_TRY(const auto project, catalog_.create_project(wanted, actor_of(call.identity)));
  changed_();
  FS_TRY(const auto environments, catalog_.environments(project.id));
  return http::json_response(201, project_shape(project, environments, Expand::List));
}

Result<http::Response> Api::show_project(const Call& call) {
  FS_TRY(const auto project, catalog_.project(call.request.captures[0]));
  const bool is_expanded =
      call.request.query_value("expand").value_or("").find("environments") != std::string::npos;
  if (!is_expanded) return http::json_response(200, project_shape(project, {}, Expand::None));
  FS_TRY(const auto environments, catalog_.environments(project.id));
  return http::json_response(200, project_shape(project, environments, Expand::Collection));
}

Result<http::Response> Api::list_environments(const Call& call) {
  FS_TRY(const Page page, read_page(call.request, kPageDefault));
  FS_TRY(const auto project, catalog_.project(call.request.captures[0]));
  FS_TRY(const auto environments, catalog_.environments(project.id));
  return http::json_response(200,
                             page_of(environments, page, [&](const catalog::Environment& each) {
                               return environment_shape(project, each);
                             }));
}

Result<http::Response> Api::create_environment(const Call& call) {
  FS_TRY(const auto wanted, read_new_environment(call.request.body));
  const std::string& project_key = call.request.captures[0];
  FS_TRY(const auto created,
         catalog_.create_environment(project_key, wanted, actor_of(call.identity)));
  changed_();
  FS_TRY(const auto project, catalog_.project(project_key));
  return http::json_response(201, environment_shape(project, created));
}

Result<http::Response> Api::show_environment(const Call& call) {
  FS_TRY(const auto project, catalog_.project(call.request.captures[0]));
  FS_TRY(const auto environment, catalog_.environment(project.id, call.request.captures[1]));
  return http::json_response(200, environment_shape(project, environment));
}

Result<http::Response> Api::patch_environment(const Call& call) {
  FS_TRY(const json::Value body, json::parse(call.request.body));
  FS_TRY(const auto patch, catalog::parse_environment_patch(body));
  const auto& names = call.request.captures;
  FS_TRY(const auto edited,
         catalog_.edit_environment(names[0], names[1], patch, actor_of(call.identity)));
  changed_();
  FS_TRY(const auto project, catalog_.project(names[0]));
  return http::json_response(200, environment_shape(project, edited));
}

Result<http::Response> Api::reset_sdk_key(const Call& call) {
  return reset_key(call, catalog::KeyKind::Sdk);
}

Result<http::Response> Api::reset_mobile_key(const Call& call) {
  return reset_key(call, catalog::KeyKind::Mobile);
}

Result<http::Response> Api::reset_key(const Call& call, catalog::KeyKind kind) {
  FS_TRY(const auto expiry, read_expiry(call.request));
  const auto& names = call.request.captures;
  FS_TRY(const auto reset,
         catalog_.reset_key(names[0], names[1], kind, expiry, actor_of(call.identity)));
  changed_();
  FS_TRY(const auto project, catalog_.project(names[0]));
  return http::json_response(200, environment_shape(project, reset));
}

Result<http::Response> Api::list_expiring_keys(const Call& call) {
  FS_TRY(const Page page, read_page(call.request, kPageDefault));
  FS_TRY(const auto project, catalog_.project(call.request.captures[0]));
  FS_TRY(const auto environment, catalog_.environment(project.id, call.request.captures[1]));
  std::vector<catalog::ExpiringKey> keys = catalog_.valid_keys(environment);
  return http::json_response(200, page_of(keys, page, expiring_key_shape));
}

Result<http::Response> Api::end_expiring_key(const Call& call) {
  const auto& names = call.request.captures;
  FS_TRY(catalog_.end_key(names[0], names[1], names[2], actor_of(call.identity)));
  changed_();
  http::Response response;
  response.status = 204;
  return response;
}

Result<http::Response> Api::list_flags(const Call& call) {
  FS_TRY(const Page page, read_page(call.request, kPageDefault));
  FS_TRY(const auto project, catalog_.project(call.request.captures[0]));
  FS_TRY(const auto environments, catalog_.environments(project.id));
  FS_TRY(const auto flags, catalog_.flags(project));
  const FlagView view = read_flag_view(call.request);
  return http::json_response(200, page_of(flags, page, [&](const catalog::Flag& each) {
                               return flag_shape(project, environments, each, view);
                             }));
}

Result<http::Response> Api::create_flag(const Call& call) {
  FS_TRY(const auto wanted, read_new_flag(call.request.body));
  const std::string& project_key = call.request.captures[0];
  FS_TRY(const auto flag, catalog_.create_flag(project_key, wanted, actor_of(call.identity)));
  changed_();
  FS_TRY(const auto project, catalog_.project(project_key));
  FS_TRY(const auto environments, catalog_.environments(project.id));
  return http::json_response(201, flag_shape(project, environments, flag, {}));
}

Result<http::Response> Api::show_flag(const Call& call) {
  FS_TRY(const auto project, catalog_.project(call.request.captures[0]));
  FS_TRY(const auto flag, catalog_.flag(project, call.request.captures[1]));
  FS_TRY(const auto environments, catalog_.environments(project.id));
  FlagView view = read_flag_view(call.request);
  view.with_environments = true;
  view.with_targeting = true;
  return http::json_response(200, flag_shape(project, environments, flag, view));
}

Result<http::Response> Api::patch_flag(const Call& call) {
  FS_TRY(const json::Value body, json::parse(call.request.body));
  FS_TRY(const auto patch, catalog::parse_patch(body));
  const auto dry_run =
      is_true(call.request.query_value("dryRun")) ? catalog::DryRun::Yes : catalog::DryRun::No;
  const std::string& project_key = call.request.captures[0];
  FS_TRY(const auto flag, catalog_.edit_flag(project_key, call.request.captures[1], patch,
                                             actor_of(call.identity), dry_run));
  if (dry_run == catalog::DryRun::No) changed_();
  FS_TRY(const auto project, catalog_.project(project_key));
  FS_TRY(const auto environments, catalog_.environments(project.id));
  return http::json_response(200, flag_shape(project, environments, flag, {}));
}

Result<http::Response> Api::delete_flag(const Call& call) {
  FS_TRY(catalog_.delete_flag(call.request.captures[0], call.request.captures[1],
                              actor_of(call.identity)));
  changed_();
  return no_content();
}

Result<std::string> Api::shape_of(const catalog::EnvironmentPath& in,
                                  const catalog::Segment& segment) {
  std::int64_t members = 0;
  if (segment.unbounded) {
    FS_TRY(members, catalog_.members().count(segment.generation));
  }
  return segment_shape(in, segment, members);
}

Result<http::Response> Api::list_segments(const Call& call) {
  FS_TRY(const Page page, read_page(call.request, kPageDefault));
  FS_TRY(const auto project, catalog_.project(call.request.captures[0]));
  FS_TRY(const auto environment, catalog_.environment(project.id, call.request.captures[1]));
  FS_TRY(const auto segments, catalog_.segments(environment.id));
  const catalog::EnvironmentPath in = path_of(call.request);
  return http::json_response(200, page_of(segments, page, [&](const catalog::Segment& each) {
                               return segment_shape(in, each, std::nullopt);
                             }));
}

Result<http::Response> Api::create_segment(const Call& call) {
  FS_TRY(const auto wanted, read_new_segment(call.request.body));
  const catalog::EnvironmentPath in = path_of(call.request);
  FS_TRY(const auto made, catalog_.create_segment(in, wanted, actor_of(call.identity)));
  changed_();
  FS_TRY(std::string shape, shape_of(in, made));
  return http::json_response(201, std::move(shape));
}

Result<http::Response> Api::show_segment(const Call& call) {
  FS_TRY(const auto project, catalog_.project(call.request.captures[0]));
  FS_TRY(const auto environment, catalog_.environment(project.id, call.request.captures[1]));
  FS_TRY(const auto segment, catalog_.segment(environment.id, call.request.captures[2]));
  FS_TRY(std::string shape, shape_of(path_of(call.request), segment));
  return http::json_response(200, std::move(shape));
}

Result<http::Response> Api::patch_segment(const Call& call) {
  FS_TRY(const json::Value body, json::parse(call.request.body));
  FS_TRY(const auto patch, catalog::parse_semantic_patch(body));
  const auto dry_run =
      is_true(call.request.query_value("dryRun")) ? catalog::DryRun::Yes : catalog::DryRun::No;
  const catalog::EnvironmentPath in = path_of(call.request);
  FS_TRY(const auto edited, catalog_.edit_segment(in, call.request.captures[2], patch,
                                                  actor_of(call.identity), dry_run));
  if (dry_run == catalog::DryRun::No) changed_();
  FS_TRY(std::string shape, shape_of(in, edited));
  return http::json_response(200, std::move(shape));
}

Result<http::Response> Api::delete_segment(const Call& call) {
  FS_TRY(catalog_.delete_segment(path_of(call.request), call.request.captures[2],
                                 actor_of(call.identity)));
  changed_();
  return no_content();
}

Result<http::Response> Api::change_members(const Call& call) {
  FS_TRY(const auto change, read_member_change(call.request.body));
  FS_TRY(catalog_.change_members(path_of(call.request), call.request.captures[2], change,
                                 actor_of(call.identity)));
  changed_();
  return no_content();
}

Result<http::Response> Api::show_member(const Call& call) {
  FS_TRY(const auto project, catalog_.project(call.request.captures[0]));
  FS_TRY(const auto environment, catalog_.environment(project.id, call.request.captures[1]));
  FS_TRY(const auto segment, catalog_.segment(environment.id, call.request.captures[2]));
  if (!segment.unbounded)
    return fail(ErrorKind::NotFound, "segment \"" + segment.key + "\" is no big segment");
  const std::string& context = call.request.captures[3];
  FS_TRY(const auto found, catalog_.members().membership(segment.generation, context));
  ObjectText out;
  out.text("userKey", context)
      .boolean("included", found.is_included)
      .boolean("excluded", found.is_excluded);
  return http::json_response(200, std::move(out).done());
}

Result<http::Response> Api::list_tokens(const Call& call) {
  FS_TRY(const Page page, read_page(call.request, kTokensDefault));
  FS_TRY(const auto tokens, catalog_.access().tokens());
  return http::json_response(200, page_of(tokens, page, [](const catalog::Access::Token& each) {
                               return token_shape(each, "");
                             }));
}

Result<http::Response> Api::create_token(const Call& call) {
  FS_TRY(const NewToken wanted, read_new_token(call.request.body));
  catalog::Access access = catalog_.access();
  FS_TRY(const std::string secret, access.create_token(wanted.name, wanted.role));
  FS_TRY(const auto made, access.find_token(secret));
  FS_TRY(const auto tokens, access.tokens());
  const auto found = std::find_if(tokens.begin(), tokens.end(), [&](const auto& each) {
    return made && each.id == made->token_id;
  });
  if (found == tokens.end()) return fail(ErrorKind::Conflict, "the token was removed at once");
  return http::json_response(201, token_shape(*found, secret));
}

Result<http::Response> Api::delete_token(const Call& call) {
  FS_TRY(catalog_.access().remove_token(call.request.captures[0]));
  return no_content();
}

}  // namespace flagstream::control
