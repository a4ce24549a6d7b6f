#include "control/rest_input.h"

#include <algorithm>
#include <charconv>

#include "catalog/json_fields.h"
#include "catalog/limits.h"
#include "http/request_parser.h"
#include "json/json.h"

namespace flagstream::control {
namespace {

using catalog::bool_or;
using catalog::optional_integer;
using catalog::optional_list;
using catalog::optional_text;
using catalog::required_text;

constexpr std::size_t kEnvironmentsMax = 100;

Result<json::Object> parse_object(std::string_view body) {
  FS_TRY(json::Value value, json::parse(body));
  if (!value.is_object()) return fail(ErrorKind::InvalidArgument, "the body must be a JSON object");
  return std::move(value.get_object());
}

Result<catalog::EnvironmentSettings> settings_of(const json::Object& object) {
  catalog::EnvironmentSettings settings;
  FS_TRY(settings.secure_mode, bool_or(object, "secureMode", false));
  FS_TRY(const auto minutes, optional_integer(object, "defaultTtl"));
  // Anything beyond every limit is refused all the same.
  settings.default_ttl_minutes =
      static_cast<int>(std::clamp<std::int64_t>(minutes.value_or(0), -1, 1 << 20));
  FS_TRY(settings.default_track_events, bool_or(object, "defaultTrackEvents", false));
  FS_TRY(settings.require_comments, bool_or(object, "requireComments", false));
  FS_TRY(settings.confirm_changes, bool_or(object, "confirmChanges", false));
  FS_TRY(settings.critical, bool_or(object, "critical", false));
  return settings;
}

Result<catalog::NewEnvironment> environment_of(const json::Object& object) {
  catalog::NewEnvironment wanted;
  FS_TRY(wanted.key, required_text(object, "key"));
  FS_TRY(wanted.name, required_text(object, "name"));
  FS_TRY(auto color, optional_text(object, "color"));
  if (color && !color->empty()) wanted.color = *std::move(color);
  FS_TRY(wanted.tags, catalog::texts(object, "tags"));
  FS_TRY(wanted.settings, settings_of(object));
  return wanted;
}

Result<catalog::NewVariation> variation_of(const json::Value& value) {
  const json::Object* object = value.if_object();
  const json::Value* user_value = object == nullptr ? nullptr : object->if_contains("value");
  if (user_value == nullptr)
    return fail(ErrorKind::InvalidArgument, "a variation must be an object with a value");
  catalog::NewVariation variation{.value_json = json::serialize(*user_value)};
  FS_TRY(auto name, optional_text(*object, "name"));
  variation.name = std::move(name).value_or("");
  FS_TRY(auto description, optional_text(*object, "description"));
  variation.description = std::move(description).value_or("");
  return variation;
}

Result<std::optional<int>> default_of(const json::Object& flag, std::string_view name) {
  const json::Value* defaults = flag.if_contains("defaults");
  if (defaults == nullptr || !defaults->is_object()) return std::nullopt;
  FS_TRY(const auto index, optional_integer(defaults->get_object(), name));
  if (!index) return std::nullopt;
  // Anything that no list of variations can reach is out of range all the same.
  return static_cast<int>(std::clamp<std::int64_t>(*index, -1, 1'000'000));
}

Result<std::optional<std::size_t>> number_of(const http::Request& request, std::string_view name) {
  const auto text = request.query_value(name);
  if (!text) return std::nullopt;
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc() || end != text->data() + text->size()) {
    return fail(ErrorKind::InvalidArgument, std::string(name) + " must be a number");
  }
  return number;
}

// Every value of that parameter, percent-decoded; what cannot be decoded is no value.
std::vector<std::string> values_of(std::string_view query, std::string_view name) {
  std::vector<std::string> values;
  while (!query.empty()) {
    const std::string_view parameter = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), parameter.size() + 1));
    const std::size_t equals = parameter.find('=');
    if (equals == std::string_view::npos || parameter.substr(0, equals) != name) continue;
    auto value = http::percent_decode(parameter.substr(equals + 1), http::PlusMeans::Space);
    if (value) values.push_back(*std::move(value));
  }
  return values;
}

}  // namespace

Result<catalog::NewProject> read_new_project(std::string_view body) {
  FS_TRY(const json::Object object, parse_object(body));
  catalog::NewProject wanted;
  FS_TRY(wanted.key, required_text(object, "key"));
  FS_TRY(wanted.name, required_text(object, "name"));
  FS_TRY(wanted.tags, catalog::texts(object, "tags"));
  FS_TRY(const json::Array* environments, optional_list(object, "environments"));
  if (environments == nullptr) return wanted;
  if (environments->size() > kEnvironmentsMax) {
    return fail(ErrorKind::InvalidArgument, "a project begins with at most 100 environments");
  }
  for (const json::Value& each : *environments) {
    if (!each.is_object())
      return fail(ErrorKind::InvalidArgument, "environments must be a list of objects");
    FS_TRY(auto environment, environment_of(each.get_object()));
    wanted.environments.push_back(std::move(environment));
  }
  return wanted;
}

Result<catalog::NewEnvironment> read_new_environment(std::string_view body) {
  FS_TRY(const json::Object object, parse_object(body));
  return environment_of(object);
}

