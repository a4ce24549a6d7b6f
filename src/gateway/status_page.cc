#include "gateway/status_page.h"

#include <utility>

#include <fmt/format.h>

#include "json/json.h"

namespace flagstream::gateway {
namespace {

// The end of `config` is reached many times a second while it can be read.
constexpr std::int64_t kCurrentMicros = 10 * kMicrosPerSecond;
constexpr std::string_view kObscured = R"("*****")";

std::string environment_json(const environment::FlagSet& set, bool is_connected,
                             std::string_view connection, std::string_view store) {
  std::string out = fmt::format(R"({{"sdkKey":{})", kObscured);
  if (set.has_mobile_key) out += fmt::format(R"(,"mobileKey":{})", kObscured);
  if (!set.client_side_id.empty())
    out += fmt::format(R"(,"envId":{})", json::quoted(set.client_side_id));
  return out +
         fmt::format(
             R"(,"envKey":{},"envName":{},"projKey":{},"projName":{},"status":"{}","connectionStatus":{},"dataStoreStatus":{}}})",
             json::quoted(set.environment_key), json::quoted(set.environment_name),
             json::quoted(set.project_key), json::quoted(set.project_key),
             is_connected ? "connected" : "disconnected", connection, store);
}

}  // namespace

StatusPage::StatusPage(const environment::Environments& environments, const Clock& clock,
                       std::string version)
    : environments_(environments), clock_(clock), version_(std::move(version)) {
  connection_.since = store_.since = clock_.now();
}

void StatusPage::look() {
  const auto enter = [](State& state, std::string_view name, MicrosUtc since) {
    if (state.name != name) state = {.name = name, .since = since};
  };
  const MicrosUtc now = clock_.now();
  if (!environments_.has_configuration()) return;
  enter(store_, "VALID", now);
  const std::int64_t age = environments_.age();
  if (age < kCurrentMicros) return enter(connection_, "VALID", now);
  if (connection_.name != "INTERRUPTED") interrupted_at_ = now - age;
  enter(connection_, "INTERRUPTED", now - age);
}

std::string StatusPage::json() {
  const std::lock_guard lock(mutex_);
  look();
  const auto state_json = [](const State& state, const std::string& more) {
    return fmt::format(R"({{"state":"{}","stateSince":{}{}}})", state.name,
                       state.since / kMicrosPerMilli, more);
  };
  const bool is_connected = connection_.name == "VALID";
  const std::string error =
      interrupted_at_ == 0 ? ""
                           : fmt::format(R"(,"lastError":{{"kind":"NETWORK_ERROR","time":{}}})",
                                         interrupted_at_ / kMicrosPerMilli);
  const std::string connection = state_json(connection_, error);
  const std::string store = state_json(store_, "");
  std::string out = "{\"environments\":{";
  for (const auto& set : environments_.flag_sets()) {
    if (out.back() != '{') out += ',';
    out += json::quoted(set->project_key + "/" + set->environment_key) + ":" +
           environment_json(*set, is_connected, connection, store);
  }
  return out + fmt::format(R"(}},"status":"{}","version":{},"clientVersion":{}}})",
                           is_connected ? "healthy" : "degraded", json::quoted(version_),
                           json::quoted(version_));
}

}  // namespace flagstream::gateway
