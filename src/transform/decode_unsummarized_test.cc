#include "transform/decode_unsummarized.h"

#include <map>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "events/event.h"
#include "events/noise.h"
#include "transform/decode.h"

namespace flagstream::transform {
namespace {

namespace proto = events::proto;

constexpr MicrosUtc kReceived = 1'795'407'508'900'000;
constexpr std::string_view kDate = R"("creationDate":1795407508889)";
constexpr std::string_view kContext =
    R"("context":{"kind":"multi","user":{"key":"u1","name":"Ann"},"org":{"key":"o1"}})";
constexpr std::string_view kUser = R"("user":{"key":"u1","email":"e@x","custom":{"a":1}})";
constexpr PayloadPlace kPlace{
    .log_id = {.high = 1, .low = 2}, .offset = 1000, .append_time = kReceived + 50};

proto::PayloadHeader header_of(std::uint32_t schema, bool unsummarized = false) {
  proto::PayloadHeader header;
  header.set_received_us(kReceived);
  header.set_environment_id(7);
  header.set_credential(proto::PayloadHeader::SDK_KEY);
  header.set_schema(schema);
  header.set_unsummarized(unsummarized);
  header.set_config_revision(42);
  return header;
}

struct Decoded {
  std::vector<proto::Event> events;
  std::uint32_t accepted = 0;
  std::uint32_t rejected = 0;
  std::uint32_t rules_found = 0;
  std::uint32_t rules_missing = 0;

