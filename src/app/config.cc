#include "app/config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "app/config_file.h"
#include "http/trusted_proxies.h"

namespace flagstream::app {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::array kByteUnits = {Unit{"", 1},
                                   Unit{"B", 1},
                                   Unit{"KiB", 1ull << 10},
                                   Unit{"MiB", 1ull << 20},
                                   Unit{"GiB", 1ull << 30},
                                   Unit{"TiB", 1ull << 40}};
constexpr std::array kDurationUnits = {
    Unit{"us", 1},         Unit{"ms", 1'000},        Unit{"s", 1'000'000},
    Unit{"m", 60'000'000}, Unit{"h", 3'600'000'000}, Unit{"d", 86'400'000'000}};

Result<std::uint64_t> parse_count(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return fail(ErrorKind::InvalidArgument, fmt::format("'{}' is not a whole number", text));
  }
  return value;
}

template <std::size_t N>
Result<std::uint64_t> parse_with_unit(std::string_view text, const std::array<Unit, N>& units,
                                      std::string_view example) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  std::string_view name = text.substr(digits);
  name.remove_prefix(std::min(name.find_first_not_of(' '), name.size()));
  const auto unit = std::ranges::find(units, name, &Unit::name);
  const auto number = parse_count(text.substr(0, digits));
  if (unit == units.end() || !number ||
      *number > std::numeric_limits<std::int64_t>::max() / unit->factor) {
    return fail(ErrorKind::InvalidArgument, fmt::format("'{}' is not like {}", text, example));
  }
  return *number * unit->factor;
}

Result<std::uint64_t> within(Result<std::uint64_t> value, std::uint64_t least, std::uint64_t most) {
  if (value && (*value < least || *value > most)) {
    return fail(ErrorKind::InvalidArgument,
                fmt::format("{} is not within {} and {}", *value, least, most));
  }
  return value;
}

template <std::uint64_t Config::* member, std::uint64_t least, std::uint64_t most>
Result<void> assign_count(Config& config, std::string_view text) {
  FS_TRY(config.*member, within(parse_count(text), least, most));
  return {};
}

template <std::uint64_t Config::* member, std::uint64_t least, std::uint64_t most>
Result<void> assign_bytes(Config& config, std::string_view text) {
  FS_TRY(config.*member, within(parse_bytes(text), least, most));
  return {};
}

template <std::chrono::microseconds Config::* member, std::int64_t least_seconds,
          std::int64_t most_seconds>
Result<void> assign_duration(Config& config, std::string_view text) {
  FS_TRY(const auto value, parse_duration(text));
  if (value < std::chrono::seconds(least_seconds) || value > std::chrono::seconds(most_seconds)) {
    return fail(ErrorKind::InvalidArgument,
                fmt::format("'{}' is not within {} s and {} s", text, least_seconds, most_seconds));
  }
  config.*member = value;
  return {};
}

template <std::string Config::* member>
Result<void> assign_text(Config& config, std::string_view text) {
  config.*member = text;
  return {};
}

template <std::string Config::* member>
Result<void> assign_address(Config& config, std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0 ||
      !within(parse_count(text.substr(colon + 1)), 0, 65535)) {
    return fail(ErrorKind::InvalidArgument, fmt::format("'{}' is not like 127.0.0.1:8080", text));
  }
  config.*member = text;
  return {};
}

template <std::string Config::* member>
Result<void> assign_address_or_none(Config& config, std::string_view text) {
  if (!text.empty()) return assign_address<member>(config, text);
  (config.*member).clear();
  return {};
}

Result<void> assign_tls_min_version(Config& config, std::string_view text) {
  if (text != "1.2" && text != "1.3") {
    return fail(ErrorKind::InvalidArgument, fmt::format("'{}' is neither 1.2 nor 1.3", text));
  }
  config.tls_min_version = text;
  return {};
}

Result<void> assign_trusted_proxies(Config& config, std::string_view text) {
  FS_TRY(http::TrustedProxies::parse(text));
  config.trusted_proxies = text;
  return {};
}

