// The product's configuration: one table of keys, read from (weakest first) defaults, a TOML file,
// FLAGSTREAM_* environment variables, and the command line.  Only this folder reads files or the
// environment; every other module is handed its own small settings struct.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "log/compression.h"

namespace flagstream::app {

struct Config {
  std::string data_folder = "flagstream-data";
  std::string telemetry_level = "info";

  std::string listen = "127.0.0.1:8080";
  std::string admin_listen = "127.0.0.1:8081";
  std::string tls_listen;
  std::string tls_certificate;
  std::string tls_key;
  std::string tls_min_version = "1.2";
  std::string trusted_proxies;  // as http::TrustedProxies::parse() takes it
  std::uint64_t shards = 0;
  std::uint64_t connections_max = 0;
  std::uint64_t connections_per_address = 0;
  std::chrono::microseconds drain_delay{0};
  bool status_page = false;

  std::uint64_t partitions = 16;
  std::uint64_t segment_bytes = 64ull << 20;
  std::uint64_t pool_segments = 4;
  std::chrono::microseconds retention = std::chrono::hours(24 * 7);
  std::uint64_t retention_bytes = 0;
  std::uint64_t reserve_bytes = 1ull << 30;
  std::chrono::microseconds scrub_interval = std::chrono::minutes(1);
  log::Compression compression = log::Compression::Lz4;

  std::uint64_t in_flight_bytes = 128ull << 20;
  std::uint64_t environment_bytes_per_second = 0;
  std::uint64_t environment_events_per_second = 0;
  std::chrono::microseconds ingest_burst = std::chrono::seconds(1);

  std::chrono::microseconds heartbeat = std::chrono::seconds(30);
  std::chrono::microseconds max_stream_age{0};
  std::chrono::microseconds php_cache_ttl{0};
  bool fdv2 = true;

  std::uint64_t workers = 1;
  std::chrono::microseconds checkpoint_interval = std::chrono::seconds(10);
  std::uint64_t checkpoint_bytes = 1ull << 30;
  bool dedupe = true;
  std::string on_gap = "stop";

  std::chrono::microseconds commit_interval = std::chrono::seconds(30);
  std::uint64_t commit_bytes = 128ull << 20;

  std::string web_folder;
};

enum class Kind { Text, Address, Count, Bytes, Duration, Switch };
// When a changed setting counts.
enum class Applies { AtStart, OnHangup };

// One row of the table.  `key` is `section.name`, as in the file; its environment variable is
// FLAGSTREAM_ and the key in capitals with '_' for '.'.
struct Key {
  std::string_view key;
  Kind kind;
  std::string_view fallback;  // the default, as it would be written in the file
  std::string_view bounds;    // what is accepted, for people
  std::string_view meaning;
  // Stores the text in the config; the error says what is wrong with it.
  Result<void> (*assign)(Config&, std::string_view text);
  Applies applies = Applies::AtStart;
};

const std::vector<Key>& keys();

struct Sources {
  std::optional<std::string> file;                 // path; must exist if given
  std::map<std::string, std::string> environment;  // only names that begin with FLAGSTREAM_ matter
  std::vector<std::pair<std::string, std::string>> command_line;  // key, text
};

struct Effective {
  Config config;
  std::map<std::string, std::pair<std::string, std::string>>
      origins;  // key -> (text, where it came from)
};

// InvalidArgument with every problem found, one a line, each with what would be right: unknown keys
// (with the nearest known one), texts that are no value of their kind, values out of bounds.
Result<Effective> load(const Sources& sources);

// What differs between the settings in force and new ones.
struct Difference {
  std::vector<std::string> adopted;          // keys that counted at once
  std::vector<std::string> waits_for_start;  // keys that will count at the next start
};
// Takes into `running` what may change while it runs.
Difference adopt(Effective& running, const Effective& wanted);

// `config show`: every key, its effective value and where it came from.
std::string show(const Effective& effective);
// `config explain`: the whole table, or one key; NotFound with the nearest key.
Result<std::string> explain(std::string_view key);
// The table as a page, docs/reference/configuration.md.
std::string reference_page();

// "64MiB", "1 GiB", "4096" -> bytes.  "7d", "90s", "250ms" -> duration.
Result<std::uint64_t> parse_bytes(std::string_view text);
Result<std::chrono::microseconds> parse_duration(std::string_view text);

}  // namespace flagstream::app