  // "part KIND", in order.
  std::string kinds() const {
    std::string text;
    for (const auto& event : events) {
      text += (text.empty() ? "" : " ") + std::to_string(event.source().part()) +
              proto::EventKind_Name(event.kind());
    }
    return text;
  }
  const proto::Event& of(proto::EventKind kind) const {
    static const proto::Event kNone;
    for (const auto& event : events) {
      if (event.kind() == kind) return event;
    }
    ADD_FAILURE() << "no " << proto::EventKind_Name(kind);
    return kNone;
  }
};

Decoded decode(const std::string& body, const proto::PayloadHeader& header,
               FindRules find_rules = nullptr) {
  Decoder decoder(std::move(find_rules));
  const auto result = decoder.decode(header, body, kPlace);
  EXPECT_TRUE(result) << body;
  Decoded decoded;
  if (!result) return decoded;
  for (const auto& event : result->events) {
    std::string record;
    events::encode_event(event, record);
    EXPECT_TRUE(events::decode_event(record, decoded.events.emplace_back()));
  }
  decoded.accepted = result->accepted;
  decoded.rejected = result->rejected;
  decoded.rules_found = result->rules_found;
  decoded.rules_missing = result->rules_missing;
  return decoded;
}

std::string feature(std::string_view members, std::string_view context = kContext) {
  return R"({"kind":"feature",)" + std::string(kDate) + "," + std::string(context) + "," +
         std::string(members) + "}";
}

Decoded decode_php(std::string_view members) {
  return decode("[" + feature(members) + "]", header_of(4, true));
}

FindRules flag_of(std::string document) {
  return [document =
              std::move(document)](const FlagAt& flag) -> Result<std::shared_ptr<const FlagRules>> {
    EXPECT_EQ(flag.environment_id, 7u);
    EXPECT_EQ(flag.revision, 42u);
    if (flag.key != "f") return std::shared_ptr<const FlagRules>();
    FS_TRY(FlagRules rules, FlagRules::read(document));
    return std::make_shared<const FlagRules>(std::move(rules));
  };
}

constexpr std::string_view kEvaluation =
    R"("key":"f","variation":1,"value":true,"default":false,"version":5)";

TEST(Unsummarized, AnEvaluationBecomesACounterAndAnIndexEvent) {
  const auto decoded = decode_php(kEvaluation);
  ASSERT_EQ(decoded.kinds(), "1SUMMARY 2INDEX");
  EXPECT_EQ(decoded.accepted, 1u);
  const auto& counter = decoded.events[0];
  EXPECT_EQ(counter.key(), "f");
  EXPECT_EQ(counter.variation(), 1);
  EXPECT_EQ(counter.version(), 5);
  EXPECT_EQ(counter.value_json(), "true");
  EXPECT_EQ(counter.default_json(), "false");
  EXPECT_EQ(counter.count(), 1);
  EXPECT_EQ(counter.time_us(), 1'795'407'508'889'000);
  EXPECT_EQ(counter.start_us(), counter.time_us());
  EXPECT_EQ(counter.noise(), 0u);
  EXPECT_EQ(counter.environment_id(), 7u);
  EXPECT_EQ(counter.source().offset(), 1000u);
  EXPECT_EQ(counter.source().index(), 0u);
  ASSERT_EQ(counter.contexts_size(), 2);
  EXPECT_EQ(counter.contexts(1).key(), "u1");
  EXPECT_EQ(counter.context_kinds_size(), 2);
  EXPECT_EQ(counter.context_kinds(0), "org");
  EXPECT_TRUE(counter.context_json().empty());
  const auto& index = decoded.events[1];
  EXPECT_EQ(index.contexts_size(), 2);
  EXPECT_NE(index.context_json().find("Ann"), std::string::npos);
  EXPECT_TRUE(index.key().empty());
}

TEST(Unsummarized, ATrackedEvaluationIsKeptAsAFeatureEventToo) {
  const auto decoded =
      decode_php(std::string(kEvaluation) +
                 R"(,"trackEvents":true,"reason":{"kind":"FALLTHROUGH","inExperiment":true})");
  ASSERT_EQ(decoded.kinds(), "0FEATURE 1SUMMARY 2INDEX");
  EXPECT_TRUE(decoded.events[0].in_experiment());
  EXPECT_FALSE(decoded.events[0].reason_json().empty());
  EXPECT_TRUE(decoded.events[1].reason_json().empty());
  EXPECT_EQ(decode_php(std::string(kEvaluation) + R"(,"trackEvents":false)").kinds(),
            "1SUMMARY 2INDEX");
  EXPECT_EQ(decode_php(std::string(kEvaluation) + R"(,"trackEvents":null)").kinds(),
            "1SUMMARY 2INDEX");
}

TEST(Unsummarized, ADebugCopyIsMadeUntilTheDateIsReached) {
  const auto until = [](std::int64_t millis) {
    return std::string(kEvaluation) + R"(,"debugEventsUntilDate":)" + std::to_string(millis);
  };
  const auto debugged = decode_php(until(kReceived / 1000 + 1));
  ASSERT_EQ(debugged.kinds(), "1SUMMARY 2INDEX 3DEBUG");
  EXPECT_EQ(debugged.events[2].noise(), events::kNoiseDebugCopy);
  EXPECT_EQ(debugged.events[2].value_json(), "true");
  EXPECT_EQ(decode_php(until(kReceived / 1000)).kinds(), "1SUMMARY 2INDEX");
}

TEST(Unsummarized, ExcludedFlagsAreNotCounted) {
  EXPECT_EQ(decode_php(std::string(kEvaluation) + R"(,"excludeFromSummaries":true)").kinds(),
            "2INDEX");
  EXPECT_EQ(
      decode_php(std::string(kEvaluation) + R"(,"excludeFromSummaries":true,"trackEvents":true)")
          .kinds(),
      "0FEATURE 2INDEX");
}

TEST(Unsummarized, NothingWasSampledSoEachEvaluationStandsForItself) {
  const auto sampled =
      decode_php(std::string(kEvaluation) + R"(,"samplingRatio":10,"trackEvents":true)");
  ASSERT_EQ(sampled.kinds(), "0FEATURE 1SUMMARY 2INDEX");
  EXPECT_FALSE(sampled.events[0].has_sampling_ratio());
  EXPECT_EQ(sampled.events[1].count(), 1);
  const auto never =
      decode_php(std::string(kEvaluation) + R"(,"samplingRatio":0,"trackEvents":true)");
  EXPECT_EQ(never.kinds(), "1SUMMARY 2INDEX");
}

TEST(Unsummarized, AnUnknownFlagAndAFailedEvaluationAreToldApart) {
  const auto unknown = decode_php(R"("key":"nope","value":"d","default":"d")");
  EXPECT_TRUE(unknown.of(proto::SUMMARY).unknown_flag());
  EXPECT_EQ(unknown.of(proto::SUMMARY).noise(), events::kNoiseUnknownFlag);
  const auto failed = decode_php(
      R"("key":"f","variation":null,"value":"d","default":"d","version":5,"prereqOf":"parent")");
  EXPECT_FALSE(failed.of(proto::SUMMARY).unknown_flag());
  EXPECT_FALSE(failed.of(proto::SUMMARY).has_variation());
  EXPECT_EQ(failed.of(proto::SUMMARY).version(), 5);
  EXPECT_EQ(failed.of(proto::SUMMARY).noise(), 0u) << "a prerequisite is counted like any flag";
}

TEST(Unsummarized, CustomAndIdentifyEventsStayAndACustomEventTellsItsContext) {
  const std::string body =
      R"([{"kind":"custom",)" + std::string(kDate) + "," + std::string(kContext) +
      R"(,"key":"buy","metricValue":2.5},{"kind":"identify",)" + std::string(kDate) + "," +
      std::string(kContext) + R"(},{"kind":"custom",)" + std::string(kDate) +
      R"(,"contextKeys":{"user":"u1"},"key":"buy"}])";
  EXPECT_EQ(decode(body, header_of(4, true)).kinds(), "0CUSTOM 2INDEX 0IDENTIFY 0CUSTOM");
  EXPECT_EQ(decode(body, header_of(4)).kinds(), "0CUSTOM 0IDENTIFY 0CUSTOM");
}

TEST(Unsummarized, OtherSchemasAreLeftAsTheyAre) {
  const std::string body =
      "[" + feature(std::string(kEvaluation) + R"(,"trackEvents":"odd","excludeFromSummaries":3)") +
      "]";
  for (const std::uint32_t schema : {0u, 3u, 4u, 5u}) {
    const auto decoded = decode(body, header_of(schema), flag_of("{}"));
    EXPECT_EQ(decoded.kinds(), "0FEATURE") << schema;
    EXPECT_EQ(decoded.rules_found + decoded.rules_missing, 0u);
  }
  EXPECT_EQ(decode(body, header_of(4, true)).rejected, 1u) << "here it matters";
}

TEST(Unsummarized, Schema2HoldsUsersAndSaysItsVariation) {
  const auto decoded =
      decode("[" + feature(std::string(kEvaluation) + R"(,"contextKind":"user")", kUser) + "]",
             header_of(2));
  ASSERT_EQ(decoded.kinds(), "1SUMMARY 2INDEX");
  EXPECT_EQ(decoded.events[0].variation(), 1);
  EXPECT_EQ(decoded.events[0].contexts(0).kind(), "user");
  const auto by_key =
      decode("[" +
                 feature(std::string(kEvaluation) + R"(,"contextKind":"anonymousUser")",
                         R"("userKey":"u9")") +
                 "]",
             header_of(2));
  ASSERT_EQ(by_key.kinds(), "1SUMMARY") << "of a key alone there is nothing to tell";
  EXPECT_TRUE(by_key.events[0].contexts(0).anonymous());
}

TEST(Unsummarized, WhatSchema1And2DoNotSayTheFlagDoes) {
  const auto flag = flag_of(
      R"({"key":"f","variations":[{"a":[1,2],"b":null},"x",5,5.0],"trackEvents":true,"debugEventsUntilDate":1795407508999})");
  const auto variation_of = [&](std::uint32_t schema, std::string_view value) {
    const auto decoded =
        decode("[" + feature(R"("key":"f","version":5,"value":)" + std::string(value), kUser) + "]",
               header_of(schema), flag);
    EXPECT_EQ(decoded.kinds(), "0FEATURE 1SUMMARY 2INDEX 3DEBUG");
    EXPECT_EQ(decoded.rules_found, 1u);
    const auto& counter = decoded.of(proto::SUMMARY);
    return counter.has_variation() ? counter.variation() : -1;
  };
  EXPECT_EQ(variation_of(1, R"("x")"), 1);
  EXPECT_EQ(variation_of(1, "5e0"), 2);
  EXPECT_EQ(variation_of(1, R"({"b" : null, "a" : [1.0, 2]})"), 0);
  EXPECT_EQ(variation_of(1, R"({"b":null,"a":[1,2],"b":null})"), -1);
  EXPECT_EQ(variation_of(1, "[1,2]"), -1);
  EXPECT_EQ(variation_of(2, R"("x")"), -1) << "schema 2 says so where there is one";
}

TEST(Unsummarized, TheFlagIsNotAskedForWhatAnEventSays) {
  const auto flag = flag_of(R"({"variations":[true],"trackEvents":true})");
  const auto asked = [&](std::uint32_t schema, bool unsummarized, const std::string& members) {
    const auto decoded =
        decode("[" + feature(members, kUser) + "]", header_of(schema, unsummarized), flag);
    return decoded.rules_found + decoded.rules_missing;
  };
  const std::string evaluation(kEvaluation);
  EXPECT_EQ(asked(2, false, evaluation), 1u);
  EXPECT_EQ(asked(2, false, evaluation + R"(,"trackEvents":true)"), 0u);
  EXPECT_EQ(asked(2, false, evaluation + R"(,"debugEventsUntilDate":1)"), 0u);
  EXPECT_EQ(asked(1, false, R"("key":"f","value":true)"), 0u) << "an unknown flag";
  EXPECT_EQ(asked(1, true, evaluation), 0u) << "unsummarized payloads say everything";
  EXPECT_EQ(asked(4, true, evaluation), 0u);
}

TEST(Unsummarized, AFlagThatIsNotFoundIsCountedWithoutVariation) {
  const auto decoded =
      decode("[" + feature(R"("key":"other","version":5,"value":true)", kUser) + "]", header_of(1),
             flag_of("{}"));
  EXPECT_EQ(decoded.kinds(), "1SUMMARY 2INDEX");
  EXPECT_FALSE(decoded.events[0].has_variation());
  EXPECT_EQ(decoded.rules_missing, 1u);
}

TEST(Unsummarized, FlagsThatCannotBeReadAreNotThePayloadsFault) {
  Decoder decoder([](const FlagAt&) -> Result<std::shared_ptr<const FlagRules>> {
    return fail(ErrorKind::Unavailable, "injected");
  });
  const auto result = decoder.decode(
      header_of(1), "[" + feature(R"("key":"f","version":5,"value":true)", kUser) + "]", kPlace);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::Unavailable);
}

TEST(Unsummarized, AWrongEventCostsNothingButItself) {
  const std::string good = feature(std::string(kEvaluation) + R"(,"trackEvents":true)");
  const std::string body = "[" + good + R"(,{"kind":"feature","key":"f"},)" +
                           feature(std::string(kEvaluation) + R"(,"trackEvents":7)") + "," +
                           R"({"kind":"hover"},)" + good + "]";
  const auto decoded = decode(body, header_of(4, true));
  EXPECT_EQ(decoded.kinds(), "0FEATURE 1SUMMARY 2INDEX 0FEATURE 1SUMMARY 2INDEX");
  EXPECT_EQ(decoded.accepted, 2u);
  EXPECT_EQ(decoded.rejected, 3u);
  EXPECT_EQ(decoded.events[3].source().index(), 4u);
}

// Evaluations of flags, as SDKs of each schema report them.
class Evaluations {
 public:
  explicit Evaluations(std::uint64_t seed) : random_(seed) {
    const int count = static_cast<int>(random_() % 200);
    for (int i = 0; i < count; ++i)
      made_.push_back({static_cast<int>(random_() % 3), static_cast<int>(random_() % 4)});
  }