Result<void> assign_switch(bool& to, std::string_view text) {
  if (text != "true" && text != "false") {
    return fail(ErrorKind::InvalidArgument, fmt::format("'{}' is neither true nor false", text));
  }
  to = text == "true";
  return {};
}

Result<void> assign_status_page(Config& config, std::string_view text) {
  return assign_switch(config.status_page, text);
}

Result<void> assign_dedupe(Config& config, std::string_view text) {
  return assign_switch(config.dedupe, text);
}

Result<void> assign_fdv2(Config& config, std::string_view text) {
  return assign_switch(config.fdv2, text);
}

Result<void> assign_level(Config& config, std::string_view text) {
  if (text != "debug" && text != "info" && text != "warn" && text != "error") {
    return fail(ErrorKind::InvalidArgument,
                fmt::format("'{}' is none of debug, info, warn, error", text));
  }
  config.telemetry_level = text;
  return {};
}

Result<void> assign_compression(Config& config, std::string_view text) {
  const auto compression = log::parse_compression(text);
  if (!compression)
    return fail(ErrorKind::InvalidArgument,
                fmt::format("'{}' is neither none nor lz4 nor zstd", text));
  config.compression = *compression;
  return {};
}

Result<void> assign_on_gap(Config& config, std::string_view text) {
  if (text != "stop" && text != "continue") {
    return fail(ErrorKind::InvalidArgument, fmt::format("'{}' is neither stop nor continue", text));
  }
  config.on_gap = text;
  return {};
}

constexpr std::uint64_t kMiB = 1ull << 20;
constexpr std::uint64_t kTiB = 1ull << 40;

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

const Key& nearest_key(std::string_view text) {
  return *std::ranges::min_element(keys(), {},
                                   [&](const Key& key) { return edit_distance(key.key, text); });
}

std::string variable_of(std::string_view key) {
  std::string out = "FLAGSTREAM_";
  for (const char c : key)
    out += c == '.' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  return out;
}

const Key* find_key(std::string_view name) {
  const auto at = std::ranges::find(keys(), name, &Key::key);
  return at == keys().end() ? nullptr : &*at;
}

// What a single key cannot be wrong about.
std::string problems_together(const Config& config) {
  std::string out;
  if (config.listen.empty() && config.tls_listen.empty()) {
    out += "server.listen: is empty, and so is server.tls_listen; one of them must be set\n";
  }
  if (!config.tls_listen.empty() && (config.tls_certificate.empty() || config.tls_key.empty())) {
    out += "server.tls_listen: needs server.tls_certificate and server.tls_key\n";
  }
  if (config.tls_listen.empty() && !(config.tls_certificate.empty() && config.tls_key.empty())) {
    out += "server.tls_certificate: is served nowhere; set server.tls_listen, too\n";
  }
  return out;
}

}  // namespace

Result<std::uint64_t> parse_bytes(std::string_view text) {
  return parse_with_unit(text, kByteUnits, "4096, 64MiB or 2GiB");
}

Result<std::chrono::microseconds> parse_duration(std::string_view text) {
  FS_TRY(const std::uint64_t micros,
         parse_with_unit(text, kDurationUnits, "250ms, 30s, 12h or 7d"));
  return std::chrono::microseconds(micros);
}

