// The two readers of an event record agree on every byte sequence: generated events, and what
// becomes of them when bytes are lost, added and changed.
#include "lake/event_view.h"

#include <random>

#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include "events/event.h"
#include "events/record.h"

namespace flagstream::lake {
namespace {

using Random = std::mt19937_64;

bool one_in(Random& random, unsigned n) { return random() % n == 0; }

std::string text(Random& random) {
  static const std::string kParts[] = {"user", "\"quoted\"", "ä",  "日本",
                                       "🎈",   "{\"a\":1}",  "\n", ""};
  std::string out;
  for (auto left = random() % 4; left > 0; --left) out += kParts[random() % std::size(kParts)];
  return out;
}

template <class T = std::int64_t>
T number(Random& random) {
  return static_cast<T>(random() >> (random() % 64));
}

void fill_texts(Random& random, events::proto::Event& event) {
  const auto maybe = [&](auto set) {
    if (one_in(random, 3)) set(text(random));
  };
  maybe([&](std::string t) { event.set_key(std::move(t)); });
  maybe([&](std::string t) { event.set_value_json(std::move(t)); });
  maybe([&](std::string t) { event.set_default_json(std::move(t)); });
  maybe([&](std::string t) { event.set_reason_json(std::move(t)); });
  maybe([&](std::string t) { event.set_prereq_of(std::move(t)); });
  maybe([&](std::string t) { event.set_data_json(std::move(t)); });
  maybe([&](std::string t) { event.set_url(std::move(t)); });
  maybe([&](std::string t) { event.set_selector(std::move(t)); });
  maybe([&](std::string t) { event.set_context_json(std::move(t)); });
  maybe([&](std::string t) { event.add_context_kinds(std::move(t)); });
  maybe([&](std::string t) { event.add_context_kinds(std::move(t)); });
  maybe([&](std::string t) { event.set_sdk_name(std::move(t)); });
  maybe([&](std::string t) { event.set_sdk_version(std::move(t)); });
  maybe([&](std::string t) { event.set_application_id(std::move(t)); });
  maybe([&](std::string t) { event.set_application_version(std::move(t)); });
  maybe([&](std::string t) { event.set_raw_json(std::move(t)); });
}

void fill_numbers(Random& random, events::proto::Event& event) {
  event.set_kind(static_cast<events::proto::EventKind>(number<std::int32_t>(random)));
  event.set_environment_id(number<std::uint64_t>(random));
  event.set_received_us(number(random));
  event.set_time_us(-number(random));
  if (one_in(random, 2)) event.set_variation(number<std::int32_t>(random));
  if (one_in(random, 2)) event.set_version(number(random));
  if (one_in(random, 2)) event.set_metric_micros(-number(random));
  if (one_in(random, 2)) event.set_sampling_ratio(number(random));
  event.set_count(number(random));
  event.set_unknown_flag(one_in(random, 2));
  event.set_start_us(number(random));
  event.set_noise(number<std::uint32_t>(random));
  event.set_in_experiment(one_in(random, 2));
  event.set_dropped_events(number(random));
  event.set_events_accepted(number<std::uint32_t>(random));
  event.set_body_bytes(number<std::uint64_t>(random));
}

std::string random_record(Random& random) {
  events::proto::Event event;
  if (!one_in(random, 4)) {
    event.mutable_source()->set_log_id(text(random));
    event.mutable_source()->set_offset(number<std::uint64_t>(random));
    event.mutable_source()->set_index(number<std::uint32_t>(random));
    event.mutable_source()->set_part(number<std::uint32_t>(random));
  }
  fill_numbers(random, event);
  fill_texts(random, event);
  for (auto left = random() % 3; left > 0; --left) {
    auto* context = event.add_contexts();
    context->set_kind(text(random));
    context->set_key(text(random));
    context->set_anonymous(one_in(random, 2));
  }
  std::string record;
  events::encode_event(event, record);
  return record;
}

// Behind the prefix: that both read it with the same function is no property of theirs.
void damage(Random& random, std::string& record) {
  for (auto left = random() % 4 + 1; left > 0; --left) {
    const std::size_t at =
        events::kRecordPrefixBytes + random() % (record.size() - events::kRecordPrefixBytes + 1);
    switch (random() % 4) {
      case 0:
        record.insert(at, 1, static_cast<char>(random()));
        break;
      case 1:
        record.resize(at);
        break;
      case 2:
        if (at < record.size()) record[at] = static_cast<char>(random());
        break;
      default:
        if (at < record.size()) record[at] = static_cast<char>(record[at] ^ (1 << random() % 8));
    }
  }
}

void expect_same(const EventView& view, const events::proto::Event& event) {
  EXPECT_EQ(view.source_log, event.source().log_id());
  EXPECT_EQ(view.source_offset, event.source().offset());
  EXPECT_EQ(view.source_index, event.source().index());
  EXPECT_EQ(view.source_part, event.source().part());
  EXPECT_EQ(view.kind, event.kind());
  EXPECT_EQ(view.environment_id, event.environment_id());
  EXPECT_EQ(view.received_us, event.received_us());
  EXPECT_EQ(view.time_us, event.time_us());
  EXPECT_EQ(view.key, event.key());
  EXPECT_EQ(view.variation.has_value(), event.has_variation());
  EXPECT_EQ(view.variation.value_or(0), event.variation());
  EXPECT_EQ(view.version.has_value(), event.has_version());
  EXPECT_EQ(view.version.value_or(0), event.version());
  EXPECT_EQ(view.value_json, event.value_json());
  EXPECT_EQ(view.default_json, event.default_json());
  EXPECT_EQ(view.reason_json, event.reason_json());
  EXPECT_EQ(view.prereq_of, event.prereq_of());
  EXPECT_EQ(view.data_json, event.data_json());
  EXPECT_EQ(view.metric_micros.has_value(), event.has_metric_micros());
  EXPECT_EQ(view.metric_micros.value_or(0), event.metric_micros());
  EXPECT_EQ(view.url, event.url());
  EXPECT_EQ(view.selector, event.selector());
  EXPECT_EQ(view.sampling_ratio.has_value(), event.has_sampling_ratio());
  EXPECT_EQ(view.sampling_ratio.value_or(0), event.sampling_ratio());
  EXPECT_EQ(view.context_json, event.context_json());
  EXPECT_EQ(view.count, event.count());
  EXPECT_EQ(view.unknown_flag, event.unknown_flag());
  EXPECT_EQ(view.start_us, event.start_us());
  EXPECT_EQ(view.sdk_name, event.sdk_name());
  EXPECT_EQ(view.sdk_version, event.sdk_version());
  EXPECT_EQ(view.application_id, event.application_id());
  EXPECT_EQ(view.application_version, event.application_version());
  EXPECT_EQ(view.noise, event.noise());
  EXPECT_EQ(view.raw_json, event.raw_json());
  EXPECT_EQ(view.in_experiment, event.in_experiment());
  EXPECT_EQ(view.dropped_events, event.dropped_events());
  ASSERT_EQ(view.contexts.size(), static_cast<std::size_t>(event.contexts_size()));
  for (int i = 0; i < event.contexts_size(); ++i) {
    EXPECT_EQ(view.contexts[static_cast<std::size_t>(i)].kind, event.contexts(i).kind());
    EXPECT_EQ(view.contexts[static_cast<std::size_t>(i)].key, event.contexts(i).key());
  }
  ASSERT_EQ(view.context_kinds.size(), static_cast<std::size_t>(event.context_kinds_size()));
  for (int i = 0; i < event.context_kinds_size(); ++i)
    EXPECT_EQ(view.context_kinds[static_cast<std::size_t>(i)], event.context_kinds(i));
}

// Whether both accept it.
bool compare(const std::string& record, EventView& view) {
  events::proto::Event event;
  const auto decoded = events::decode_event(record, event);
  const auto viewed = view_event(record, view);
  EXPECT_EQ(viewed.has_value(), decoded.has_value()) << testing::PrintToString(record);
  if (!viewed && !decoded) {
    EXPECT_EQ(viewed.error().kind, decoded.error().kind);
  }
  if (!viewed || !decoded) return false;
  expect_same(view, event);
  return true;
}

TEST(EventView, ReadsWhatTheGeneratedParserReads) {
  Random random(1);
  EventView view;
  for (int i = 0; i < 3'000 && !testing::Test::HasFailure(); ++i)
    EXPECT_TRUE(compare(random_record(random), view));
}

TEST(EventView, AcceptsAndRefusesTheSameDamagedRecords) {
  const google::protobuf::LogSilencer silence;  // of texts that are not UTF-8
  Random random(2);
  EventView view;
  int accepted = 0, refused = 0;
  for (int i = 0; i < 30'000 && !testing::Test::HasFailure(); ++i) {
    std::string record = random_record(random);
    damage(random, record);
    ++(compare(record, view) ? accepted : refused);
  }
  EXPECT_GT(accepted, 3'000);
  EXPECT_GT(refused, 3'000);
}

TEST(EventView, FieldsOfANewerReleaseAreSkippedAndGroupsOnlySoDeep) {
  const std::string prefix = random_record(*std::make_unique<Random>(3)).substr(0, 2);
  EventView view;
  const auto nested = [&](int depth) {
    std::string record = prefix;
    for (int i = 0; i < depth; ++i) record += "\xA3\x06";  // field 100, a group begins
    for (int i = 0; i < depth; ++i) record += "\xA4\x06";
    return record;
  };
  EXPECT_TRUE(compare(prefix, view));
  EXPECT_TRUE(compare(prefix + "\xA0\x06\x05", view));  // a number
  EXPECT_TRUE(compare(prefix + "\xA1\x06"
                               "12345678",
                      view));  // 8 bytes
  EXPECT_FALSE(compare(prefix + "\xA1\x06"
                                "1234567",
                       view));  // one is missing
  EXPECT_TRUE(compare(prefix + "\xA2\x06\x02"
                               "hi",
                      view));  // bytes
  EXPECT_TRUE(compare(prefix + "\xA5\x06"
                               "1234",
                      view));                                    // 4 bytes
  EXPECT_FALSE(compare(prefix + "\xA4\x06", view));              // a group ends
  EXPECT_FALSE(compare(prefix + "\xA3\x06", view));              // a group never ends
  EXPECT_FALSE(compare(prefix + "\xA6\x06", view));              // no such wire type
  EXPECT_FALSE(compare(prefix + std::string("\0\0", 2), view));  // no such field
  EXPECT_TRUE(compare(nested(100), view));
  EXPECT_FALSE(compare(nested(101), view));
}

}  // namespace
}  // namespace flagstream::lake
