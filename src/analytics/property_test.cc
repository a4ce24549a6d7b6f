// Random events, partitions, publications, checkpoints and crashes against a model that counts what
// was ever sent, once, without any of these.
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <tuple>

#include <gtest/gtest.h>

#include "analytics/results_reader.h"
#include "analytics/stage.h"
#include "analytics/test_events.h"
#include "analytics/test_partition.h"

namespace flagstream::analytics {
namespace {

namespace proto = events::proto;

constexpr int kPartitions = 3;
constexpr std::uint64_t kEnvironments[] = {1, 2};

using Random = std::mt19937_64;
int below(Random& random, int bound) {
  return static_cast<int>(random() % static_cast<std::uint64_t>(bound));
}

proto::Event random_event(Random& random) {
  proto::Event event;
  event.set_environment_id(kEnvironments[below(random, 2)]);
  event.set_received_us(kTen + below(random, 3600) * kMicrosPerSecond);
  // Some of yesterday, some of a month ago, some of five weeks ago, which count at receipt.
  const int age_days[] = {0, 0, 0, 1, 29, 36};
  event.set_time_us(event.received_us() - age_days[below(random, 6)] * kMicrosPerDay -
                    below(random, 200) * kMicrosPerSecond);
  event.set_key("key" + std::to_string(below(random, 4)));
  for (const char* kind : {"org", "user"}) {
    if (below(random, 2) == 0) continue;
    auto& context = *event.add_contexts();
    context.set_kind(kind);
    context.set_key("c" + std::to_string(below(random, 40)));
  }
  switch (below(random, 4)) {
    case 0:
      event.set_kind(proto::CUSTOM);
      if (below(random, 4) == 0) event.set_sampling_ratio(below(random, 5));
      return event;
    case 1:
      event.set_kind(proto::PAYLOAD);
      event.clear_contexts();
      event.set_outcome(static_cast<proto::Event::Outcome>(1 + below(random, 3)));
      event.set_events_accepted(static_cast<std::uint32_t>(below(random, 20)));
      event.set_events_rejected(static_cast<std::uint32_t>(below(random, 3)));
      event.set_sdk_name("Go");
      event.set_sdk_version(std::to_string(below(random, 3)));
      return event;
    case 2:
      event.set_kind(below(random, 2) == 0 ? proto::INDEX : proto::DEBUG);
      return event;
    default:
      event.set_kind(proto::SUMMARY);
      event.set_count(below(random, 100));
      if (below(random, 4) > 0) event.set_variation(below(random, 3));
      if (below(random, 8) == 0) {
        event.set_unknown_flag(true);
      } else {
        event.set_version(1 + below(random, 2));
      }
      return event;
  }
}

// Lines that say all that a reader can see of both environments.
using Lines = std::set<std::string>;
template <class... Parts>
std::string line(const Parts&... parts) {
  std::ostringstream out;
  ((out << parts << ' '), ...);
  return out.str();
}
template <class T>
std::string or_none(const std::optional<T>& number) {
  return number ? std::to_string(*number) : "-";
}

class Model {
 public:
  void take(const proto::Event& event) {
    const std::uint64_t environment = event.environment_id();
    const bool is_late = event.received_us() - event.time_us() > 30 * kMicrosPerDay;
    const MicrosUtc time = is_late ? event.received_us() : event.time_us();
    const MicrosUtc minute = time / kMicrosPerMinute * kMicrosPerMinute;
    if (event.kind() == proto::DEBUG) return;
    for (const auto& context : event.contexts()) {
      auto& [keys, first, last] = kinds_[{environment, context.kind()}];
      first = keys.empty() ? time : std::min(first, time);
      last = keys.empty() ? time : std::max(last, time);
      keys.insert(context.key());
    }
    if (event.kind() == proto::CUSTOM) {
      custom_[{environment, minute, event.key()}] +=
          event.sampling_ratio() > 1 ? event.sampling_ratio() : 1;
    }
    if (event.kind() == proto::SUMMARY && event.count() > 0) {
      const std::string variation = event.has_variation() ? std::to_string(event.variation()) : "-";
      const std::string version = event.unknown_flag() ? "-" : std::to_string(event.version());
      evaluations_[{environment, event.key(), minute, variation, version}] += event.count();
      totals_[{environment, event.key(), variation}] += event.count();
      auto [at, is_new] = minutes_.try_emplace(environment, minute, minute);
      at->second.first = std::min(at->second.first, minute);
      at->second.second = std::max(at->second.second, minute);
    }
    if (event.kind() == proto::PAYLOAD) {
      auto& totals = payloads_[environment];
      totals[static_cast<std::size_t>(event.outcome() - 1)] += 1;
      if (event.outcome() == proto::Event::ACCEPTED) totals[3] += event.events_accepted();
      if (event.outcome() != proto::Event::DUPLICATE) totals[4] += event.events_rejected();
      MicrosUtc& seen = sdks_[{environment, event.sdk_version()}];
      seen = std::max(seen, event.received_us());
    }
  }

  Lines lines() const {
    Lines lines;
    for (const auto& [key, count] : evaluations_) {
      const auto& [environment, flag, minute, variation, version] = key;
      lines.insert(line("evaluation", environment, flag, minute, variation, version, count));
    }
    for (const auto& [key, count] : totals_)
      lines.insert(line("total", std::get<0>(key), std::get<1>(key), std::get<2>(key), count));
    for (const auto& [environment, minutes] : minutes_)
      lines.insert(line("minutes", environment, minutes.first, minutes.second));
    for (const auto& [key, seen] : kinds_) {
      lines.insert(line("kind", key.first, key.second, std::get<0>(seen).size(), std::get<1>(seen),
                        std::get<2>(seen)));
    }
    for (const auto& [key, count] : custom_)
      lines.insert(line("custom", std::get<0>(key), std::get<1>(key), std::get<2>(key), count));
    for (const auto& [environment, totals] : payloads_) {
      lines.insert(
          line("payloads", environment, totals[0], totals[1], totals[2], totals[3], totals[4]));
    }
    for (const auto& [key, seen] : sdks_) lines.insert(line("sdk", key.first, key.second, seen));
    return lines;
  }

