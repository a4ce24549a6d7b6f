#include "catalog/publisher.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "environment/config_record.h"
#include "environment/membership_record.h"
#include "io/crash_point.h"
#include "telemetry/tell.h"

namespace flagstream::catalog {
namespace {

constexpr std::size_t kBatchChangesMax = 256;
constexpr std::size_t kBatchBytesMax = 1u << 20;
constexpr std::size_t kReadBytesMax = 4u << 20;
constexpr std::chrono::milliseconds kReadDeadline{1'000};

namespace proto = environment::proto;

// Applies a change, or an item of a copy, to what is known.
void apply(const proto::Item& item, Published& published) {
  PublishedEnvironment& environment = published[EnvironmentId{item.environment_id()}];
  environment.project = ProjectId{item.project_id()};
  environment.revision = std::max(environment.revision, static_cast<std::int64_t>(item.revision()));
  environment.items[{static_cast<ItemKind>(item.kind()), item.key()}] = {
      item.version(), item.deleted(), item.document()};
}

proto::Record record_of(const Item& item, std::int64_t revision,
                        std::optional<log::Offset> newest_copy) {
  proto::Record record;
  if (newest_copy) record.set_newest_copy(*newest_copy);
  proto::Item& out = *record.mutable_item();
  out.set_project_id(to_number(item.project));
  out.set_environment_id(to_number(item.environment));
  out.set_revision(static_cast<std::uint64_t>(revision));
  out.set_kind(static_cast<proto::Item::Kind>(item.kind));
  out.set_key(item.key);
  out.set_version(item.version);
  out.set_document(item.document);
  out.set_deleted(item.deleted);
  if (item.memberships != 0) out.set_memberships(static_cast<std::uint64_t>(item.memberships));
  return record;
}

// Folds the records of the topic, from a copy's begin or from the topic's.
struct Reading {
  Published published;
  std::optional<log::Offset> newest_copy;
  std::uint64_t bytes_since_copy = 0;
  std::uint64_t copy_bytes = 0;

  // A copy counts only with its end: until then its items wait here.
  Published copy;
  std::uint64_t bytes = 0;

  void take(const proto::Record& record, log::Offset offset, std::size_t size) {
    newest_copy = record.has_newest_copy() ? std::optional(record.newest_copy()) : std::nullopt;
    bytes += size;
    switch (record.contents_case()) {
      case proto::Record::kItem:
        if (record.item().has_copy_id()) return apply(record.item(), copy);
        bytes_since_copy += size;
        return apply(record.item(), published);
      case proto::Record::kCopyBegin:
        copy.clear();
        copy_begin = offset;
        bytes = size;
        return;
      case proto::Record::kCopyEnd:
        // The end of a copy whose begin was not read says only where that copy is.
        if (!copy_begin) return;
        published = std::exchange(copy, {});
        newest_copy = std::exchange(copy_begin, std::nullopt);
        copy_bytes = bytes;
        bytes_since_copy = 0;
        return;
      case proto::Record::CONTENTS_NOT_SET:
        return;
    }
  }

  std::optional<log::Offset> copy_begin;
};

}  // namespace

Publisher::Probe::Probe(telemetry::Registry& registry)
    : changes(registry, {"flagstream_control_changes_published_total",
                         "Changes appended to the topic config.", ""}),
      memberships(registry, {"flagstream_control_membership_changes_published_total",
                             "Changes appended to the topic memberships.", ""}),
      copies(registry, {"flagstream_control_copies_published_total",
                        "Complete copies appended to config.", ""}),
      failures(registry, {"flagstream_control_publish_failures_total",
                          "Appends to config that failed.", ""}) {}

Result<std::unique_ptr<Publisher>> Publisher::open(Catalog catalog, log::Log& log,
                                                   telemetry::Registry& registry,
                                                   const PublisherSettings& settings) {
  FS_TRY(auto appender, log.open_appender(std::string(environment::kConfigTopic),
                                          {.partitions = environment::kConfigPartitions}));
  FS_TRY(auto memberships, log.open_appender(std::string(environment::kMembershipsTopic),
                                             {.partitions = environment::kMembershipsPartitions}));
  std::unique_ptr<Publisher> publisher(new Publisher(std::move(catalog), std::move(appender),
                                                     std::move(memberships), registry, settings));
  FS_TRY(publisher->read_topic(log));
  FS_TRY(publisher->read_memberships(log));
  return publisher;
}

Result<void> Publisher::read_topic(log::Log& log) {
  FS_TRY(const log::TopicInfo info, log.info(std::string(environment::kConfigTopic)));
  const log::PartitionRange range = info.partitions.at(0);
  if (range.end == range.begin) return {};
  // The last record says where the newest complete copy begins; everything before that is in the
  // copy.
  FS_TRY(read_from(log, range.end - 1, range.end));
  const log::Offset start = newest_copy_.value_or(range.begin);
  return read_from(log, start, range.end);
}

Result<void> Publisher::read_from(log::Log& log, log::Offset start, log::Offset end) {
  const log::Start starts[] = {{.partition = 0, .offset = start}};
  FS_TRY(auto reader, log.open_reader(std::string(environment::kConfigTopic), Id128{}, starts));
  Reading reading;
  for (log::Offset at = start; at < end;) {
    FS_TRY(const log::Fetched fetched, reader->next(kReadBytesMax, kReadDeadline));
    if (fetched.status != log::Fetched::Status::Frames) {
      return fail(ErrorKind::DataLoss,
                  "topic config cannot be read at offset " + std::to_string(at));
    }
    for (const log::Frame& frame : fetched.frames) {
      log::Offset offset = frame.base_offset;
      at = frame.end_offset();
      for (const std::string_view record : frame.records) {
        const log::Offset here = offset++;
        const auto decoded = environment::decode_config_record(record);
        if (!decoded && decoded.error().kind == ErrorKind::NotFound) continue;
        if (!decoded)
          return fail(Error(decoded.error()).in("config record " + std::to_string(here)));
        reading.take(*decoded, here, record.size());
      }
    }
  }
  published_ = std::move(reading.published);
  newest_copy_ = reading.newest_copy;
  bytes_since_copy_ = reading.bytes_since_copy;
  copy_bytes_ = reading.copy_bytes;
  return {};
}

Result<void> Publisher::read_memberships(log::Log& log) {
  const std::string topic(environment::kMembershipsTopic);
  FS_TRY(const log::TopicInfo info, log.info(topic));
  const log::PartitionRange range = info.partitions.at(0);
  if (range.end == range.begin) return {};
  const log::Start last[] = {{.partition = 0, .offset = range.end - 1}};
  FS_TRY(auto reader, log.open_reader(topic, info.log_id, last));
  FS_TRY(const log::Fetched fetched, reader->next(kReadBytesMax, kReadDeadline));
  if (fetched.status != log::Fetched::Status::Frames)
    return fail(ErrorKind::DataLoss, "the end of topic memberships cannot be read");
  FS_TRY(const auto change,
         environment::decode_membership_record(fetched.frames.back().records.back()));
  last_membership_ = static_cast<std::int64_t>(change.sequence());
  return {};
}

bool Publisher::serves_somebody() const {
  return std::ranges::any_of(published_, [](const auto& each) {
    return std::ranges::any_of(each.second.items, [](const auto& item) {
      return item.first.first == ItemKind::Environment && !item.second.deleted;
    });
  });
}

Result<Reconciled> Publisher::recover() {
  FS_TRY(const auto projects, catalog_.projects());
  if (projects.empty() && serves_somebody()) {
    return fail(
        ErrorKind::DataLoss,
        "the catalog is empty, but the log's topic config holds environments that SDKs use; "
        "restore catalog.db from a backup (an older one will do), or remove the folder "
        "log/config, too, to begin anew");
  }
  // First: a segment that is published anew names the memberships that go with it.
  FS_TRY(const bool is_anew, catalog_.members().reconcile(last_membership_));
  if (is_anew) telemetry::warn("memberships of big segments are handed out anew", {});
  FS_TRY(const Reconciled reconciled, catalog_.reconcile(published_));
  FS_TRY(remember_gone());
  if (reconciled.environments_behind > 0 || reconciled.changes > 0) {
    telemetry::warn(
        "config was ahead of the catalog, which is a restored backup",
        {{"environments", reconciled.environments_behind}, {"changes", reconciled.changes}});
  }
  if (reconciled.log_is_behind) {
    telemetry::warn("config lacks changes of the catalog: a complete copy is written");
    // It is a new log, which nobody has read: the copy may stand for what waits.
    FS_TRY(catalog_.outbox().remove_through(std::numeric_limits<std::int64_t>::max()));
    FS_TRY(publish_memberships());
    FS_TRY(publish_copy());
  }
  FS_TRY(publish());
  return reconciled;
}

Result<void> Publisher::remember_gone() {
  FS_TRY(const Revisions known, catalog_.revisions());
  for (const auto& [id, environment] : published_) {
    if (known.contains(id)) continue;
    for (const auto& [name, in_log] : environment.items) {
      if (name.first != ItemKind::Environment) continue;
      // reconcile() has handed the delete of what is not deleted yet to the outbox.
      const std::int64_t is_new = in_log.deleted ? 0 : 1;
      gone_.push_back({.revision = environment.revision + is_new,
                       .item = {.environment = id,
                                .project = environment.project,
                                .kind = ItemKind::Environment,
                                .key = name.second,
                                .version = in_log.version + is_new,
                                .deleted = true,
                                .document = {}}});
    }
  }
  return {};
}

Result<std::size_t> Publisher::publish() {
  auto count = publish_changes();
  if (!count) probe_.failures.add();
  FS_TRY(const std::size_t changes, std::move(count));
  if (is_copy_due()) FS_TRY(publish_copy());
  return changes;
}

Result<std::size_t> Publisher::publish_changes() {
  std::size_t total = 0;
  for (;;) {
    FS_TRY(const auto changes, catalog_.outbox().oldest(kBatchChangesMax, kBatchBytesMax));
    if (changes.empty()) {
      FS_TRY(publish_memberships());
      return total;
    }
    // First, and after what waits was looked up: a change must not be read before the memberships
    // that were committed with it.
    FS_TRY(publish_memberships());
    FS_CRASH_POINT("control.after_commit_before_publish");
    log::Batch batch;
    for (const Change& change : changes) {
      FS_TRY(const std::string record, environment::encode_config_record(
                                           record_of(change.item, change.revision, newest_copy_)));
      batch.add({record});
      bytes_since_copy_ += record.size();
    }
    FS_TRY(appender_->append_and_wait(0, std::move(batch)));
    FS_CRASH_POINT("control.after_publish_before_mark");
    FS_TRY(catalog_.outbox().remove_through(changes.back().sequence));
    probe_.changes.add(changes.size());
    total += changes.size();
  }
}

Result<void> Publisher::publish_memberships() {
  for (;;) {
    FS_TRY(const auto waiting, catalog_.members().oldest(kBatchBytesMax));
    if (waiting.empty()) return {};
    log::Batch batch;
    for (const WaitingMembers& each : waiting) batch.add({each.record});
    FS_TRY(memberships_->append_and_wait(0, std::move(batch)));
    FS_CRASH_POINT("control.after_memberships_before_mark");
    FS_TRY(catalog_.members().remove_through(waiting.back().sequence));
    probe_.memberships.add(waiting.size());
  }
}

bool Publisher::is_copy_due() const {
  return bytes_since_copy_ > std::max(settings_.copy_after_bytes, copy_bytes_);
}

Result<void> Publisher::publish_copy() {
  FS_TRY(auto moment, sql::Transaction::begin(catalog_.database()));
  FS_TRY(const auto waiting, catalog_.outbox().oldest(1, 1));
  // A reader that has state skips copies, so a change must never reach it in a copy only.
  if (!waiting.empty()) return {};
  FS_TRY(auto items, catalog_.items());
  FS_TRY(auto tombstones, catalog_.outbox().tombstones());
  FS_TRY(auto revisions, catalog_.revisions());
  FS_TRY(moment.commit());
  for (const Change& each : gone_) {
    items.push_back(each.item);
    revisions[each.item.environment] = each.revision;
  }
  items.insert(items.end(), std::make_move_iterator(tombstones.begin()),
               std::make_move_iterator(tombstones.end()));

  FS_TRY(const CopyWritten written, write_copy(items, revisions));
  newest_copy_ = written.begin;
  copy_bytes_ = written.bytes;
  bytes_since_copy_ = 0;
  probe_.copies.add();
  return {};
}

Result<Publisher::CopyWritten> Publisher::write_copy(const std::vector<Item>& items,
                                                     const Revisions& revisions) {
  const std::uint64_t id = Id128::random().low;
  CopyWritten written;
  log::Batch batch;
  const auto add = [&](const proto::Record& record) -> Result<void> {
    FS_TRY(const std::string encoded, environment::encode_config_record(record));
    written.bytes += encoded.size();
    batch.add({encoded});
    return {};
  };
  proto::Record begin;
  if (newest_copy_) begin.set_newest_copy(*newest_copy_);
  begin.mutable_copy_begin()->set_copy_id(id);
  for (const auto& [environment, revision] : revisions) {
    proto::EnvironmentRevision& held = *begin.mutable_copy_begin()->add_revisions();
    held.set_environment_id(to_number(environment));
    held.set_revision(static_cast<std::uint64_t>(revision));
  }
  FS_TRY(add(begin));
  // On its own, because the end names its offset.
  FS_TRY(const auto appended, appender_->append_and_wait(0, std::exchange(batch, {})));
  written.begin = appended.first_offset;
  for (const Item& item : items) {
    proto::Record record = record_of(item, revisions.at(item.environment), newest_copy_);
    record.mutable_item()->set_copy_id(id);
    FS_TRY(add(record));
    if (batch.size() >= kBatchBytesMax)
      FS_TRY(appender_->append_and_wait(0, std::exchange(batch, {})));
  }
  proto::Record end;
  end.set_newest_copy(written.begin);
  end.mutable_copy_end()->set_copy_id(id);
  FS_TRY(add(end));
  FS_TRY(appender_->append_and_wait(0, std::move(batch)));
  return written;
}

}  // namespace flagstream::catalog
