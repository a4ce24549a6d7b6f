// The routes of the REST API that need nothing but the catalog: projects, environments, flags,
// segments, identity.
//
// Every method runs on the one thread that owns the catalog.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "base/error.h"
#include "catalog/catalog.h"
#include "http/message.h"

namespace flagstream::control {

class Api {
 public:
  // `changed` is called after every committed change; it must not block.
  Api(catalog::Catalog& catalog, std::function<void()> changed)
      : catalog_(catalog), changed_(std::move(changed)) {}

  struct Call {
    const http::Request& request;
    const catalog::Identity& identity;
  };

  // `pattern` as the router takes it; what its {placeholders} matched is in the request's captures,
  // in order.
  struct Route {
    std::string_view method;
    std::string_view pattern;
    catalog::Role least;
    Result<http::Response> (Api::*answer)(const Call&);
  };
  static std::span<const Route> routes();

  // Authenticates and answers.
  Result<http::Response> answer(const Route& route, const http::Request& request);

 private:
  Result<http::Response> account(const Call& call);
  Result<http::Response> caller_identity(const Call& call);
  Result<http::Response> session(const Call& call);
  Result<http::Response> list_projects(const Call& call);
  Result<http::Response> create_project(const Call& call);
  Result<http::Response> show_project(const Call& call);
  Result<http::Response> list_environments(const Call& call);
  Result<http::Response> create_environment(const Call& call);
  Result<http::Response> show_environment(const Call& call);
  Result<http::Response> patch_environment(const Call& call);
  Result<http::Response> reset_sdk_key(const Call& call);
  Result<http::Response> reset_mobile_key(const Call& call);
  Result<http::Response> reset_key(const Call& call, catalog::KeyKind kind);
  Result<http::Response> list_expiring_keys(const Call& call);
  Result<http::Response> end_expiring_key(const Call& call);
  Result<http::Response> list_flags(const Call& call);
  Result<http::Response> create_flag(const Call& call);
  Result<http::Response> show_flag(const Call& call);
  Result<http::Response> patch_flag(const Call& call);
  Result<http::Response> delete_flag(const Call& call);
  Result<http::Response> list_segments(const Call& call);
  Result<http::Response> create_segment(const Call& call);
  Result<http::Response> show_segment(const Call& call);
  Result<http::Response> patch_segment(const Call& call);
  Result<http::Response> delete_segment(const Call& call);
  Result<http::Response> change_members(const Call& call);
  Result<http::Response> show_member(const Call& call);
  Result<std::string> shape_of(const catalog::EnvironmentPath& in, const catalog::Segment& segment);
  Result<http::Response> list_tokens(const Call& call);
  Result<http::Response> create_token(const Call& call);
  Result<http::Response> delete_token(const Call& call);

  catalog::Catalog& catalog_;
  std::function<void()> changed_;
};

}  // namespace flagstream::control
