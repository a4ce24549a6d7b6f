#include "app/client_commands.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <ostream>
#include <utility>

#include <fmt/chrono.h>

#include "app/config.h"
#include "io/file_system.h"
#include "json/json.h"

namespace flagstream::app {
namespace {

constexpr std::string_view kSemanticPatch =
    "application/json; domain-model=launchdarkly.semanticpatch";
constexpr double kWeightPerPercent = 1'000;

std::string escaped(std::string_view segment) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : segment) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_plain = std::isalnum(byte) != 0 || c == '-' || c == '.' || c == '_' || c == '~';
    if (is_plain) {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

ErrorKind kind_of(long status) {
  if (status == 401) return ErrorKind::Unauthenticated;
  if (status == 403) return ErrorKind::PermissionDenied;
  if (status == 404) return ErrorKind::NotFound;
  if (status == 409) return ErrorKind::Conflict;
  return status >= 500 ? ErrorKind::Unavailable : ErrorKind::InvalidArgument;
}

std::string text_of(const json::Object& object, std::string_view name) {
  const json::Value* value = object.if_contains(name);
  if (value == nullptr) return "";
  return value->is_string() ? std::string(value->get_string()) : json::serialize(*value);
}

Result<json::Object> call(const Transport& transport, const ApiRequest& request) {
  FS_TRY(const ApiAnswer answer, transport(request));
  auto parsed = json::parse(answer.body);
  const bool is_object = parsed && parsed->is_object();
  if (answer.status >= 200 && answer.status < 300) {
    if (answer.status == 204) return json::Object();
    if (!is_object) return fail(ErrorKind::Unavailable, "the server's answer is not a JSON object");
    return std::move(parsed->get_object());
  }
  std::string message = is_object ? text_of(parsed->get_object(), "message") : "";
  if (message.empty()) message = "the server answered " + std::to_string(answer.status);
  if (answer.status == 401) message += "; give --token, FLAGSTREAM_TOKEN or --data";
  return fail(kind_of(answer.status), std::move(message));
}

// Every item of a list, page by page.
Result<std::vector<json::Object>> call_list(const Transport& transport, const std::string& path) {
  constexpr std::size_t kPage = 100;
  constexpr std::size_t kPagesMax = 1'000;
  std::vector<json::Object> all;
  const char separator = path.find('?') == std::string::npos ? '?' : '&';
  for (std::size_t page = 0; page < kPagesMax; ++page) {
    ApiRequest request{.method = "GET", .path = path, .body = {}};
    request.path +=
        separator + ("limit=" + std::to_string(kPage)) + "&offset=" + std::to_string(page * kPage);
    FS_TRY(json::Object answer, call(transport, request));
    const json::Value* items = answer.if_contains("items");
    if (items == nullptr || !items->is_array())
      return fail(ErrorKind::Unavailable, "the server's answer has no items");
    for (const json::Value& each : items->get_array()) {
      if (each.is_object()) all.push_back(each.get_object());
    }
    if (items->get_array().size() < kPage) break;
  }
  return all;
}

int status_of(const Console& console, const Error& error) {
  console.err << "flagstream: " << error.what << '\n';
  switch (error.kind) {
    case ErrorKind::NotFound:
      return kExitNotFound;
    case ErrorKind::Conflict:
      return kExitConflict;
    case ErrorKind::InvalidArgument:
    case ErrorKind::TooLarge:
      return kExitUsage;
    case ErrorKind::Unauthenticated:
    case ErrorKind::PermissionDenied:
    case ErrorKind::ResourceExhausted:
    case ErrorKind::Unavailable:
    case ErrorKind::DataLoss:
    case ErrorKind::Indeterminate:
      return kExitFailed;
  }
  std::unreachable();
}

using Row = std::vector<std::string>;

void print_table(std::ostream& out, const std::vector<Row>& rows) {
  std::vector<std::size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      out << row[i];
      if (i + 1 < row.size()) out << std::string(widths[i] - row[i].size() + 2, ' ');
    }
    out << '\n';
  }
}

// The items as a JSON list, or as a table with the head and one row each.
int print_list(const Console& console, const std::vector<json::Object>& items, Row head,
               const std::function<Row(const json::Object&)>& row_of) {
  if (console.output == Output::Json) {
    json::Array list;
    for (const json::Object& each : items) list.emplace_back(each);
    console.out << json::serialize(list) << '\n';
    return kExitDone;
  }
  std::vector<Row> rows = {std::move(head)};
  for (const json::Object& each : items) rows.push_back(row_of(each));
  print_table(console.out, rows);
  return kExitDone;
}

