#include "lake/environment_labels.h"

#include <algorithm>
#include <chrono>
#include <span>

#include "environment/config_record.h"

namespace flagstream::lake {
namespace {

constexpr std::size_t kReadBytes = 1 << 20;
constexpr auto kLastRecordDeadline = std::chrono::milliseconds(1'000);

}  // namespace

// Begins at the newest complete copy, which the last record tells.
Result<void> EnvironmentLabels::open() {
  const std::string topic(environment::kConfigTopic);
  FS_TRY(const log::TopicInfo info, log_.info(topic));
  const log::PartitionRange range = info.partitions.at(0);
  log::Start start{.partition = 0, .offset = range.begin};
  if (range.end > range.begin) {
    const log::Start last{.partition = 0, .offset = range.end - 1};
    FS_TRY(const auto reader, log_.open_reader(topic, info.log_id, std::span(&last, 1)));
    FS_TRY(const log::Fetched fetched, reader->next(kReadBytes, kLastRecordDeadline));
    if (fetched.status == log::Fetched::Status::Frames) {
      const auto record = environment::decode_config_record(fetched.frames.back().records.back());
      if (record && record->has_newest_copy())
        start.offset = std::max(range.begin, record->newest_copy());
    }
  }
  FS_TRY(reader_, log_.open_reader(topic, info.log_id, std::span(&start, 1)));
  return {};
}

Result<void> EnvironmentLabels::refresh() {
  if (reader_ == nullptr) {
    auto opened = open();
    if (!opened && opened.error().kind == ErrorKind::NotFound) return {};
    FS_TRY(std::move(opened));
  }
  for (;;) {
    FS_TRY(const log::Fetched fetched, reader_->next(kReadBytes, std::chrono::milliseconds(0)));
    switch (fetched.status) {
      case log::Fetched::Status::End:
        return {};
      case log::Fetched::Status::OutOfRange:
      case log::Fetched::Status::Quarantined:
        reader_->skip_to(fetched.partition, fetched.next_offset);
        break;
      case log::Fetched::Status::Frames:
        for (const log::Frame& frame : fetched.frames) {
          for (const std::string_view record : frame.records) take(record);
        }
    }
  }
}

void EnvironmentLabels::take(std::string_view record) {
  const auto decoded = environment::decode_config_record(record);
  if (!decoded || !decoded->has_item()) return;
  const auto& item = decoded->item();
  if (item.kind() != environment::proto::Item::ENVIRONMENT || item.deleted()) return;
  Known& known = known_[item.environment_id()];
  if (item.revision() < known.revision) return;
  const auto environment = environment::decode_environment(item.document());
  if (!environment) return;
  known.revision = item.revision();
  known.label = {.project_id = item.project_id(),
                 .project_key = environment->project_key(),
                 .environment_key = environment->key()};
}

const EnvironmentLabel* EnvironmentLabels::find(std::uint64_t environment_id) const {
  const auto found = known_.find(environment_id);
  return found == known_.end() || found->second.revision == 0 ? nullptr : &found->second.label;
}

}  // namespace flagstream::lake
