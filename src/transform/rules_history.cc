#include "transform/rules_history.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <span>

#include "environment/config_record.h"

namespace flagstream::transform {
namespace {

namespace proto = environment::proto;

constexpr std::size_t kReadBytes = 4u << 20;
constexpr auto kReadDeadline = std::chrono::milliseconds(1'000);
constexpr int kVainReadsMax = 10;

}  // namespace

Result<std::shared_ptr<const FlagRules>> RulesHistory::find(const FlagAt& flag) {
  const std::lock_guard lock(mutex_);
  if (!has_read(flag)) FS_TRY(read_to_end());
  if (!has_read(flag)) return std::shared_ptr<const FlagRules>();
  const auto found = flags_.find(std::pair(flag.environment_id, std::string(flag.key)));
  if (found == flags_.end()) return std::shared_ptr<const FlagRules>();
  const auto after = std::ranges::upper_bound(found->second, flag.revision, {}, &Entry::revision);
  if (after == found->second.begin()) return std::shared_ptr<const FlagRules>();
  return std::prev(after)->rules;
}

bool RulesHistory::has_read(const FlagAt& flag) const {
  const auto found = config_.environments().find(flag.environment_id);
  return found != config_.environments().end() && found->second.revision >= flag.revision;
}

Result<void> RulesHistory::read_to_end() {
  const auto info = log_.info(std::string(environment::kConfigTopic));
  if (!info) {
    if (info.error().kind == ErrorKind::NotFound) return {};
    return fail(info.error());
  }
  const log::Offset end = info->partitions.at(0).end;
  if (reader_ == nullptr || info->log_id != log_id_ || next_ > end) FS_TRY(open(*info));
  for (int vain = 0; next_ < end && vain < kVainReadsMax;) {
    FS_TRY(const log::Fetched fetched, reader_->next(kReadBytes, kReadDeadline));
    switch (fetched.status) {
      case log::Fetched::Status::Frames:
        for (const log::Frame& frame : fetched.frames) FS_TRY(take(frame));
        break;
      case log::Fetched::Status::End:
        ++vain;
        break;
      case log::Fetched::Status::OutOfRange:
      case log::Fetched::Status::Quarantined:
        config_.note_hole();
        next_ = fetched.next_offset;
        reader_->skip_to(0, next_);
        break;
    }
  }
  if (next_ < end) return fail(ErrorKind::Unavailable, "the end of config cannot be reached");
  return {};
}

Result<void> RulesHistory::open(const log::TopicInfo& info) {
  config_ = environment::ConfigFold();
  flags_.clear();
  log_id_ = info.log_id;
  next_ = info.partitions.at(0).begin;
  const log::Start start{.partition = 0, .offset = next_};
  FS_TRY(reader_, log_.open_reader(std::string(environment::kConfigTopic), info.log_id,
                                   std::span(&start, 1)));
  return {};
}

Result<void> RulesHistory::take(const log::Frame& frame) {
  for (std::size_t i = 0; i < frame.records.size(); ++i) {
    const log::Offset offset = frame.base_offset + i;
    if (offset < next_) continue;
    FS_TRY(const environment::Folded folded, config_.take(frame.records[i]));
    next_ = offset + 1;
    for (const std::uint64_t id : folded.replaced) {
      for (const auto& [name, item] : config_.environments().at(id).items) note(item);
    }
    for (const proto::Item& item : folded.changes) note(item);
  }
  return {};
}

void RulesHistory::note(const proto::Item& item) {
  if (item.kind() != proto::Item::FLAG) return;
  std::shared_ptr<const FlagRules> rules;
  if (!item.deleted()) {
    if (auto read = FlagRules::read(item.document()))
      rules = std::make_shared<const FlagRules>(*std::move(read));
  }
  std::vector<Entry>& entries = flags_[{item.environment_id(), item.key()}];
  if (!entries.empty()) {
    const FlagRules* const last = entries.back().rules.get();
    const bool is_same = rules == nullptr ? last == nullptr : last && rules->equals(*last);
    // What had waited behind a gap that a copy steps over is told with the copy, and once more.
    if (is_same || entries.back().revision >= item.revision()) return;
  }
  entries.push_back({.revision = item.revision(), .rules = std::move(rules)});
}

}  // namespace flagstream::transform