int print_one(const Console& console, const json::Object& object, const std::string& sentence) {
  console.out << (console.output == Output::Json ? json::serialize(object) : sentence) << '\n';
  return kExitDone;
}

Result<std::string> project_of(const Transport& transport, const Place& place) {
  if (!place.project.empty()) return place.project;
  FS_TRY(const auto projects, call_list(transport, "/api/v2/projects"));
  if (projects.empty())
    return fail(ErrorKind::NotFound, "there is no project yet: flagstream project create KEY");
  if (projects.size() > 1)
    return fail(ErrorKind::InvalidArgument,
                "there are several projects: choose one with --project");
  return text_of(projects.front(), "key");
}

const json::Object* config_of(const json::Object& flag, const std::string& environment) {
  const json::Value* environments = flag.if_contains("environments");
  if (environments == nullptr || !environments->is_object()) return nullptr;
  const json::Value* config = environments->get_object().if_contains(environment);
  return config == nullptr ? nullptr : config->if_object();
}

// `api`: "v2", or "internal" for what only this server has.
std::string environment_path(const std::string& api, const std::string& project,
                             const Place& place) {
  return "/api/" + api + "/projects/" + escaped(project) + "/environments/" +
         escaped(place.environment);
}

// 2026-01-31 23:59:59 UTC, of milliseconds since 1970.
std::string utc_text(const json::Value* millis) {
  if (millis == nullptr || !millis->is_int64()) return "?";
  const std::chrono::sys_seconds time{std::chrono::seconds(millis->get_int64() / 1'000)};
  return fmt::format("{:%F %T} UTC", time);
}

Result<json::Object> edit_flag(const Transport& transport, const Place& place,
                               const std::string& project, const std::string& key,
                               json::Object instruction) {
  json::Object body;
  body["environmentKey"] = place.environment;
  body["instructions"] = json::Array{std::move(instruction)};
  return call(transport, {.method = "PATCH",
                          .path = "/api/v2/flags/" + escaped(project) + "/" + escaped(key),
                          .body = json::serialize(body),
                          .content_type = std::string(kSemanticPatch)});
}

// The variation's id, by its name, its value as JSON, or its index.
Result<std::string> variation_id(const json::Array& variations, const std::string& wanted) {
  for (std::size_t i = 0; i < variations.size(); ++i) {
    const json::Object* variation = variations[i].if_object();
    if (variation == nullptr) continue;
    const json::Value* value = variation->if_contains("value");
    const bool is_value = value != nullptr &&
                          (json::serialize(*value) == wanted ||
                           (value->is_string() && std::string_view(value->get_string()) == wanted));
    if (is_value || text_of(*variation, "name") == wanted || std::to_string(i) == wanted) {
      return text_of(*variation, "_id");
    }
  }
  return fail(ErrorKind::InvalidArgument, "the flag has no variation \"" + wanted + "\"");
}

Result<json::Object> weights_of(const json::Object& flag, const std::vector<std::string>& shares) {
  const json::Value* variations = flag.if_contains("variations");
  if (variations == nullptr || !variations->is_array())
    return fail(ErrorKind::Unavailable, "the flag has no variations");
  json::Object weights;
  for (const std::string& share : shares) {
    const std::size_t equals = share.rfind('=');
    double percent = 0;
    const char* const begin =
        share.data() + (equals == std::string::npos ? share.size() : equals + 1);
    const char* const end = share.data() + share.size();
    const auto [stopped, error] = std::from_chars(begin, end, percent);
    if (error != std::errc() || stopped != end || percent < 0 || percent > 100) {
      return fail(ErrorKind::InvalidArgument, "\"" + share + "\" is not VARIATION=PERCENT");
    }
    FS_TRY(const std::string id, variation_id(variations->get_array(), share.substr(0, equals)));
    weights[id] = static_cast<std::int64_t>(std::llround(percent * kWeightPerPercent));
  }
  return weights;
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string server_given(const ClientOptions& options) {
  return options.server.empty() ? variable("FLAGSTREAM_SERVER") : options.server;
}

std::string token_of(const ClientOptions& options) {
  if (!options.token.empty()) return options.token;
  if (std::string given = variable("FLAGSTREAM_TOKEN"); !given.empty()) return given;
  // Without the file the server answers 401, whose message says what to give.
  auto file = io::posix_file_system().read_file(options.data_folder + "/run/admin-token");
  if (!file) return "";
  while (file->ends_with('\n') || file->ends_with('\r')) file->pop_back();
  return *std::move(file);
}

}  // namespace

Transport transport_to(const ClientOptions& options) {
  std::string token = token_of(options);
  std::string server = server_given(options);
  if (!server.empty()) return http_transport(std::move(server), std::move(token));
  std::string socket = options.data_folder + "/run/control.sock";
  std::error_code ignored;
  if (std::filesystem::is_socket(socket, ignored))
    return socket_transport(std::move(socket), std::move(token));
  return http_transport(std::string(kDefaultServer), std::move(token));
}

std::string address_of(const ClientOptions& options) {
  std::string address = server_given(options);
  if (address.empty()) {
    const auto file = io::posix_file_system().read_file(options.data_folder + "/run/serving.json");
    const auto serving = file ? json::parse(*file) : fail(ErrorKind::NotFound, "");
    if (serving && serving->is_object()) address = json::text_member(serving->get_object(), "url");
  }
  if (address.empty()) address = kDefaultServer;
  while (address.ends_with('/')) address.pop_back();
  return address;
}

int project_list(const Transport& transport, const Console& console) {
  const auto projects = call_list(transport, "/api/v2/projects");
  if (!projects) return status_of(console, projects.error());
  return print_list(console, *projects, {"KEY", "NAME"}, [](const json::Object& each) {
    return Row{text_of(each, "key"), text_of(each, "name")};
  });
}

int project_create(const Transport& transport, const Console& console, const std::string& key,
                   const std::string& name) {
  json::Object body;
  body["key"] = key;
  body["name"] = name.empty() ? key : name;
  const auto created = call(
      transport, {.method = "POST", .path = "/api/v2/projects", .body = json::serialize(body)});
  if (!created) return status_of(console, created.error());
  return print_one(console, *created,
                   "project " + key + " created, with the environments test and production");
}

int environment_list(const Transport& transport, const Console& console, const Place& place) {
  const auto project = project_of(transport, place);
  if (!project) return status_of(console, project.error());
  const auto environments =
      call_list(transport, "/api/v2/projects/" + escaped(*project) + "/environments");
  if (!environments) return status_of(console, environments.error());
  return print_list(console, *environments, {"KEY", "NAME", "CLIENT-SIDE ID"},
                    [](const json::Object& each) {
                      return Row{text_of(each, "key"), text_of(each, "name"), text_of(each, "_id")};
                    });
}

int environment_create(const Transport& transport, const Console& console, const Place& place,
                       const std::string& key, const std::string& name) {
  const auto project = project_of(transport, place);
  if (!project) return status_of(console, project.error());
  json::Object body;
  body["key"] = key;
  body["name"] = name.empty() ? key : name;
  const auto created =
      call(transport, {.method = "POST",
                       .path = "/api/v2/projects/" + escaped(*project) + "/environments",
                       .body = json::serialize(body)});
  if (!created) return status_of(console, created.error());
  return print_one(console, *created, "environment " + key + " created in project " + *project);
}

int flag_list(const Transport& transport, const Console& console, const Place& place) {
  const auto project = project_of(transport, place);
  if (!project) return status_of(console, project.error());
  const auto flags = call_list(
      transport, "/api/v2/flags/" + escaped(*project) + "?env=" + escaped(place.environment));
  if (!flags) return status_of(console, flags.error());
  return print_list(
      console, *flags, {"KEY", "STATE", "KIND", "NAME"}, [&](const json::Object& each) {
        const json::Object* config = config_of(each, place.environment);
        const std::string state = config == nullptr                  ? "-"
                                  : text_of(*config, "on") == "true" ? "on"
                                                                     : "off";
        return Row{text_of(each, "key"), state, text_of(each, "kind"), text_of(each, "name")};
      });
}

int flag_create(const Transport& transport, const Console& console, const Place& place,
                const NewFlagOptions& options) {
  const auto project = project_of(transport, place);
  if (!project) return status_of(console, project.error());
  json::Object body;
  body["key"] = options.key;
  body["name"] = options.name.empty() ? options.key : options.name;
  if (!options.variations.empty()) {
    json::Array variations;
    for (const std::string& text : options.variations) {
      auto value = json::parse(text);
      // Text that is no JSON is meant as a string: quotes are hard to get through a shell.
      json::Object variation;
      variation["value"] = value ? *std::move(value) : json::Value(text);
      variations.emplace_back(std::move(variation));
    }
    body["variations"] = std::move(variations);
  }
  json::Object client_side;
  client_side["usingMobileKey"] = options.client_side;
  client_side["usingEnvironmentId"] = options.client_side;
  body["clientSideAvailability"] = std::move(client_side);
  const auto created = call(transport, {.method = "POST",
                                        .path = "/api/v2/flags/" + escaped(*project),
                                        .body = json::serialize(body)});
  if (!created) return status_of(console, created.error());
  return print_one(console, *created,
                   "flag " + options.key + " created in project " + *project + ", off everywhere");
}

int flag_switch(const Transport& transport, const Console& console, const Place& place,
                const std::string& key, Switch to) {
  const auto project = project_of(transport, place);
  if (!project) return status_of(console, project.error());
  json::Object instruction;
  instruction["kind"] = to == Switch::On ? "turnFlagOn" : "turnFlagOff";
  const auto flag = edit_flag(transport, place, *project, key, std::move(instruction));
  if (!flag) return status_of(console, flag.error());
  return print_one(console, *flag,
                   "flag " + key + " is " + (to == Switch::On ? "on" : "off") + " in " + *project +
                       "/" + place.environment);
}

int flag_rollout(const Transport& transport, const Console& console, const Place& place,
                 const std::string& key, const std::vector<std::string>& shares,
                 const std::string& context_kind) {
  const auto project = project_of(transport, place);
  if (!project) return status_of(console, project.error());
  const auto before =
      call(transport, {.method = "GET",
                       .path = "/api/v2/flags/" + escaped(*project) + "/" + escaped(key),
                       .body = {}});
  if (!before) return status_of(console, before.error());
  auto weights = weights_of(*before, shares);
  if (!weights) return status_of(console, weights.error());
  json::Object instruction;
  instruction["kind"] = "updateFallthroughVariationOrRollout";
  instruction["rolloutWeights"] = *std::move(weights);
  instruction["rolloutContextKind"] = context_kind;
  const auto flag = edit_flag(transport, place, *project, key, std::move(instruction));
  if (!flag) return status_of(console, flag.error());
  return print_one(console, *flag,
                   "flag " + key + " has a new rollout in " + *project + "/" + place.environment);
}

int setup_link(const Transport& transport, const Console& console, const std::string& address) {
  const auto made =
      call(transport, {.method = "POST", .path = "/api/internal/setup-link", .body = {}});
  if (!made) return status_of(console, made.error());
  return print_one(console, *made, address + text_of(*made, "setupPath"));
}

int keys(const Transport& transport, const Console& console, const Place& place) {
  const auto project = project_of(transport, place);
  if (!project) return status_of(console, project.error());
  const auto environment = call(
      transport, {.method = "GET", .path = environment_path("v2", *project, place), .body = {}});
  if (!environment) return status_of(console, environment.error());
  if (console.output == Output::Json) return print_one(console, *environment, "");
  const auto old = call_list(transport, environment_path("internal", *project, place) + "/keys");
  if (!old) return status_of(console, old.error());
  std::vector<Row> rows = {{"SDK key", text_of(*environment, "apiKey")},
                           {"mobile key", text_of(*environment, "mobileKey")},
                           {"client-side id", text_of(*environment, "_id")}};
  for (const json::Object& each : *old) {
    rows.push_back(
        {text_of(each, "kind") == "mobile" ? "old mobile key" : "old SDK key",
         text_of(each, "value"),
         "until " + utc_text(each.if_contains("expiry")) + ", ID " + text_of(each, "_id")});
  }
  print_table(console.out, rows);
  return kExitDone;
}

int keys_rotate(const Transport& transport, const Console& console, const Place& place,
                const RotateOptions& options, const Clock& clock) {
  std::string query;
  if (!options.grace.empty()) {
    const auto grace = parse_duration(options.grace);
    if (!grace) return status_of(console, grace.error());
    query = "?expiry=" + std::to_string((clock.now() + grace->count()) / kMicrosPerMilli);
  }
  const auto project = project_of(transport, place);
  if (!project) return status_of(console, project.error());
  const std::string member = options.mobile ? "mobileKey" : "apiKey";
  const auto reset =
      call(transport, {.method = "POST",
                       .path = environment_path("v2", *project, place) + "/" + member + query,
                       .body = {}});
  if (!reset) return status_of(console, reset.error());
  return print_one(console, *reset, text_of(*reset, member));
}

int keys_end(const Transport& transport, const Console& console, const Place& place,
             const std::string& id) {
  const auto project = project_of(transport, place);
  if (!project) return status_of(console, project.error());
  const auto ended = call(
      transport, {.method = "DELETE",
                  .path = environment_path("internal", *project, place) + "/keys/" + escaped(id),
                  .body = {}});
  if (!ended) return status_of(console, ended.error());
  return print_one(console, *ended, "the key works no longer");
}

}  // namespace flagstream::app