const std::vector<Key>& keys() {
  static const std::vector<Key> table = {
      {"data", Kind::Text, "flagstream-data", "a folder",
       "Everything that is kept: the log, stage state, results, catalog and lake.",
       assign_text<&Config::data_folder>},
      {"telemetry.level", Kind::Text, "info", "debug, info, warn, error",
       "The least serious telemetry lines that are written to stderr.", assign_level,
       Applies::OnHangup},
      {"server.listen", Kind::Address, "127.0.0.1:8080", "address:port; port 0 takes a free one",
       "Where SDKs, people and the REST API connect without TLS; empty is nowhere.",
       assign_address_or_none<&Config::listen>},
      {"server.tls_listen", Kind::Address, "", "address:port; port 0 takes a free one; empty",
       "Where they connect with TLS; empty is nowhere.",
       assign_address_or_none<&Config::tls_listen>},
      {"server.tls_certificate", Kind::Text, "", "a file",
       "PEM: the server's certificate, then those that lead to its root. Read again when it "
       "changes.",
       assign_text<&Config::tls_certificate>},
      {"server.tls_key", Kind::Text, "", "a file that not every user may read",
       "PEM: the key of the certificate, without a passphrase.", assign_text<&Config::tls_key>},
      {"server.tls_min_version", Kind::Text, "1.2", "1.2, 1.3",
       "The oldest TLS that clients may speak.", assign_tls_min_version},
      {"server.trusted_proxies", Kind::Text, "",
       "addresses and networks with commas between them, 64 at most",
       "Proxies whose X-Forwarded-For and X-Forwarded-Proto say who the client is and whether it "
       "uses TLS.",
       assign_trusted_proxies},
      {"server.admin_listen", Kind::Address, "127.0.0.1:8081",
       "address:port; port 0 takes a free one",
       "Where /metrics and debug routes of the gateway are served; keep it private.",
       assign_address<&Config::admin_listen>},
      {"server.shards", Kind::Count, "0", "0 to 256",
       "Threads of the gateway, each with its own connections; 0 is one per core.",
       assign_count<&Config::shards, 0, 256>},
      {"server.connections_max", Kind::Count, "0", "0 to 1000000",
       "Open connections at most; 0 is what the descriptor limit allows.",
       assign_count<&Config::connections_max, 0, 1'000'000>},
      {"server.connections_per_address", Kind::Count, "0", "0 to 1000000",
       "Open connections of one client address (IPv6: of its /64) at most, trusted proxies "
       "excepted; 0 is no bound. Many clients may share an address.",
       assign_count<&Config::connections_per_address, 0, 1'000'000>},
      {"server.drain_delay", Kind::Duration, "0s", "0s to 5m",
       "How long the gateway goes on as before after it was asked to stop, with /readyz at 503, so "
       "that a load balancer sends its clients elsewhere.",
       assign_duration<&Config::drain_delay, 0, 300>},
      {"server.status_page", Kind::Switch, "false", "true, false",
       "Whether anybody may read /status: names and client-side ids of all environments.",
       assign_status_page},
      {"ingest.in_flight_size", Kind::Bytes, "128MiB", "16MiB to 64GiB",
       "Memory at most of payloads that are received or wait for the log. An environment may hold "
       "as much of it as is free.",
       assign_bytes<&Config::in_flight_bytes, 16 * kMiB, 65'536 * kMiB>},
      {"ingest.environment_bytes_per_second", Kind::Bytes, "0", "0 to 1TiB",
       "Bytes of event bodies, as received, that each environment may send in a second; more is "
       "answered 429. 0 is no bound.",
       assign_bytes<&Config::environment_bytes_per_second, 0, kTiB>, Applies::OnHangup},
      {"ingest.environment_events_per_second", Kind::Count, "0", "0 to 1000000000",
       "Events that each environment may send in a second; more is answered 429. 0 is no bound.",
       assign_count<&Config::environment_events_per_second, 0, 1'000'000'000>, Applies::OnHangup},
      {"ingest.burst", Kind::Duration, "1s", "1s to 1h",
       "How much time's worth of these rates an environment may send at once after a pause.",
       assign_duration<&Config::ingest_burst, 1, 3'600>, Applies::OnHangup},
      {"delivery.heartbeat", Kind::Duration, "30s", "1s to 4m",
       "How long a stream to an SDK is silent before a comment is sent; SDKs reconnect after 5m "
       "of silence, proxies often after 1m.",
       assign_duration<&Config::heartbeat, 1, 240>},
      {"delivery.max_stream_age", Kind::Duration, "0s", "0s to 7d",
       "About how long (a fifth more or less) a stream to an SDK lasts before it is ended, so "
       "that clients spread over the gateways anew; 0s is as long as the client stays.",
       assign_duration<&Config::max_stream_age, 0, 7 * 86'400>},
      {"delivery.php_cache_ttl", Kind::Duration, "0s", "0s to 1d",
       "How long the PHP SDK may use a flag or segment without asking again (Expires); 0s says "
       "nothing of it.",
       assign_duration<&Config::php_cache_ttl, 0, 86'400>},
      {"delivery.fdv2", Kind::Switch, "true", "true, false",
       "Whether server-side SDKs that ask for the newer protocol (data system) get it; false "
       "sends them to the older one.",
       assign_fdv2},
      {"log.partitions", Kind::Count, "16", "1 to 1024",
       "Partitions of the event topics; fixed when the data folder is made.",
       assign_count<&Config::partitions, 1, 1024>},
      {"log.segment_size", Kind::Bytes, "64MiB", "1MiB to 1GiB",
       "Size of a segment file of the log.",
       assign_bytes<&Config::segment_bytes, kMiB, 1024 * kMiB>},
      {"log.pool_segments", Kind::Count, "4", "0 to 64",
       "Segment files kept ready, so that appends never wait for allocation.",
       assign_count<&Config::pool_segments, 0, 64>},
      {"log.retention", Kind::Duration, "7d", "1m to 365d",
       "How long every event stays in the log for replay.",
       assign_duration<&Config::retention, 60, 365 * 86'400>, Applies::OnHangup},
      {"log.retention_size", Kind::Bytes, "0", "0 to 1024TiB",
       "Bytes kept at most of each topic of events, whatever their age; 0 is no bound.",
       assign_bytes<&Config::retention_bytes, 0, 1024 * kTiB>, Applies::OnHangup},
      {"log.reserve", Kind::Bytes, "1GiB", "0 to 1TiB",
       "Free disk kept for processing: below it (or 5 % of the disk, if more) new events are "
       "answered 503; 0 is none, and no alarm.",
       assign_bytes<&Config::reserve_bytes, 0, kTiB>},
      {"log.compression", Kind::Text, "lz4", "none, lz4, zstd",
       "How batches are compressed in the log, each alone; one that would not shrink by a tenth is "
       "stored as it is.",
       assign_compression},
      {"log.scrub_interval", Kind::Duration, "1m", "0s to 1d",
       "In about this time one segment file of each topic is read again from the disk and "
       "checked, so that damage is found before anybody needs what is there; 0s is never.",
       assign_duration<&Config::scrub_interval, 0, 86'400>},
      {"pipeline.workers", Kind::Count, "1", "1 to 256",
       "Threads of each stage; partitions are spread over them.",
       assign_count<&Config::workers, 1, 256>},
      {"pipeline.checkpoint_interval", Kind::Duration, "10s", "1s to 10m",
       "Time between checkpoints of a stage.",
       assign_duration<&Config::checkpoint_interval, 1, 600>},
      {"pipeline.checkpoint_size", Kind::Bytes, "1GiB", "1MiB to 64GiB",
       "Input between checkpoints of a stage at most.",
       assign_bytes<&Config::checkpoint_bytes, kMiB, 65'536 * kMiB>},
      {"pipeline.dedupe", Kind::Switch, "true", "true, false",
       "Whether a payload sent twice counts once. false exists to show that the checks notice; it "
       "makes every count wrong.",
       assign_dedupe},
      {"pipeline.on_gap", Kind::Text, "stop", "stop, continue",
       "What a stage does when retention has deleted what it had not read: stop with an alarm, or "
       "go on and mark the gap.",
       assign_on_gap},
      {"lake.commit_interval", Kind::Duration, "30s", "1s to 1h",
       "Time between commits to the lake's tables at most.",
       assign_duration<&Config::commit_interval, 1, 3600>},
      {"lake.commit_size", Kind::Bytes, "128MiB", "1MiB to 16GiB",
       "Input per commit to the lake's tables at most.",
       assign_bytes<&Config::commit_bytes, kMiB, 16'384 * kMiB>},
      {"web.folder", Kind::Text, "", "a folder",
       "The built pages of the web UI; empty is where the installation put them.",
       assign_text<&Config::web_folder>},
  };
  return table;
}

Result<Effective> load(const Sources& sources) {
  Effective out;
  std::string problems;
  const auto take = [&](std::string_view name, std::string_view text, const std::string& origin) {
    const Key* key = find_key(name);
    if (key == nullptr) {
      problems += fmt::format("{}: unknown key '{}'; did you mean '{}'?\n", origin, name,
                              nearest_key(name).key);
      return;
    }
    if (const auto done = key->assign(out.config, text); !done) {
      problems +=
          fmt::format("{}: {}: {}; accepted: {}\n", origin, name, done.error().what, key->bounds);
      return;
    }
    out.origins[std::string(name)] = {std::string(text), origin};
  };
  for (const Key& key : keys()) take(key.key, key.fallback, "default");
  if (sources.file) {
    FS_TRY(const auto entries, read_config_file(*sources.file));
    for (const auto& [name, text] : entries) take(name, text, *sources.file);
  }
  for (const Key& key : keys()) {
    const std::string variable = variable_of(key.key);
    if (const auto at = sources.environment.find(variable); at != sources.environment.end()) {
      take(key.key, at->second, variable);
    }
  }
  for (const auto& [name, text] : sources.command_line) take(name, text, "command line");
  if (problems.empty()) problems = problems_together(out.config);
  if (!problems.empty()) {
    problems.pop_back();
    return fail(ErrorKind::InvalidArgument, problems);
  }
  return out;
}

Difference adopt(Effective& running, const Effective& wanted) {
  Difference out;
  for (const Key& key : keys()) {
    const std::string name(key.key);
    auto& held = running.origins.at(name);
    const auto& now = wanted.origins.at(name);
    if (held.first == now.first) continue;
    if (key.applies != Applies::OnHangup || !key.assign(running.config, now.first)) {
      out.waits_for_start.push_back(name);
      continue;
    }
    held = now;
    out.adopted.push_back(name);
  }
  return out;
}

std::string show(const Effective& effective) {
  std::string out;
  for (const Key& key : keys()) {
    const auto& [text, origin] = effective.origins.at(std::string(key.key));
    out += fmt::format("{} = \"{}\"  # {}\n", key.key, text, origin);
  }
  return out;
}

Result<std::string> explain(std::string_view name) {
  std::string out;
  for (const Key& key : keys()) {
    if (!name.empty() && key.key != name) continue;
    out += fmt::format("{}\n  {}\n  default: {}   accepted: {}   variable: {}\n", key.key,
                       key.meaning, key.fallback.empty() ? "(empty)" : key.fallback, key.bounds,
                       variable_of(key.key));
  }
  if (out.empty()) {
    return fail(ErrorKind::NotFound,
                fmt::format("unknown key '{}'; did you mean '{}'?", name, nearest_key(name).key));
  }
  return out;
}

std::string reference_page() {
  std::string out =
      "# Configuration\n\n"
      "Weakest first: defaults, the TOML file given with `--config`, environment variables, `--set "
      "key=value` on the\n"
      "command line. An unknown key is an error. `flagstream config show` prints what is in force "
      "and where it came\n"
      "from. This page is written by `flagstream config reference`; a test holds the two equal.\n\n"
      "SIGHUP makes a server read its settings anew. It takes what is marked *live* at once, and "
      "names "
      "in its telemetry what\nelse has changed, which counts at the next start.\n\n"
      "| key | default | accepted | meaning | |\n|---|---|---|---|---|\n";
  for (const Key& key : keys()) {
    out += fmt::format("| `{}` | {} | {} | {} | {} |\n", key.key,
                       key.fallback.empty() ? "" : fmt::format("`{}`", key.fallback), key.bounds,
                       key.meaning, key.applies == Applies::OnHangup ? "live" : "");
  }
  return out;
}

}  // namespace flagstream::app
