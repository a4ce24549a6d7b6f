#include "app/config_import.h"

#include <algorithm>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/client_commands.h"
#include "base/clock.h"
#include "base/id.h"
#include "environment/config_record.h"
#include "environment/fold.h"
#include "io/file_system.h"
#include "json/json.h"
#include "log/local_log.h"
#include "telemetry/metrics.h"

namespace flagstream::app {
namespace {

using environment::ConfigFold;
using environment::EnvironmentState;
using environment::ItemName;
namespace proto = environment::proto;

constexpr std::uint64_t kProject = 1;
constexpr std::uint64_t kEnvironment = 1;
constexpr char kEnvironmentKey[] = "production";
constexpr auto kSdkKey = proto::Credential::SDK_KEY;
constexpr auto kMobileKey = proto::Credential::MOBILE_KEY;

Result<ConfigFold> read_topic(log::Log& log) {
  ConfigFold fold;
  FS_TRY(const log::TopicInfo info, log.info(std::string(environment::kConfigTopic)));
  const log::PartitionRange range = info.partitions.at(0);
  const log::Start start{.partition = 0, .offset = range.begin};
  FS_TRY(const auto reader, log.open_reader(std::string(environment::kConfigTopic), info.log_id,
                                            std::span(&start, 1)));
  for (log::Offset at = range.begin; at < range.end;) {
    FS_TRY(const log::Fetched fetched, reader->next(4u << 20, std::chrono::milliseconds(0)));
    if (fetched.status != log::Fetched::Status::Frames)
      return fail(ErrorKind::DataLoss, "topic config has a gap");
    for (const log::Frame& frame : fetched.frames) {
      for (const std::string_view record : frame.records) FS_TRY(fold.take(record));
      at = frame.end_offset();
    }
  }
  return fold;
}

// The changes that make the environment what the file says.
class Import {
 public:
  Import(const ImportOptions& options, const EnvironmentState* known) : options_(options) {
    if (known != nullptr) known_ = *known;
    revision_ = known_.revision;
  }

  Result<void> add_all(const json::Object& document) {
    FS_TRY(add_environment());
    for (const auto& [kind, member] :
         {std::pair{proto::Item::FLAG, "flags"}, {proto::Item::SEGMENT, "segments"}}) {
      const json::Object* items = json::object_member(document, member);
      if (items == nullptr)
        return fail(ErrorKind::InvalidArgument,
                    std::string("the file has no object \"") + member + "\"");
      for (const auto& each : *items) FS_TRY(add_item(kind, each.key(), each.value()));
      FS_TRY(delete_missing(kind, *items));
    }
    return {};
  }

  const log::Batch& batch() const { return batch_; }
  log::Batch take_batch() { return std::move(batch_); }
  // What kind, and its text: those that this import has set.
  const std::vector<std::pair<std::string_view, std::string>>& set_keys() const {
    return set_keys_;
  }

 private:
  Result<void> add(proto::Item item) {
    item.set_project_id(kProject);
    item.set_environment_id(kEnvironment);
    item.set_revision(++revision_);
    proto::Record record;
    *record.mutable_item() = std::move(item);
    FS_TRY(const std::string encoded, environment::encode_config_record(record));
    batch_.add({encoded});
    return {};
  }

  std::int64_t version_of(const ItemName& name) const {
    const auto found = known_.items.find(name);
    return found == known_.items.end() ? 0 : found->second.version();
  }

  // What is given takes the place of what was of its kind; everything else stays.
  Result<void> add_environment() {
    const ItemName name{proto::Item::ENVIRONMENT, kEnvironmentKey};
    const auto found = known_.items.find(name);
    const bool is_new = found == known_.items.end() || found->second.deleted();
    proto::Environment document;
    if (is_new) {
      document.set_project_key("default");
      document.set_key(kEnvironmentKey);
      document.set_name("Production");
    } else {
      FS_TRY(document, environment::decode_environment(found->second.document()));
    }
    const std::string sdk_key = options_.sdk_key.empty() && !has_key(document, kSdkKey)
                                    ? "sdk-" + random_uuid()
                                    : options_.sdk_key;
    if (set_key(document, kSdkKey, sdk_key)) set_keys_.emplace_back("SDK key", sdk_key);
    if (set_key(document, kMobileKey, options_.mobile_key))
      set_keys_.emplace_back("mobile key", options_.mobile_key);
    if (!options_.client_side_id.empty() && options_.client_side_id != document.client_side_id()) {
      document.set_client_side_id(options_.client_side_id);
      set_keys_.emplace_back("client-side id", options_.client_side_id);
    }
    const bool was_secure = document.secure_mode();
    document.set_secure_mode(options_.secure_mode.value_or(was_secure));
    if (!is_new && set_keys_.empty() && document.secure_mode() == was_secure) return {};
    proto::Item item;
    item.set_kind(proto::Item::ENVIRONMENT);
    item.set_key(kEnvironmentKey);
    item.set_version(version_of(name) + 1);
    FS_TRY(*item.mutable_document(), environment::encode_environment(document));
    return add(std::move(item));
  }