  static std::string document() { return R"({"variations":["v0","v1","v2","v3"]})"; }
  std::string one_by_one(std::uint32_t schema) const {
    std::string body = "[";
    for (const auto& [flag, variation] : made_) {
      if (body.size() > 1) body += ',';
      const std::string number = std::to_string(variation);
      body += feature(R"("key":"f)" + std::to_string(flag) + R"(","version":5,"value":"v)" +
                          number + "\"" + (schema == 1 ? "" : R"(,"variation":)" + number),
                      schema == 4 ? kContext : kUser);
    }
    return body + "]";
  }
  std::string summaries() {
    std::string body = "[";
    for (std::size_t done = 0; done < made_.size();) {
      std::size_t end = std::min(made_.size(), done + 1 + random_() % 50);
      std::map<int, std::map<int, int>> counts;
      for (; done < end; ++done) ++counts[made_[done].first][made_[done].second];
      if (body.size() > 1) body += ',';
      body += R"({"startDate":1795407508000,"endDate":1795407508889,"features":{)";
      std::string flags;
      for (const auto& [flag, variations] : counts) {
        std::string counters;
        for (const auto& [variation, count] : variations) {
          counters += (counters.empty() ? "" : ",") + std::string(R"({"variation":)") +
                      std::to_string(variation) + R"(,"version":5,"value":"v","count":)" +
                      std::to_string(count) + "}";
        }
        flags += (flags.empty() ? "" : ",") + std::string("\"f") + std::to_string(flag) +
                 R"(":{"default":null,"counters":[)" + counters + "]}";
      }
      body += flags + R"(},"kind":"summary"})";
    }
    return body + "]";
  }
  std::map<std::string, std::int64_t> expected() const {
    std::map<std::string, std::int64_t> sums;
    for (const auto& [flag, variation] : made_)
      ++sums["f" + std::to_string(flag) + "/" + std::to_string(variation)];
    return sums;
  }

