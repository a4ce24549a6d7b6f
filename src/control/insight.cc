#include "control/insight.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "catalog/json_fields.h"
#include "json/json.h"

namespace flagstream::control {
namespace {

using catalog::ObjectText;

std::string variation_name(std::optional<std::int32_t> variation) {
  return variation ? std::to_string(*variation) : "null";
}

// Of a topic that does not exist yet: no partitions.
Result<log::TopicInfo> info_of(log::Log& log, const std::string& topic) {
  auto info = log.info(topic);
  if (!info && info.error().kind == ErrorKind::NotFound) return log::TopicInfo{};
  return info;
}

std::uint64_t behind(const log::PartitionRange& range, log::Offset next) {
  next = std::max(next, range.begin);
  return range.data_end > next ? range.data_end - next : 0;
}

}  // namespace

Result<catalog::Environment> Insight::environment(const std::string& project,
                                                  const std::string& key) {
  FS_TRY(const catalog::Project found, sources_.catalog.project(project));
  return sources_.catalog.environment(found.id, key);
}

Result<std::string> Insight::usage(const catalog::Environment& environment, const std::string& flag,
                                   TimeRange range) {
  FS_TRY(const auto points,
         sources_.results->evaluations(environment.id, flag, range.from, range.to));
  // Versions of the flag are added up: the API knows none.
  std::map<MicrosUtc, std::map<std::string, std::int64_t>> minutes;
  std::set<std::optional<std::int32_t>> variations;
  for (const analytics::EvaluationPoint& each : points) {
    minutes[each.minute][variation_name(each.variation)] += each.count;
    variations.insert(each.variation);
  }
  ObjectText out;
  out.raw("metadata", catalog::list_text(variations, [](const auto& each) {
            ObjectText entry;
            entry.text("key", variation_name(each));
            return std::move(entry).done();
          }));
  out.raw("series", catalog::list_text(minutes, [](const auto& minute) {
            ObjectText point;
            point.integer("time", minute.first / kMicrosPerMilli);
            for (const auto& [name, count] : minute.second) point.integer(name, count);
            return std::move(point).done();
          }));
  out.raw("_links", "{}");
  return std::move(out).done();
}

Result<Insight::Lag> Insight::payloads_lag() {
  FS_TRY(const log::TopicInfo info, info_of(sources_.log, "payloads"));
  FS_TRY(const auto reached, sources_.results->progress());
  Lag lag;
  std::optional<MicrosUtc> oldest;
  for (log::Partition partition = 0; partition < info.partitions.size(); ++partition) {
    const auto found =
        std::find_if(reached.begin(), reached.end(), [&](const analytics::Progress& each) {
          return each.payloads_log_id == info.log_id && each.partition == partition;
        });
    const log::PartitionRange& range = info.partitions[partition];
    const std::uint64_t count = behind(range, found == reached.end() ? 0 : found->next_offset);
    if (count == 0) continue;
    lag.payloads += count;
    const MicrosUtc received = found == reached.end() ? range.last_append : found->received;
    oldest = std::min(oldest.value_or(received), received);
  }
  if (oldest) {
    const std::int64_t micros = std::max<std::int64_t>(sources_.clock.now() - *oldest, 0);
    lag.seconds = static_cast<double>(micros) / kMicrosPerSecond;
  }
  return lag;
}

Result<std::uint64_t> Insight::lake_lag(const LakeStatus& lake) {
  FS_TRY(const log::TopicInfo info, info_of(sources_.log, "events"));
  std::uint64_t lag = 0;
  for (log::Partition partition = 0; partition < info.partitions.size(); ++partition) {
    const auto next = lake.next_offsets.find(partition);
    lag += behind(info.partitions[partition], next == lake.next_offsets.end() ? 0 : next->second);
  }
  return lag;
}

Result<std::string> Insight::health(EnvironmentId environment) {
  FS_TRY(const analytics::PayloadTotals totals, sources_.results->payloads(environment));
  FS_TRY(const Lag lag, payloads_lag());
  LakeStatus lake;
  std::uint64_t behind_lake = 0;
  if (sources_.lake) {
    FS_TRY(lake, sources_.lake());
    FS_TRY(behind_lake, lake_lag(lake));
  }
  return fmt::format(
      R"({{"payloads":{{"received":{},"accepted":{},"duplicate":{},"rejected":{}}},"events":{},)"
      R"("lag":{{"payloads":{},"seconds":{:.3f},"lake":{}}},)"
      R"("lake":{{"version":{},"committedAt":{}}}}})",
      totals.accepted + totals.duplicate + totals.rejected, totals.accepted, totals.duplicate,
      totals.rejected, totals.events, lag.payloads, lag.seconds, behind_lake,
      std::max<std::int64_t>(lake.version, 0), lake.committed_at / kMicrosPerMilli);
}

Result<std::string> Insight::evaluations(EnvironmentId environment) {
  FS_TRY(const auto totals, sources_.results->evaluation_totals(environment));
  FS_TRY(const auto minute, sources_.results->newest_minute(environment));
  std::string flags = "{";
  for (const auto& [flag, variations] : totals) {
    ObjectText counts;
    for (const auto& [variation, count] : variations)
      counts.integer(variation_name(variation), count);
    if (flags.size() > 1) flags += ',';
    json::append_quoted(flags, flag);  // whatever an SDK sent as a key
    flags += ':' + std::move(counts).done();
  }
  ObjectText out;
  out.raw("flags", flags + "}").integer("minute", minute.value_or(0) / kMicrosPerMilli);
  return std::move(out).done();
}

Result<std::string> Insight::sdks(EnvironmentId environment) {
  FS_TRY(const auto seen, sources_.results->sdks(environment));
  FS_TRY(const auto first, sources_.results->first_evaluation(environment));
  ObjectText out;
  out.raw("sdks", catalog::list_text(seen, [](const analytics::SdkSeen& each) {
            ObjectText sdk;
            sdk.text("name", each.name).text("version", each.version);
            sdk.integer("lastSeen", each.last_seen / kMicrosPerMilli);
            return std::move(sdk).done();
          }));
  out.raw("firstEvaluation", first ? std::to_string(*first / kMicrosPerMilli) : "null");
  return std::move(out).done();
}

}  // namespace flagstream::control
