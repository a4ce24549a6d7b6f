#include "transform/decode.h"

#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "events/envelope.h"
#include "events/event.h"
#include "events/noise.h"

namespace flagstream::transform {
namespace {

namespace proto = events::proto;

constexpr MicrosUtc kReceived = 1'795'407'508'900'000;

proto::PayloadHeader header_of_server() {
  proto::PayloadHeader header;
  header.set_receipt_id(std::string(16, 'r'));
  header.set_received_us(kReceived);
  header.set_environment_id(7);
  header.set_credential(proto::PayloadHeader::SDK_KEY);
  header.set_schema(4);
  header.set_user_agent("NodeJSClient/9.13.7");
  header.set_tags("application-id/shop application-version/1.2.3");
  return header;
}

constexpr PayloadPlace kPlace{
    .log_id = {.high = 1, .low = 2}, .offset = 1000, .append_time = kReceived + 50};

std::string record_of(const events::EventView& event) {
  std::string record;
  events::encode_event(event, record);
  return record;
}

proto::Event message_of_record(std::string_view record) {
  proto::Event message;
  EXPECT_TRUE(events::decode_event(record, message));
  return message;
}

proto::Event message_of(const events::EventView& event) {
  return message_of_record(record_of(event));
}

struct Decoded {
  std::vector<proto::Event> events;
  std::vector<std::string> reasons;
  std::vector<proto::Reject> rejects;
  std::uint32_t accepted = 0;
  std::uint32_t rejected = 0;
};

Decoded decode(std::string_view body, const proto::PayloadHeader& header = header_of_server()) {
  Decoder decoder;
  auto result = decoder.decode(header, body, kPlace);
  EXPECT_TRUE(result) << body.substr(0, 200);
  if (!result) return {};
  Decoded decoded;
  decoded.accepted = result->accepted;
  decoded.rejected = result->rejected;
  for (const auto& event : result->events) decoded.events.push_back(message_of(event));
  decoded.rejects.assign(result->rejects.begin(), result->rejects.end());
  for (const auto& reject : decoded.rejects) decoded.reasons.push_back(reject.reason());
  return decoded;
}

proto::Event decode_one(std::string_view event) {
  const Decoded decoded = decode("[" + std::string(event) + "]");
  EXPECT_EQ(decoded.events.size(), 1u)
      << event << (decoded.reasons.empty() ? "" : decoded.reasons[0]);
  return decoded.events.empty() ? proto::Event() : decoded.events[0];
}

std::string reason_for(std::string_view event) {
  const Decoded decoded = decode("[" + std::string(event) + "]");
  EXPECT_EQ(decoded.accepted + decoded.rejected, 1u) << event;
  return decoded.reasons.empty() ? "accepted" : decoded.reasons[0];
}

std::string contexts_of(const proto::Event& event) {
  std::string text;
  for (const auto& context : event.contexts()) {
    text += (text.empty() ? "" : " ") + context.kind() + ":" + context.key() +
            (context.anonymous() ? "?" : "");
  }
  return text;
}

std::string sample(const std::string& name) {
  std::ifstream in(FLAGSTREAM_SOURCE_DIR "/tests/data/sdk-payloads/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

constexpr std::string_view kUser = R"("context":{"kind":"user","key":"u1"})";
constexpr std::string_view kDate = R"("creationDate":1795407508889)";

std::string event_of(std::string_view kind, std::string_view members) {
  return R"({"kind":")" + std::string(kind) + R"(",)" + std::string(kDate) + "," +
         std::string(kUser) + (members.empty() ? "" : ",") + std::string(members) + "}";
}

TEST(Decode, AFeatureEventWithAllMembers) {
  const auto event = decode_one(
      R"({"kind":"feature","creationDate":1795407508889,"context":{"kind":"multi","user":{"key":"u1"},"org":{"anonymous":true,"key":"o1"}},)"
      R"("key":"flag","value":{"a":[1, 2]},"default":"d","variation":0,"version":7,"prereqOf":"parent","samplingRatio":3,)"
      R"("reason":{"kind":"RULE_MATCH","ruleIndex":0,"inExperiment":true}})");
  EXPECT_EQ(event.kind(), proto::FEATURE);
  EXPECT_EQ(event.key(), "flag");
  EXPECT_EQ(event.value_json(), R"({"a":[1, 2]})");
  EXPECT_EQ(event.default_json(), R"("d")");
  EXPECT_TRUE(event.has_variation());
  EXPECT_EQ(event.variation(), 0);
  EXPECT_EQ(event.version(), 7);
  EXPECT_EQ(event.prereq_of(), "parent");
  EXPECT_EQ(event.sampling_ratio(), 3);
  EXPECT_EQ(event.reason_json(), R"({"kind":"RULE_MATCH","ruleIndex":0,"inExperiment":true})");
  EXPECT_TRUE(event.in_experiment());
  EXPECT_EQ(contexts_of(event), "org:o1? user:u1");
  EXPECT_EQ(event.context_json(),
            R"({"kind":"multi","user":{"key":"u1"},"org":{"anonymous":true,"key":"o1"}})");
  EXPECT_EQ(event.noise(), events::kNoiseAnonymous | events::kNoisePrerequisite);
  EXPECT_EQ(event.time_us(), 1795407508889000);
}

TEST(Decode, WhatThePayloadKnowsIsInEveryEvent) {
  const auto decoded = decode("[" + event_of("index", "") + "," + event_of("identify", "") + "]");
  ASSERT_EQ(decoded.events.size(), 2u);
  for (std::uint32_t i = 0; i < 2; ++i) {
    const auto& event = decoded.events[i];
    EXPECT_EQ(event.source().log_id(), kPlace.log_id.to_bytes());
    EXPECT_EQ(event.source().offset(), 1000u);
    EXPECT_EQ(event.source().index(), i);
    EXPECT_EQ(event.source().part(), 0u);
    EXPECT_EQ(event.environment_id(), 7u);
    EXPECT_EQ(event.received_us(), kReceived);
    EXPECT_EQ(event.sdk_name(), "NodeJSClient");
    EXPECT_EQ(event.sdk_version(), "9.13.7");
    EXPECT_EQ(event.application_id(), "shop");
    EXPECT_EQ(event.application_version(), "1.2.3");
  }
}

TEST(Decode, KindMayBeTheLastMember) {
  EXPECT_EQ(
      decode_one(
          R"({"key":"ev","context":{"key":"u1","kind":"user"},"creationDate":1795407508889,"kind":"custom"})")
          .kind(),
      proto::CUSTOM);
}

TEST(Decode, NullsCountAsAbsent) {
  const auto event = decode_one(event_of(
      "custom",
      R"("key":"ev","url":null,"data":null,"metricValue":null,"contextKeys":null,"user":null,"samplingRatio":null)"));
  EXPECT_EQ(event.url(), "");
  EXPECT_EQ(event.data_json(), "");
  EXPECT_FALSE(event.has_metric_micros());
  EXPECT_FALSE(event.has_sampling_ratio());
  EXPECT_EQ(contexts_of(event), "user:u1");
  EXPECT_EQ(decode_one(
                event_of("feature",
                         R"("key":"f","default":null,"value":null,"variation":null,"reason":null)"))
                .default_json(),
            "");
}

TEST(Decode, WholeNumbersMayArriveAsDoubles) {
  const auto event = decode_one(
      R"({"kind":"feature","key":"f","creationDate":1.795407508889e12,"variation":1.0,"version":7e0,"contextKeys":{"user":"u"}})");
  EXPECT_EQ(event.variation(), 1);
  EXPECT_EQ(event.version(), 7);
  EXPECT_EQ(event.time_us(), 1795407508889000);
}

TEST(Decode, MetricValueZeroIsPresent) {
  const auto event = decode_one(event_of("custom", R"("key":"ev","metricValue":0,"data":{"d":1})"));
  EXPECT_TRUE(event.has_metric_micros());
  EXPECT_EQ(event.metric_micros(), 0);
  EXPECT_EQ(event.data_json(), R"({"d":1})");
}

TEST(Decode, MetricValueBeyondTheRangeIsCutAndTagged) {
  const auto event = decode_one(event_of("custom", R"("key":"ev","metricValue":1e999999)"));
  EXPECT_EQ(event.metric_micros(), 9'200'000'000'000'000'000);
  EXPECT_EQ(event.noise(), events::kNoiseMetricSaturated);
}

TEST(Decode, ASummaryIsOneRecordForEachCounter) {
  const auto decoded = decode(
      R"([{"startDate":1795407508000,"endDate":1795407508500,"features":{)"
      R"("a":{"counters":[{"variation":0,"version":3,"value":"x","count":2},{"version":3,"value":"d","count":1}],"default":"d","contextKinds":["user","org"]},)"
      R"("nope":{"default":null,"counters":[{"value":"d","count":4,"unknown":true}],"contextKinds":["user"]}},"kind":"summary"}])");
  ASSERT_EQ(decoded.events.size(), 3u);
  EXPECT_EQ(decoded.accepted, 1u);
  const auto& first = decoded.events[0];
  EXPECT_EQ(first.kind(), proto::SUMMARY);
  EXPECT_EQ(first.key(), "a");
  EXPECT_EQ(first.variation(), 0);
  EXPECT_TRUE(first.has_variation());
  EXPECT_EQ(first.version(), 3);
  EXPECT_EQ(first.value_json(), R"("x")");
  EXPECT_EQ(first.default_json(), R"("d")");
  EXPECT_EQ(first.count(), 2);
  ASSERT_EQ(first.context_kinds_size(), 2);
  EXPECT_EQ(first.context_kinds(1), "org");
  EXPECT_EQ(first.time_us(), 1795407508500000);
  EXPECT_EQ(first.start_us(), 1795407508000000);
  EXPECT_FALSE(decoded.events[1].has_variation());
  EXPECT_EQ(decoded.events[1].count(), 1);
  EXPECT_TRUE(decoded.events[2].unknown_flag());
  EXPECT_FALSE(decoded.events[2].has_version());
  EXPECT_EQ(decoded.events[2].noise(), events::kNoiseUnknownFlag);
  EXPECT_EQ(decoded.events[2].default_json(), "");
  for (std::uint32_t part = 0; part < 3; ++part) {
    EXPECT_EQ(decoded.events[part].source().index(), 0u);
    EXPECT_EQ(decoded.events[part].source().part(), part);
  }
}

TEST(Decode, ASummaryOfOneContextNamesItInEachCounter) {
  const auto decoded = decode(
      R"([{"startDate":1795407508000,"context":{"kind":"user","key":"u1","anonymous":true},"endDate":1795407508500,"kind":"summary",)"
      R"("features":{"a":{"counters":[{"count":2,"version":1},{"count":3,"version":1}]}}}])");
  ASSERT_EQ(decoded.events.size(), 2u);
  for (const auto& event : decoded.events) {
    EXPECT_EQ(contexts_of(event), "user:u1?");
    EXPECT_EQ(event.noise(), events::kNoiseAnonymous);
    EXPECT_EQ(event.context_json(), R"({"kind":"user","key":"u1","anonymous":true})");
  }
}

TEST(Decode, CountersOfTheRecordedPayloadAddUpExactly) {
  const auto decoded = decode(sample("node-server-101-events.json"));
  EXPECT_EQ(decoded.accepted, 101u);
  EXPECT_EQ(decoded.rejected, 0u);
  std::map<proto::EventKind, int> kinds;
  std::int64_t evaluations = 0;
  std::int64_t flag_0_true = 0;
  for (const auto& event : decoded.events) {
    ++kinds[event.kind()];
    evaluations += event.count();
    if (event.kind() == proto::SUMMARY && event.key() == "flag-0" && event.variation() == 0)
      flag_0_true += event.count();
  }
  // Counted in the file by Python.
  EXPECT_EQ(evaluations, 450);
  EXPECT_EQ(flag_0_true, 11);
  EXPECT_EQ(kinds[proto::SUMMARY], 40);
  EXPECT_EQ(kinds[proto::FEATURE], 50);
  EXPECT_EQ(kinds[proto::INDEX], 25);
  EXPECT_EQ(kinds[proto::CUSTOM], 25);
}

TEST(Decode, ClickAndPageviewKeepUrlAndSelector) {
  const auto click = decode_one(
      R"({"kind":"click","key":"goal","url":"http://x/?a=1","selector":".buy","creationDate":1795407508889,"contextKeys":{"user":"u1","org":"o1"}})");
  EXPECT_EQ(click.kind(), proto::CLICK);
  EXPECT_EQ(click.url(), "http://x/?a=1");
  EXPECT_EQ(click.selector(), ".buy");
  EXPECT_EQ(contexts_of(click), "org:o1 user:u1");
  EXPECT_EQ(
      decode_one(
          R"({"kind":"pageview","key":"g","data":null,"url":"u","contextKeys":{"user":"u1"}})")
          .kind(),
      proto::PAGEVIEW);
}

TEST(Decode, AMigrationOpIsKeptWholeAndNamesItsFlag) {
  const std::string text = event_of(
      "migration_op",
      R"("operation":"read","measurements":[{"key":"latency_ms","values":{"old":0.06}}],"evaluation":{"key":"mig","value":"shadow","default":"off","variation":2,"version":5,"reason":{"kind":"FALLTHROUGH"}})");
  const auto event = decode_one(text);
  EXPECT_EQ(event.kind(), proto::MIGRATION_OP);
  EXPECT_EQ(event.key(), "mig");
  EXPECT_EQ(event.variation(), 2);
  EXPECT_EQ(event.value_json(), R"("shadow")");
  EXPECT_EQ(event.default_json(), R"("off")");
  EXPECT_EQ(event.raw_json(), text);
  const auto beside = decode_one(
      event_of("migration_op", R"("default":"off","evaluation":{"key":"mig","value":"live"})"));
  EXPECT_EQ(beside.default_json(), R"("off")");
}

TEST(Decode, ABareDiagnosticObjectIsOneEvent) {
  const std::string body =
      R"({"kind":"diagnostic","id":{"diagnosticId":"d"},"creationDate":1795407508889,"droppedEvents":3,"streamInits":[]})";
  const auto decoded = decode(body + "\n");
  ASSERT_EQ(decoded.events.size(), 1u);
  EXPECT_EQ(decoded.events[0].kind(), proto::DIAGNOSTIC);
  EXPECT_EQ(decoded.events[0].raw_json(), body);
  EXPECT_EQ(decoded.events[0].dropped_events(), 3);
  EXPECT_EQ(decoded.events[0].noise(), events::kNoiseSdkOverflow);
  EXPECT_EQ(
      decode_one(R"({"kind":"diagnostic-combined","id":{},"creationDate":1795407508889})").kind(),
      proto::DIAGNOSTIC);
}

TEST(Decode, ABareEventObjectIsOneEvent) {
  const auto decoded = decode(event_of("custom", R"("key":"ev")"));
  ASSERT_EQ(decoded.events.size(), 1u);
  EXPECT_EQ(decoded.events[0].kind(), proto::CUSTOM);
}

TEST(Decode, UsersOfSchema3AreContextsOfKindUser) {
  EXPECT_EQ(contexts_of(decode_one(
                R"({"kind":"index","user":{"key":"u1","anonymous":true,"custom":{"key":"x"}}})")),
            "user:u1?");
  EXPECT_EQ(contexts_of(decode_one(R"({"kind":"custom","key":"e","userKey":"u1"})")), "user:u1");
  EXPECT_EQ(contexts_of(decode_one(
                R"({"kind":"custom","key":"e","contextKind":"anonymousUser","userKey":"u1"})")),
            "user:u1?");
  EXPECT_EQ(contexts_of(decode_one(R"({"kind":"index","user":{"key":"u1","anonymous":null}})")),
            "user:u1");
}

TEST(Decode, AliasEventsAreKeptWhole) {
  const std::string text =
      R"({"kind":"alias","key":"a","contextKind":"user","previousKey":"b","previousContextKind":"anonymousUser"})";
  const auto event = decode_one(text);
  EXPECT_EQ(event.kind(), proto::ALIAS);
  EXPECT_EQ(event.raw_json(), text);
}

TEST(Decode, AnInlineContextCountsMoreThanKeys) {
  for (const char* members : {R"("contextKeys":{"user":"k"},"context":{"kind":"org","key":"o"})",
                              R"("context":{"kind":"org","key":"o"},"contextKeys":{"user":"k"})"}) {
    EXPECT_EQ(
        contexts_of(decode_one(R"({"kind":"custom","key":"e",)" + std::string(members) + "}")),
        "org:o");
  }
}

TEST(Decode, MultiKindContextsMayNameTheirKindLastAndHoldKindsCalledKey) {
  EXPECT_EQ(
      contexts_of(decode_one(
          R"({"kind":"index","context":{"zoo":{"key":"z"},"key":{"key":"k"},"_meta":{},"kind":"multi"}})")),
      "key:k zoo:z");
}

TEST(Decode, ObjectAttributesOfASingleContextAreNoContexts) {
  EXPECT_EQ(contexts_of(decode_one(
                R"({"kind":"index","context":{"address":{"key":5},"key":"u","kind":"user"}})")),
            "user:u");
}

TEST(Decode, EscapesInNamesAndKeysAreUndone) {
  EXPECT_EQ(contexts_of(decode_one(
                R"({"\u006bind":"index","context":{"kind":"user","\u006bey":"a\"b\u00e9"}})")),
            "user:a\"b\xc3\xa9");
}

TEST(Decode, OfTwoMembersWithOneNameTheLastCounts) {
  EXPECT_EQ(decode_one(event_of("custom", R"("key":"a","key":"b")")).key(), "b");
}

TEST(Decode, AFeatureWithoutVersionIsOfAnUnknownFlag) {
  const auto event = decode_one(event_of("feature", R"("key":"f","value":1)"));
  EXPECT_TRUE(event.unknown_flag());
  EXPECT_EQ(event.noise(), events::kNoiseUnknownFlag | events::kNoiseNoExposure);
}

TEST(Decode, ADebugEventIsTaggedAsACopy) {
  EXPECT_EQ(decode_one(event_of("debug", R"("key":"f","value":1,"version":2)")).noise(),
            events::kNoiseDebugCopy);
}

TEST(Decode, AReceivedTimeAheadOfTheAppendIsCutToIt) {
  proto::PayloadHeader header = header_of_server();
  header.set_received_us(kPlace.append_time + kMicrosPerDay);
  const auto decoded = decode(R"([{"kind":"index","context":{"kind":"user","key":"u"}}])", header);
  ASSERT_EQ(decoded.events.size(), 1u);
  EXPECT_EQ(decoded.events[0].received_us(), kPlace.append_time);
  EXPECT_EQ(decoded.events[0].time_us(), kPlace.append_time);
  EXPECT_EQ(decoded.events[0].noise(), events::kNoiseInvalidDate);
}

TEST(Decode, AFutureClockShiftsASummaryWithItsStart) {
  const auto event = decode_one(
      R"({"kind":"summary","startDate":1795411108000,"endDate":1795411109000,"features":{"a":{"counters":[{"count":1}]}}})");
  EXPECT_EQ(event.time_us(), kReceived);
  EXPECT_EQ(event.start_us(), kReceived - kMicrosPerSecond);
  EXPECT_EQ(event.noise(), events::kNoiseSkewFuture);
}

TEST(Decode, ClientsMaySpanSixtySeconds) {
  proto::PayloadHeader header = header_of_server();
  header.set_credential(proto::PayloadHeader::CLIENT_SIDE_ID);
  const std::string body =
      R"([{"kind":"index","creationDate":1700000000000,"context":{"kind":"user","key":"u"}},)"
      R"({"kind":"index","creationDate":1700000060000,"context":{"kind":"user","key":"u"}}])";
  EXPECT_EQ(decode(body, header).events[0].noise(), events::kNoiseSkewPast);
  EXPECT_EQ(decode(body).events[0].noise(), events::kNoiseLate);
}

TEST(Decode, AWrongEventIsRejectedWithItsReason) {
  EXPECT_EQ(reason_for("5"), "not_an_object");
  EXPECT_EQ(reason_for("null"), "not_an_object");
  EXPECT_EQ(reason_for(R"({"kind" "x"})"), "malformed_json");
  EXPECT_EQ(reason_for(R"({"kind":tru})"), "wrong_type");
  EXPECT_EQ(reason_for(event_of("custom", R"("key":"e")") + "{}"), "malformed_json");
  EXPECT_EQ(reason_for("{\"kind\":\"a\tb\"}"), "malformed_json");
  EXPECT_EQ(reason_for(R"({"kind":"\ud800"})"), "malformed_json");
  EXPECT_EQ(reason_for("{}"), "missing_kind");
  EXPECT_EQ(reason_for(R"({"kind":null})"), "missing_kind");
  EXPECT_EQ(reason_for(R"({"kind":"hover"})"), "unknown_kind");
  EXPECT_EQ(reason_for(event_of("custom", "")), "missing_key");
  EXPECT_EQ(reason_for(event_of("custom", R"("key":"")")), "missing_key");
  EXPECT_EQ(reason_for(R"({"kind":"feature","key":"f"})"), "missing_context");
  EXPECT_EQ(reason_for(R"({"kind":"summary"})"), "empty_summary");
  EXPECT_EQ(reason_for(R"({"kind":"summary","features":{"a":{"counters":[]}}})"), "empty_summary");
  EXPECT_EQ(reason_for(R"({"kind":"summary","features":{"a":{"counters":[{"value":1}]}}})"),
            "wrong_type");
  EXPECT_EQ(reason_for(R"({"kind":"summary","features":{"a":{"counters":[{"count":-1}]}}})"),
            "wrong_type");
  EXPECT_EQ(reason_for(R"({"kind":"summary","features":{"a":{"counters":[{"count":1.5}]}}})"),
            "wrong_type");
  EXPECT_EQ(reason_for(R"({"kind":"summary","features":[1]})"), "wrong_type");
  EXPECT_EQ(reason_for(event_of("custom", R"("key":5)")), "wrong_type");
  EXPECT_EQ(reason_for(event_of("custom", R"("key":"e","metricValue":"5")")), "wrong_type");
  EXPECT_EQ(reason_for(event_of("custom", R"("key":"e","metricValue":NaN)")), "wrong_type");
  EXPECT_EQ(reason_for(event_of("feature", R"("key":"f","variation":"0")")), "wrong_type");
  EXPECT_EQ(reason_for(event_of("feature", R"("key":"f","variation":2147483648)")), "wrong_type");
  EXPECT_EQ(reason_for(event_of("feature", R"("key":"f","value":nope)")), "malformed_json");
  EXPECT_EQ(reason_for(event_of("custom", R"("key":")" + std::string(70'000, 'k') + "\"")),
            "too_large");
}

TEST(Decode, AnImpossibleContextIsRejected) {
  for (const char* context :
       {R"({"kind":"user"})", R"({"kind":"user","key":""})", R"({"kind":"user","key":5})",
        R"({"kind":"kind","key":"a"})", R"({"kind":"multi"})",
        R"({"kind":"multi","multi":{"key":"a"}})", R"({"kind":"multi","user":{}})",
        R"({"kind":"","key":"a"})", R"({"kind":5,"key":"a"})", R"({"kind":"a b","key":"a"})",
        R"({"kind":"user","key":"a","anonymous":"yes"})", R"("u1")", "[]",
        R"({"kind":"multi","user":{"key":"a"},"user":{"key":"b"}})"}) {
    EXPECT_EQ(reason_for(R"({"kind":"index","context":)" + std::string(context) + "}"),
              "invalid_context")
        << context;
  }
  EXPECT_EQ(reason_for(R"({"kind":"index","context":{"kind":"user","key":")" +
                       std::string(65'537, 'k') + R"("}})"),
            "invalid_context");
  EXPECT_EQ(reason_for(R"({"kind":"index","context":{"kind":"user","key":")" +
                       std::string(65'536, 'k') + R"("}})"),
            "accepted");
}

TEST(Decode, NestingIsLimited) {
  const auto nested = [](std::size_t depth) {
    return event_of("custom",
                    R"("key":"e","data":)" + std::string(depth, '[') + std::string(depth, ']'));
  };
  EXPECT_EQ(reason_for(nested(64)), "accepted");
  EXPECT_EQ(reason_for(nested(65)), "too_deep");
  EXPECT_EQ(reason_for(nested(100'000)), "too_deep");
  EXPECT_EQ(
      reason_for(event_of("custom", R"("key":"e","data":")" + std::string(1'000, '[') + "\"")),
      "accepted");
}

TEST(Decode, TheRestOfThePayloadCountsWhateverOneEventHolds) {
  const std::string good = event_of("custom", R"("key":"ev")");
  for (const char* bad :
       {"5", "{\"kind\" \"x\"}", "{\"a\":\"\x01\"}", "", "{\"kind\":\"hover\"}", "\"\\q\""}) {
    const std::string body = "[" + good + "," + bad + "," + good + "]";
    if (std::string_view(bad) == "{\"a\":[}")
      continue;  // brackets that do not match are no envelope
    const auto decoded = decode(body);
    ASSERT_EQ(decoded.accepted, 2u) << bad;
    ASSERT_EQ(decoded.rejected, 1u) << bad;
    EXPECT_EQ(decoded.events[0].source().index(), 0u);
    EXPECT_EQ(decoded.events[1].source().index(), 2u);
    EXPECT_EQ(decoded.rejects[0].source().index(), 1u);
    EXPECT_EQ(decoded.rejects[0].record(), bad);
    EXPECT_EQ(decoded.rejects[0].stage(), "transform");
    EXPECT_EQ(decoded.rejects[0].environment_id(), 7u);
    EXPECT_EQ(decoded.rejects[0].received_us(), kReceived);
  }
}

TEST(Decode, ASummaryThatWouldRepeatTooMuchIsRejected) {
  std::string counters;
  for (int i = 0; i < 1'000; ++i) counters += i == 0 ? R"({"count":1})" : R"(,{"count":1})";
  const std::string flag(60'000, 'f');
  EXPECT_EQ(reason_for(R"({"kind":"summary","features":{")" + flag + R"(":{"counters":[)" +
                       counters + "]}}}"),
            "too_large");
}

TEST(Decode, ASummaryOfTooManyCountersIsRejected) {
  std::string counters = R"({"count":1})";
  for (int i = 0; i < 70'000; ++i) counters += R"(,{"count":1})";
  EXPECT_EQ(reason_for(R"({"kind":"summary","features":{"f":{"counters":[)" + counters + "]}}}"),
            "too_large");
}

TEST(Decode, WhatIsNoEnvelopeIsRefusedWhole) {
  Decoder decoder;
  for (const char* body : {"", "5", "[{]", "[{}", "{}{}", "[\"\xff\"]"}) {
    const auto result = decoder.decode(header_of_server(), body, kPlace);
    ASSERT_FALSE(result) << body;
    const auto reject = payload_reject(header_of_server(), kPlace, result.error(), "the record");
    EXPECT_EQ(reject.reason(), "not_json");
    EXPECT_EQ(reject.record(), "the record");
    EXPECT_EQ(reject.source().index(), 0u);
  }
}

TEST(Decode, AnEmptyArrayHoldsNoEvents) {
  const auto decoded = decode(" [ ] ");
  EXPECT_EQ(decoded.accepted + decoded.rejected, 0u);
  EXPECT_TRUE(decoded.events.empty());
}

TEST(Decode, TheLastRecordOfAPayloadSaysWhatBecameOfIt) {
  std::string record;
  encode_payload_event(
      header_of_server(), kPlace,
      {.outcome = proto::Event::ACCEPTED, .accepted = 5, .rejected = 1, .body_bytes = 333}, record);
  const auto event = message_of_record(record);
  EXPECT_EQ(event.kind(), proto::PAYLOAD);
  EXPECT_EQ(event.source().index(), 6u);
  EXPECT_EQ(event.source().offset(), 1000u);
  EXPECT_EQ(event.events_accepted(), 5u);
  EXPECT_EQ(event.events_rejected(), 1u);
  EXPECT_EQ(event.body_bytes(), 333u);
  EXPECT_EQ(event.time_us(), kReceived);
  EXPECT_EQ(event.sdk_name(), "NodeJSClient");
}

TEST(Decode, GivesTheSameBytesEachTimeFromAUsedDecoderToo) {
  Decoder used;
  std::string first;
  for (int round = 0; round < 3; ++round) {
    for (const char* name : {"node-server-6-events.json", "node-server-101-events.json"}) {
      ASSERT_TRUE(used.decode(header_of_server(), sample(name), kPlace));
    }
    std::string bytes;
    const auto header = header_of_server();
    const auto result = used.decode(header, sample("node-server-6-events.json"), kPlace);
    for (const auto& event : result->events) bytes += message_of(event).SerializeAsString();
    if (round == 0) first = bytes;
    EXPECT_EQ(bytes, first);
  }
  std::string fresh;
  for (const auto& event : decode(sample("node-server-6-events.json")).events)
    fresh += event.SerializeAsString();
  EXPECT_EQ(fresh, first);
}

// Each event that is good alone is the same beside a bad one: the walk over the whole body and the
// one event by event agree.
TEST(Decode, BothWaysOfReadingGiveTheSameEvents) {
  for (const char* name : {"node-server-6-events.json", "node-server-101-events.json"}) {
    std::string body = sample(name);
    const auto whole = decode(body);
    body.insert(body.rfind(']'), ",5");
    const auto each = decode(body);
    ASSERT_EQ(each.rejected, 1u);
    ASSERT_EQ(whole.events.size(), each.events.size());
    for (std::size_t i = 0; i < whole.events.size(); ++i) {
      EXPECT_EQ(whole.events[i].SerializeAsString(), each.events[i].SerializeAsString())
          << name << " " << i;
    }
  }
}

TEST(Decode, MutatedPayloadsNeverLoseAnEvent) {
  std::mt19937_64 random(7);
  Decoder decoder;
  int taken = 0;
  const std::string original = sample("node-server-6-events.json");
  for (int round = 0; round < 20'000; ++round) {
    std::string body = original;
    for (auto n = 1 + random() % 4; n > 0; --n) {
      const std::size_t at = random() % body.size();
      constexpr std::string_view kBytes = "[]{},:\"\\ 0e-tfn\n\x01\xc3u";
      switch (random() % 4) {
        case 0:
          body[at] = kBytes[random() % kBytes.size()];
          break;
        case 1:
          body.insert(at, 1, kBytes[random() % kBytes.size()]);
          break;
        case 2:
          body.erase(at, 1 + random() % 20);
          break;
        case 3:
          body.insert(at, body.substr(random() % body.size(), random() % 60));
          break;
      }
    }
    const auto envelope = events::scan_envelope(body);
    const auto header = header_of_server();
    const auto result = decoder.decode(header, body, kPlace);
    if (!envelope) continue;
    ASSERT_TRUE(result) << body;
    ++taken;
    ASSERT_EQ(result->accepted + result->rejected, envelope->events) << body;
    proto::Event message;
    for (const auto& event : result->events)
      ASSERT_TRUE(events::decode_event(record_of(event), message)) << body;
  }
  EXPECT_GT(taken, 2'000);
}

}  // namespace
}  // namespace flagstream::transform