 private:
  std::mt19937_64 random_;
  std::vector<std::pair<int, int>> made_;  // flag, variation
};

std::map<std::string, std::int64_t> counted(const Decoded& decoded) {
  std::map<std::string, std::int64_t> sums;
  for (const auto& event : decoded.events) {
    if (event.kind() == proto::SUMMARY)
      sums[event.key() + "/" + std::to_string(event.variation())] += event.count();
  }
  return sums;
}

TEST(Unsummarized, ThroughAnySchemaNEvaluationsSumToN) {
  const FindRules rules = [](const FlagAt&) -> Result<std::shared_ptr<const FlagRules>> {
    FS_TRY(FlagRules flag, FlagRules::read(Evaluations::document()));
    return std::make_shared<const FlagRules>(std::move(flag));
  };
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Evaluations made(seed);
    for (const std::uint32_t schema : {1u, 2u})
      EXPECT_EQ(counted(decode(made.one_by_one(schema), header_of(schema), rules)), made.expected())
          << "seed " << seed << " schema " << schema;
    EXPECT_EQ(counted(decode(made.one_by_one(4), header_of(4, true))), made.expected()) << seed;
    for (const std::uint32_t schema : {3u, 4u})
      EXPECT_EQ(counted(decode(made.summaries(), header_of(schema))), made.expected()) << seed;
  }
}

TEST(Unsummarized, SourcesRiseStrictly) {
  Evaluations made(7);
  const auto decoded = decode(made.one_by_one(4), header_of(4, true));
  for (std::size_t i = 1; i < decoded.events.size(); ++i) {
    const auto& before = decoded.events[i - 1].source();
    const auto& after = decoded.events[i].source();
    EXPECT_LT(std::pair(before.index(), before.part()), std::pair(after.index(), after.part()));
  }
}

}  // namespace
}  // namespace flagstream::transform