Result<catalog::NewFlag> read_new_flag(std::string_view body) {
  FS_TRY(const json::Object object, parse_object(body));
  catalog::NewFlag wanted;
  FS_TRY(wanted.key, required_text(object, "key"));
  FS_TRY(wanted.name, required_text(object, "name"));
  FS_TRY(auto description, optional_text(object, "description"));
  wanted.description = std::move(description).value_or("");
  FS_TRY(const json::Array* variations, optional_list(object, "variations"));
  if (variations != nullptr) {
    for (const json::Value& each : *variations) {
      FS_TRY(auto variation, variation_of(each));
      wanted.variations.push_back(std::move(variation));
    }
  }
  FS_TRY(wanted.tags, catalog::texts(object, "tags"));
  FS_TRY(wanted.temporary, bool_or(object, "temporary", false));
  FS_TRY(wanted.on_variation, default_of(object, "onVariation"));
  FS_TRY(wanted.off_variation, default_of(object, "offVariation"));
  FS_TRY(wanted.is_on, bool_or(object, "isFlagOn", false));
  const json::Value* client_side = object.if_contains("clientSideAvailability");
  if (client_side != nullptr && client_side->is_object()) {
    const json::Object& members = client_side->get_object();
    FS_TRY(wanted.client_side.using_mobile_key, bool_or(members, "usingMobileKey", false));
    FS_TRY(wanted.client_side.using_environment_id, bool_or(members, "usingEnvironmentId", false));
  } else {
    // The member of old clients.
    FS_TRY(wanted.client_side.using_environment_id, bool_or(object, "includeInSnippet", false));
  }
  return wanted;
}

Result<catalog::NewSegment> read_new_segment(std::string_view body) {
  FS_TRY(const json::Object object, parse_object(body));
  catalog::NewSegment wanted;
  FS_TRY(wanted.key, required_text(object, "key"));
  FS_TRY(wanted.name, required_text(object, "name"));
  FS_TRY(auto description, optional_text(object, "description"));
  wanted.description = std::move(description).value_or("");
  FS_TRY(wanted.tags, catalog::texts(object, "tags"));
  FS_TRY(wanted.unbounded, bool_or(object, "unbounded", false));
  FS_TRY(auto kind, optional_text(object, "unboundedContextKind"));
  if (kind && !kind->empty()) wanted.unbounded_context_kind = *std::move(kind);
  return wanted;
}

Result<catalog::MemberChange> read_member_change(std::string_view body) {
  FS_TRY(const json::Object object, parse_object(body));
  catalog::MemberChange change;
  const auto read = [&](std::string_view name, std::vector<std::string>& add,
                        std::vector<std::string>& remove) -> Result<void> {
    const json::Value* value = object.if_contains(name);
    if (value == nullptr || value->is_null()) return {};
    if (!value->is_object()) {
      return fail(ErrorKind::InvalidArgument,
                  std::string(name) + " must be an object with the lists add and remove");
    }
    FS_TRY(add, catalog::texts(value->get_object(), "add"));
    FS_TRY(remove, catalog::texts(value->get_object(), "remove"));
    return {};
  };
  FS_TRY(read("included", change.included_add, change.included_remove));
  FS_TRY(read("excluded", change.excluded_add, change.excluded_remove));
  return change;
}

Result<NewToken> read_new_token(std::string_view body) {
  FS_TRY(const json::Object object, parse_object(body));
  FS_TRY(std::string name, required_text(object, "name"));
  FS_TRY(catalog::check_name("a token", name));
  FS_TRY(const std::string role_name, required_text(object, "role"));
  const auto role = catalog::parse_role(role_name);
  if (!role) return fail(ErrorKind::InvalidArgument, "role must be admin, writer or reader");
  return NewToken{std::move(name), *role};
}

Result<std::optional<catalog::MillisUtc>> read_expiry(const http::Request& request) {
  const auto text = request.query_value("expiry");
  if (!text || text->empty()) return std::nullopt;
  catalog::MillisUtc expiry = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), expiry);
  if (error != std::errc() || end != text->data() + text->size())
    return fail(ErrorKind::InvalidArgument, "expiry must be milliseconds since 1970");
  return expiry;
}

Result<Page> read_page(const http::Request& request, std::size_t limit_default) {
  FS_TRY(const auto limit, number_of(request, "limit"));
  FS_TRY(const auto offset, number_of(request, "offset"));
  Page page;
  page.path = request.path;
  page.limit = std::clamp<std::size_t>(limit.value_or(limit_default), 1, kPageMax);
  page.offset = offset.value_or(0);
  return page;
}

FlagView read_flag_view(const http::Request& request) {
  FlagView view;
  view.with_targeting =
      request.query_value("summary") == "0" || request.query_value("summary") == "false";
  view.with_environments = false;
  for (const std::string_view name : {"env", "filterEnv"}) {
    for (const std::string& value : values_of(request.query, name)) {
      view.with_environments = true;
      for (std::size_t at = 0; at <= value.size();) {
        const std::size_t end = std::min(value.find(',', at), value.size());
        if (end > at) view.environment_keys.push_back(value.substr(at, end - at));
        at = end + 1;
      }
    }
  }
  return view;
}

}  // namespace flagstream::control
