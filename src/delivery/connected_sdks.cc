#include "delivery/connected_sdks.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "base/hash.h"
#include "json/json.h"

namespace flagstream::delivery {
namespace {

using environment::CredentialKind;

constexpr std::size_t kTextBytesMax = 64;
constexpr std::int64_t kSweepEvery = kMicrosPerMinute;

// Printable ASCII only, cut: it is shown to people and kept for every instance.
std::string cleaned(std::string_view text) {
  std::string out(text.substr(0, kTextBytesMax));
  for (char& c : out) {
    if (c < ' ' || c > '~') c = '?';
  }
  return out;
}

std::string_view agent_of(const http::Request& request) {
  const auto own = request.headers.find("X-LaunchDarkly-User-Agent");
  return own ? *own : request.headers.find("User-Agent").value_or("");
}

// The value of `key/value` in a list with blanks between.
std::string_view tag_of(std::string_view tags, std::string_view key) {
  while (!tags.empty()) {
    const std::string_view tag = tags.substr(0, tags.find(' '));
    tags.remove_prefix(std::min(tags.size(), tag.size() + 1));
    if (tag.starts_with(key) && tag.substr(key.size()).starts_with('/'))
      return tag.substr(key.size() + 1);
  }
  return {};
}

std::string_view name_of(CredentialKind kind) {
  switch (kind) {
    case CredentialKind::SdkKey:
      return "sdkKey";
    case CredentialKind::MobileKey:
      return "mobileKey";
    case CredentialKind::ClientSideId:
      return "clientSideId";
  }
  std::unreachable();
}

}  // namespace

ConnectedSdks::Connected::~Connected() {
  if (sdks_ != nullptr) sdks_->leave(*environment_, instance_);
}

ConnectedSdks::ConnectedSdks(const Clock& clock, telemetry::Registry& registry)
    : clock_(clock),
      instances_(registry, {"flagstream_delivery_sdk_instances",
                            "SDK instances that are connected or have polled lately.", ""}),
      beyond_(registry, {"flagstream_delivery_sdk_instances_uncounted_total",
                         "Streams and polls of instances beyond what is remembered of one "
                         "environment.",
                         ""}) {}

ConnectedSdks::Description ConnectedSdks::describe(CredentialKind kind,
                                                   const http::Request& request) {
  const std::string_view agent = agent_of(request);
  const std::string_view product = agent.substr(0, agent.find(' '));
  const std::size_t slash = product.find('/');
  const std::string_view tags = request.headers.find("X-LaunchDarkly-Tags").value_or("");
  return {.kind = kind,
          .name = cleaned(product.substr(0, slash)),
          .version = slash == std::string_view::npos ? "" : cleaned(product.substr(slash + 1)),
          .wrapper = cleaned(request.headers.find("X-LaunchDarkly-Wrapper").value_or("")),
          .application_id = cleaned(tag_of(tags, "application-id")),
          .application_version = cleaned(tag_of(tags, "application-version"))};
}

Id128 ConnectedSdks::identify(CredentialKind kind, const http::Request& request) {
  const auto id = request.headers.find("X-LaunchDarkly-Instance-Id");
  std::string text(name_of(kind));
  if (id) {
    text += "\ni";
    text += *id;
  } else {
    text += "\na" + request.client_address + '\n';
    text += agent_of(request);
  }
  return xxh3_128(text);
}

std::shared_ptr<ConnectedSdks::PerEnvironment> ConnectedSdks::of(EnvironmentId id) {
  {
    const std::shared_lock lock(mutex_);
    const auto found = environments_.find(id);
    if (found != environments_.end()) return found->second;
  }
  const std::unique_lock lock(mutex_);
  auto& made = environments_[id];
  if (made == nullptr) made = std::make_shared<PerEnvironment>();
  return made;
}

bool ConnectedSdks::is_there(const Instance& instance, std::int64_t now) const {
  return instance.streams > 0 ||
         (instance.polled_at != 0 && now - instance.polled_at < kPollWindow);
}

void ConnectedSdks::sweep(PerEnvironment& in, std::int64_t now) {
  in.swept_at = now;
  const std::size_t gone =
      std::erase_if(in.instances, [&](const auto& each) { return !is_there(each.second, now); });
  instances_.add(-static_cast<double>(gone));
}

ConnectedSdks::Instance* ConnectedSdks::find_or_add(PerEnvironment& in, const Id128& instance,
                                                    CredentialKind kind,
                                                    const http::Request& request) {
  const std::int64_t now = clock_.monotonic();
  if (now - in.swept_at >= kSweepEvery) sweep(in, now);
  const auto found = in.instances.find(instance);
  if (found != in.instances.end()) return &found->second;
  if (in.instances.size() >= kInstancesMax) {
    beyond_.add();
    return nullptr;
  }
  instances_.add(1);
  Instance& made = in.instances[instance];
  made.description = describe(kind, request);
  return &made;
}

ConnectedSdks::Connected ConnectedSdks::stream(EnvironmentId id, CredentialKind kind,
                                               const http::Request& request) {
  Connected connected;
  connected.sdks_ = this;
  connected.environment_ = of(id);
  PerEnvironment& in = *connected.environment_;
  const Id128 instance = identify(kind, request);
  const std::lock_guard lock(in.mutex);
  if (Instance* found = find_or_add(in, instance, kind, request)) {
    connected.instance_ = instance;
    ++found->streams;
    found->seen_at = clock_.now();
  } else {
    ++in.uncounted;
  }
  return connected;
}

void ConnectedSdks::poll(EnvironmentId id, CredentialKind kind, const http::Request& request) {
  const auto in = of(id);
  const Id128 instance = identify(kind, request);
  const std::lock_guard lock(in->mutex);
  if (Instance* found = find_or_add(*in, instance, kind, request)) {
    found->polled_at = std::max<std::int64_t>(clock_.monotonic(), 1);
    found->seen_at = clock_.now();
  }
}

void ConnectedSdks::leave(PerEnvironment& from, const Id128& instance) {
  const std::lock_guard lock(from.mutex);
  if (instance.is_zero()) {
    --from.uncounted;
    return;
  }
  const auto found = from.instances.find(instance);
  --found->second.streams;
  found->second.seen_at = clock_.now();
  if (is_there(found->second, clock_.monotonic())) return;
  from.instances.erase(found);
  instances_.add(-1);
}

struct ConnectedSdks::Group {
  std::uint64_t instances = 0;
  std::uint64_t streaming = 0;
  MicrosUtc seen_at = 0;