 private:
  using Key = std::tuple<std::uint64_t, std::string, MicrosUtc, std::string, std::string>;
  std::map<Key, std::int64_t> evaluations_;
  std::map<std::tuple<std::uint64_t, std::string, std::string>, std::int64_t> totals_;
  std::map<std::uint64_t, std::pair<MicrosUtc, MicrosUtc>> minutes_;
  std::map<std::pair<std::uint64_t, std::string>,
           std::tuple<std::set<std::string>, MicrosUtc, MicrosUtc>>
      kinds_;
  std::map<std::tuple<std::uint64_t, MicrosUtc, std::string>, std::int64_t> custom_;
  std::map<std::uint64_t, std::array<std::uint64_t, 5>> payloads_;
  std::map<std::pair<std::uint64_t, std::string>, MicrosUtc> sdks_;
};

Lines lines_of(ResultsReader& reader, std::uint64_t number) {
  const EnvironmentId environment{number};
  constexpr MicrosUtc kEnd = kTen + kMicrosPerDay;
  Lines lines;
  const auto totals = *reader.evaluation_totals(environment);
  for (const auto& [flag, variations] : totals) {
    for (const auto& [variation, count] : variations)
      lines.insert(line("total", number, flag, or_none(variation), count));
    for (const auto& point : *reader.evaluations(environment, flag, 0, kEnd)) {
      lines.insert(line("evaluation", number, flag, point.minute, or_none(point.variation),
                        or_none(point.version), point.count));
    }
  }
  const auto first = *reader.first_evaluation(environment);
  const auto newest = *reader.newest_minute(environment);
  if (first) lines.insert(line("minutes", number, *first, *newest));
  for (const auto& kind : *reader.context_kinds(environment)) {
    lines.insert(line("kind", number, kind.kind, kind.contexts, kind.first_seen, kind.last_seen));
  }
  for (const auto& point : *reader.custom_events(environment, 0, kEnd))
    lines.insert(line("custom", number, point.minute, point.key, point.count));
  const PayloadTotals payloads = *reader.payloads(environment);
  if (payloads.accepted + payloads.duplicate + payloads.rejected > 0) {
    lines.insert(line("payloads", number, payloads.accepted, payloads.duplicate, payloads.rejected,
                      payloads.events, payloads.events_rejected));
  }
  for (const auto& sdk : *reader.sdks(environment))
    lines.insert(line("sdk", number, sdk.version, sdk.last_seen));
  return lines;
}

Lines all_lines(const std::string& results) {
  auto reader = ResultsReader::open(results);
  EXPECT_TRUE(reader) << reader.error().what;
  Lines lines;
  for (const std::uint64_t environment : kEnvironments)
    lines.merge(lines_of(**reader, environment));
  return lines;
}

// Folds `events` in their order, each in a random partition, among random troubles.
Lines folded(const std::vector<proto::Event>& events, Random& random) {
  TempFolder folder;
  telemetry::Registry registry;
  AnalyticsStage stage({.results_path = folder.file("results.db"),
                        .limits = {.entries_in_memory = random() % 2 == 0 ? 3u : 1'000u}},
                       registry);
  std::vector<std::unique_ptr<TestPartition>> partitions;
  for (log::Partition i = 0; i < kPartitions; ++i) {
    partitions.push_back(
        std::make_unique<TestPartition>(stage, folder.file("store" + std::to_string(i)), i));
  }
  std::uint64_t next_offset = 5;
  for (proto::Event event : events) {
    event.mutable_source()->set_log_id(kPayloadsLog.to_bytes());
    event.mutable_source()->set_offset(next_offset++);
    TestPartition& partition = *partitions[random() % kPartitions];
    partition.fold_rest();
    partition.take(event);
    switch (random() % 40) {
      case 0:
        partition.checkpoint();
        break;
      case 1:
        partition.crash();
        break;
      case 2:
      case 3:
      case 4:
        partition.publish();
        break;
      case 5:
        partition.repeat_from(random() % partition.size());
        break;
      case 6:  // part of the way back after a crash, then a publication of less than there was
        partition.crash();
        if (partition.has_rest()) partition.fold_next();
        partition.publish();
        break;
      default:
        break;
    }
  }
  for (const auto& partition : partitions) {
    partition->fold_rest();
    partition->publish();
  }
  return all_lines(folder.file("results.db"));
}

class AnalyticsProperty : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(AnalyticsProperty, ResultsEqualTheModelInAnyOrderAndPartition) {
  Random random(GetParam());
  std::vector<proto::Event> events;
  Model model;
  for (int i = 0; i < 400; ++i) {
    events.push_back(random_event(random));
    model.take(events.back());
  }
  EXPECT_EQ(folded(events, random), model.lines());
  std::shuffle(events.begin(), events.end(), random);
  EXPECT_EQ(folded(events, random), model.lines());
}

INSTANTIATE_TEST_SUITE_P(Seeds, AnalyticsProperty, ::testing::Range<std::uint64_t>(1, 9));

}  // namespace
}  // namespace flagstream::analytics
