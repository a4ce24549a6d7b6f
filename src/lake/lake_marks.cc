#include "lake/lake_marks.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

namespace flagstream::lake {
namespace {

constexpr std::string_view kGap = "/gap";
constexpr std::string_view kOffset = "/offset";
constexpr std::string_view kEvent = "/event";

}  // namespace

bool PartitionProgress::take(const Id128& source_log, const events::SourcePosition& at) {
  const auto [entry, is_first] = highest.try_emplace(source_log, at);
  if (is_first) return true;
  if (at <= entry->second) return false;
  entry->second = at;
  return true;
}

std::string position_app_id(const MarkScope& scope, log::Partition partition) {
  return fmt::format("flagstream/{}/{}/{}", scope.generation, scope.log_id.to_hex(), partition);
}

std::vector<TransactionMark> marks_of(const MarkScope& scope, log::Partition partition,
                                      const PartitionProgress& progress, std::int64_t now_ms) {
  const std::string app_id = position_app_id(scope, partition);
  std::vector<TransactionMark> marks;
  marks.push_back({app_id, static_cast<std::int64_t>(progress.next_offset), now_ms});
  if (progress.gap_records > 0) {
    marks.push_back(
        {app_id + std::string(kGap), static_cast<std::int64_t>(progress.gap_records), now_ms});
  }
  for (const auto& [log_id, at] : progress.highest) {
    const std::string source = app_id + "/" + log_id.to_hex();
    marks.push_back({source + std::string(kOffset), static_cast<std::int64_t>(at.offset), now_ms});
    const std::uint64_t event = static_cast<std::uint64_t>(at.index) << 32 | at.part;
    marks.push_back({source + std::string(kEvent), static_cast<std::int64_t>(event), now_ms});
  }
  return marks;
}

std::uint64_t records_behind(const std::map<std::string, TransactionMark>& marks,
                             std::uint64_t generation, const log::TopicInfo& topic) {
  std::uint64_t behind = 0;
  for (log::Partition partition = 0; partition < topic.partitions.size(); ++partition) {
    const log::PartitionRange& range = topic.partitions[partition];
    const auto mark = marks.find(position_app_id({generation, topic.log_id}, partition));
    const log::Offset next = std::max(
        range.begin, mark == marks.end() ? 0 : static_cast<log::Offset>(mark->second.version));
    if (range.data_end > next) behind += range.data_end - next;
  }
  return behind;
}

Result<PartitionProgress> progress_in(const TableState& state, const MarkScope& scope,
                                      log::Partition partition) {
  PartitionProgress progress;
  const std::string app_id = position_app_id(scope, partition);
  const auto position = state.marks.find(app_id);
  if (position == state.marks.end()) return progress;
  progress.next_offset = static_cast<log::Offset>(position->second.version);
  if (const auto gap = state.marks.find(app_id + std::string(kGap)); gap != state.marks.end()) {
    progress.gap_records = static_cast<std::uint64_t>(gap->second.version);
  }
  const std::string prefix = app_id + "/";
  for (auto at = state.marks.lower_bound(prefix);
       at != state.marks.end() && at->first.starts_with(prefix); ++at) {
    std::string_view rest = std::string_view(at->first).substr(prefix.size());
    if (!rest.ends_with(kOffset)) continue;
    rest.remove_suffix(kOffset.size());
    const auto log_id = Id128::from_hex(rest);
    const auto event = state.marks.find(prefix + std::string(rest) + std::string(kEvent));
    if (!log_id || event == state.marks.end())
      return fail(ErrorKind::DataLoss, "transaction mark " + at->first);
    const auto packed = static_cast<std::uint64_t>(event->second.version);
    progress.highest[*log_id] = {static_cast<std::uint64_t>(at->second.version),
                                 static_cast<std::uint32_t>(packed >> 32),
                                 static_cast<std::uint32_t>(packed)};
  }
  return progress;
}

}  // namespace flagstream::lake