  std::string json(const Description& sdk) const {
    return fmt::format(
        R"({{"name":{},"version":{},"wrapper":{},"application":{{"id":{},"version":{}}},"credential":"{}","instances":{},"streaming":{},"lastSeen":{}}})",
        json::quoted(sdk.name), json::quoted(sdk.version), json::quoted(sdk.wrapper),
        json::quoted(sdk.application_id), json::quoted(sdk.application_version), name_of(sdk.kind),
        instances, streaming, seen_at / kMicrosPerMilli);
  }
};

std::string ConnectedSdks::list(EnvironmentId id) const {
  std::shared_ptr<PerEnvironment> in;
  {
    const std::shared_lock lock(mutex_);
    const auto found = environments_.find(id);
    if (found != environments_.end()) in = found->second;
  }
  std::map<Description, Group> groups;
  std::uint64_t instances = 0;
  std::uint64_t uncounted = 0;
  if (in != nullptr) {
    const std::int64_t now = clock_.monotonic();
    const std::lock_guard lock(in->mutex);
    uncounted = in->uncounted;
    for (const auto& [ignored, instance] : in->instances) {
      if (!is_there(instance, now)) continue;
      Group& group = groups[instance.description];
      ++instances;
      ++group.instances;
      if (instance.streams > 0) ++group.streaming;
      // Who is connected is seen at this moment.
      group.seen_at =
          std::max(group.seen_at, instance.streams > 0 ? clock_.now() : instance.seen_at);
    }
  }
  std::vector<const std::pair<const Description, Group>*> rows;
  rows.reserve(groups.size());
  for (const auto& each : groups) rows.push_back(&each);
  std::ranges::stable_sort(rows, std::ranges::greater(),
                           [](const auto* each) { return each->second.instances; });
  if (rows.size() > kRowsMax) rows.resize(kRowsMax);
  std::string out = "{\"items\":[";
  for (const auto* each : rows) {
    if (out.back() != '[') out += ',';
    out += each->second.json(each->first);
  }
  return out + fmt::format(R"(],"instances":{},"uncounted":{}}})", instances, uncounted);
}

}  // namespace flagstream::delivery