  static bool has_key(const proto::Environment& document, proto::Credential::Kind kind) {
    return std::ranges::any_of(document.credentials(),
                               [kind](const auto& each) { return each.kind() == kind; });
  }

  // Makes `key` the only one of its kind.  False: there is nothing to change.
  static bool set_key(proto::Environment& document, proto::Credential::Kind kind,
                      const std::string& key) {
    if (key.empty()) return false;
    const proto::Credential made = environment::credential_of(kind, key);
    auto& all = *document.mutable_credentials();
    const auto is_of_kind = [kind](const auto& each) { return each.kind() == kind; };
    const auto is_same = [&](const auto& each) {
      return is_of_kind(each) && each.sha256() == made.sha256() && each.expires_us() == 0 &&
             each.hmac_state() == made.hmac_state();
    };
    if (std::ranges::count_if(all, is_of_kind) == 1 && std::ranges::any_of(all, is_same))
      return false;
    all.erase(std::remove_if(all.begin(), all.end(), is_of_kind), all.end());
    *all.Add() = made;
    return true;
  }

  Result<void> add_item(proto::Item::Kind kind, std::string_view key, const json::Value& value) {
    if (!environment::is_item_key(key)) {
      return fail(
          ErrorKind::InvalidArgument,
          json::quoted(key) + " is no key: 1 to 256 letters, digits, '.', '_' and '-' make one");
    }
    if (!value.is_object())
      return fail(ErrorKind::InvalidArgument, "item \"" + std::string(key) + "\" is no object");
    json::Object document = value.get_object();
    const json::Value* given = document.if_contains("version");
    const std::int64_t in_file = given != nullptr && given->is_int64() ? given->get_int64() : 1;
    const ItemName name{kind, std::string(key)};
    const auto found = known_.items.find(name);
    document["version"] = in_file;
    if (found != known_.items.end()) {
      document["version"] = found->second.version();
      if (json::serialize(document) == found->second.document()) return {};
    }
    const std::int64_t version = std::max(in_file, version_of(name) + 1);
    document["version"] = version;
    proto::Item item;
    item.set_kind(kind);
    item.set_key(std::string(key));
    item.set_version(version);
    item.set_document(json::serialize(document));
    return add(std::move(item));
  }

  Result<void> delete_missing(proto::Item::Kind kind, const json::Object& items) {
    for (const auto& [name, known] : known_.items) {
      if (name.first != kind || known.deleted() || items.contains(name.second)) continue;
      proto::Item item;
      item.set_kind(kind);
      item.set_key(name.second);
      item.set_version(known.version() + 1);
      item.set_deleted(true);
      FS_TRY(add(std::move(item)));
    }
    return {};
  }

  const ImportOptions& options_;
  EnvironmentState known_;
  std::uint64_t revision_ = 0;
  std::vector<std::pair<std::string_view, std::string>> set_keys_;
  log::Batch batch_;
};

Result<void> import(const ImportOptions& options, std::ostream& out) {
  FS_TRY(const std::string text, io::posix_file_system().read_file(options.file));
  auto document = json::parse(text);
  if (!document) return fail(std::move(document).error().in(options.file));
  if (!document->is_object())
    return fail(ErrorKind::InvalidArgument, options.file + " holds no object");
  const SystemClock clock;
  telemetry::Registry registry;
  const auto log = log::open_local_log(
      {.folder = options.log_folder, .segment_bytes = 1u << 20, .pool_segments = 0},
      io::posix_file_system(), clock, registry);
  FS_TRY(const auto appender, log->open_appender(std::string(environment::kConfigTopic),
                                                 {.partitions = environment::kConfigPartitions}));
  FS_TRY(const ConfigFold fold, read_topic(*log));
  const auto known = fold.environments().find(kEnvironment);
  Import changes(options, known == fold.environments().end() ? nullptr : &known->second);
  FS_TRY(changes.add_all(document->get_object()));
  const std::uint32_t count = changes.batch().count();
  if (count > 0) FS_TRY(appender->append_and_wait(0, changes.take_batch()));
  out << count << " changes\n";
  for (const auto& [kind, key] : changes.set_keys()) out << kind << ' ' << key << '\n';
  return {};
}

}  // namespace

int config_import(const ImportOptions& options, std::ostream& out, std::ostream& err) {
  const auto done = import(options, out);
  if (done) return kExitDone;
  err << "flagstream: " << done.error().what << '\n';
  if (done.error().kind == ErrorKind::InvalidArgument) return kExitUsage;
  return done.error().kind == ErrorKind::Conflict ? kExitConflict : kExitFailed;
}

}  // namespace flagstream::app
