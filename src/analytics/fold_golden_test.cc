// What analytics keeps of a long random history, held fast as a checksum of its store: so that a
// faster fold can be compared with the one before it, over limits, evictions, repeats and late
// events.  A change that means to alter entries alters the checksum with it.
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "analytics/stage.h"
#include "analytics/test_events.h"
#include "analytics/test_partition.h"
#include "base/bytes.h"
#include "base/hash.h"

namespace flagstream::analytics {
namespace {

namespace proto = events::proto;

class History {
 public:
  proto::Event next() {
    const auto kind = static_cast<proto::EventKind>(below(13));
    now_ += static_cast<MicrosUtc>(below(900)) * kMicrosPerMilli;
    proto::Event event = maker_.event(kind, now_);
    event.set_environment_id(1 + below(3));
    if (below(10) == 0) event.set_time_us(now_ - static_cast<MicrosUtc>(below(40)) * kMicrosPerDay);
    if (below(50) == 0) event.set_time_us(now_ + kMicrosPerDay);
    event.set_key(key("key", below(8) == 0 ? 400 : 12));
    if (below(5) > 0) event.set_variation(static_cast<std::int32_t>(below(3)));
    if (below(5) > 0) event.set_version(static_cast<std::int64_t>(below(3)));
    event.set_unknown_flag(below(20) == 0);
    if (below(4) == 0) event.set_sampling_ratio(static_cast<std::int64_t>(below(6)));
    event.set_count(static_cast<std::int64_t>(below(20)) - 1);
    const std::size_t run = below(4) == 0 ? below(3) : contexts_;
    contexts_ = run;
    if (below(3) == 0) user_ = below(2'000);
    for (std::size_t i = 0; i < run; ++i) {
      auto& context = *event.add_contexts();
      context.set_kind(i == 0 ? key("kind", below(30) == 0 ? 60 : 2) : "user");
      context.set_key("c" + std::to_string(i == 0 ? user_ % 7 : user_));
    }
    event.set_outcome(static_cast<proto::Event::Outcome>(1 + below(3)));
    event.set_events_accepted(static_cast<std::uint32_t>(below(100)));
    event.set_events_rejected(static_cast<std::uint32_t>(below(5)));
    event.set_sdk_name(key("sdk", 20));
    event.set_sdk_version(below(40) == 0 ? std::string(300, 'v') : key("", 20));
    return event;
  }
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(random_() % bound); }

 private:
  std::string key(const std::string& prefix, std::size_t count) {
    return prefix + std::to_string(below(count));
  }

  std::mt19937_64 random_{1};
  EventMaker maker_;
  MicrosUtc now_ = kTen;
  std::size_t contexts_ = 1;
  std::size_t user_ = 0;
};

TEST(FoldGolden, EntriesOfALongHistoryStayWhatTheyWere) {
  const TempFolder folder;
  telemetry::Registry registry;
  AnalyticsStage stage({.results_path = folder.file("results.db"),
                        .limits = {.flag_rows_max = 150,
                                   .minute_rows_max = 20,
                                   .custom_keys_max = 100,
                                   .custom_minute_max = 8,
                                   .context_kinds_max = 40,
                                   .sdks_max = 300,
                                   .entries_in_memory = 200}},
                       registry);
  TestPartition partition(stage, folder.file("state"));
  History history;
  for (int i = 0; i < 30'000; ++i) {
    partition.take(history.next());
    if (history.below(600) == 0)
      partition.repeat_from(partition.size() - 1 - history.below(20) % partition.size());
    if (history.below(500) == 0) partition.publish();
    if (history.below(3'000) == 0) partition.checkpoint();
    if (history.below(9'000) == 0) {
      partition.crash();
      partition.fold_rest();
    }
  }
  partition.checkpoint();
  std::string entries;
  const auto scanned =
      partition.store().scan("d", [&](std::string_view key, std::string_view value) {
        append_le(entries, static_cast<std::uint32_t>(key.size()));
        entries.append(key).append(value);
        return true;
      });
  ASSERT_TRUE(scanned);
  EXPECT_EQ(xxh3_128(entries).to_hex(), "d97742cf9a31632d34f80746209e26d9");
}

}  // namespace
}  // namespace flagstream::analytics
