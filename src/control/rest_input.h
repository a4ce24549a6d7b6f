// The bodies and queries of the REST API, read into what the catalog takes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "catalog/catalog.h"
#include "control/rest_shapes.h"
#include "http/message.h"

namespace flagstream::control {

// All of these: InvalidArgument with the member that is wrong.  Unknown members are ignored.
Result<catalog::NewProject> read_new_project(std::string_view body);
Result<catalog::NewEnvironment> read_new_environment(std::string_view body);
Result<catalog::NewFlag> read_new_flag(std::string_view body);
Result<catalog::NewSegment> read_new_segment(std::string_view body);
// {"included":{"add":[..],"remove":[..]},"excluded":{..}}
Result<catalog::MemberChange> read_member_change(std::string_view body);

struct NewToken {
  std::string name;
  catalog::Role role = catalog::Role::Reader;
};
Result<NewToken> read_new_token(std::string_view body);

// The query parameter `expiry`: milliseconds since 1970; nullopt if there is none.
Result<std::optional<catalog::MillisUtc>> read_expiry(const http::Request& request);

// limit (at least 1, at most kPageMax) and offset, with `limit_default` where there is none.
Result<Page> read_page(const http::Request& request, std::size_t limit_default);
inline constexpr std::size_t kPageMax = 1'000;

// env, filterEnv (repeated or separated by commas) and summary.
FlagView read_flag_view(const http::Request& request);

}  // namespace flagstream::control
