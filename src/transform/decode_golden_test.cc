// What transform makes of bodies, kept as checksums: of SDKs' own, of each kind of event, and of
// thousands of both that were damaged at random, so that rejects are held fast as well as events.
// A change that means to alter records alters the checksums with it.
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "events/payload.h"
#include "http/inflate.h"
#include "pipeline/store.h"
#include "transform/transform_stage.h"

namespace flagstream::transform {
namespace {

constexpr MicrosUtc kNow = 1'795'407'508'900'000;

std::string file(const std::string& path) {
  std::ifstream in(FLAGSTREAM_SOURCE_DIR "/tests/" + path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

constexpr std::string_view kKinds = R"([
 {"kind":"identify","creationDate":1795407508889,"context":{"kind":"user","key":"u\u00e91","name":"\"q\""}},
 {"kind":"identify","creationDate":1795321108000,"user":{"key":"u2","anonymous":true,"custom":{"a":[1,{"b":null}]}}},
 {"kind":"index","creationDate":1.7954075e12,"context":{"kind":"multi","org":{"key":"o","anonymous":true},"user":{"key":"u"}}},
 {"kind":"feature","creationDate":1795407508889,"contextKeys":{"user":"u\\1","org":"\t"},"key":"f\u006cag","value":{"a":[1, 2]},
  "default":"d\n","variation":0,"version":7,"prereqOf":"parent","samplingRatio":3,"contextKind":"user",
  "reason":{"kind":"RULE_MATCH","ruleIndex":0,"inExperiment":true}},
 {"kind":"feature","creationDate":1795407508889,"userKey":"u3","contextKind":"anonymousUser","key":"g","value":null,"default":-0.5e-3},
 {"kind":"debug","creationDate":1,"context":{"key":"k","kind":"device"},"key":"flag-é","value":[[]],"version":-2,"variation":-1},
 {"kind":"custom","context":{"kind":"user","key":"u4"},"key":"buy","data":{"items":[1,2,{"x":"}"}]},"metricValue":44.989999999999995},
 {"kind":"custom","creationDate":99999999999999,"contextKeys":{"user":"u"},"key":"big","metricValue":1e300,"data":"text"},
 {"kind":"click","creationDate":1795407508889,"contextKeys":{"user":"u"},"key":"goal","url":"https://a.example/?q=1","selector":".buy > a"},
 {"kind":"pageview","creationDate":1795407508889,"contextKeys":{"user":"u"},"key":"goal","url":"https://a.example/"},
 {"kind":"migration_op","operation":"read","creationDate":1795407508889,"contextKeys":{"user":"u"},
  "evaluation":{"key":"m","value":"shadow","default":"off","variation":2,"version":2,"reason":{"kind":"FALLTHROUGH","inExperiment":true}}},
 {"kind":"alias","creationDate":1795407508889,"key":"u","contextKind":"user","previousKey":"a","previousContextKind":"anonymousUser"},
 {"kind":"diagnostic-init","creationDate":1795407508889,"id":{"diagnosticId":"x"},"droppedEvents":3},
 {"kind":"summary","startDate":1795407508000,"endDate":1795407508894,"contextKeys":{"user":"u"},"features":{
  "flag-0":{"default":false,"counters":[{"value":true,"count":11,"variation":0,"version":7},{"value":[1],"count":2,"unknown":true}],
   "contextKinds":["user","\u006frg"]},
  "flag\u002d1":{"counters":[{"count":0}],"contextKinds":[]},"flag-2":{"default":{"a":1},"counters":[]}}}])";

// Damages `body` at one to three places.
std::string damaged(std::string body, std::mt19937_64& random) {
  constexpr std::array<std::string_view, 40> kPieces = {"{",
                                                        "}",
                                                        "[",
                                                        "]",
                                                        ",",
                                                        ":",
                                                        "\"",
                                                        "\\",
                                                        " ",
                                                        "\n",
                                                        "0",
                                                        "-",
                                                        "1e3",
                                                        ".5",
                                                        "null",
                                                        "true",
                                                        "\x01",
                                                        "\xc3",
                                                        "\xa9",
                                                        "\\u00e9",
                                                        "\\",
                                                        "false",
                                                        "{}",
                                                        "[]",
                                                        "\"\"",
                                                        "\"k\"",
                                                        "\\n",
                                                        "\"a\":1,",
                                                        "\"kind\":\"multi\",",
                                                        "\"key\":\"x\",",
                                                        "\"anonymous\":true,",
                                                        "\"context\":{\"key\":\"c\"},",
                                                        "\"user\":null,",
                                                        "\"features\":{},",
                                                        "\"inExperiment\":1,",
                                                        "\"version\":5.0,",
                                                        "\"creationDate\":\"x\",",
                                                        "\"contextKeys\":{\"user\":\"z\"},",
                                                        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
                                                        "]]]]]]]]]]]]]]]]"};
  const auto below = [&random](std::size_t bound) { return bound == 0 ? 0 : random() % bound; };
  for (std::size_t i = 0, places = 1 + below(3); i < places; ++i) {
    const std::size_t at = below(body.size());
    switch (below(4)) {
      case 0:
        body.erase(at, 1 + below(12));
        break;
      case 1:
        body.insert(at, body.substr(below(body.size()), 1 + below(60)));
        break;
      case 2:
        body.replace(at, 1, kPieces[below(kPieces.size())]);
        break;
      default:
        body.insert(at, kPieces[below(kPieces.size())]);
        break;
    }
  }
  return body;
}

class Checksum final : public pipeline::Outputs {
 public:
  void add(std::size_t sink, std::string_view record) override {
    append_le(bytes_, static_cast<std::uint32_t>(sink));
    append_le(bytes_, static_cast<std::uint32_t>(record.size()));
    bytes_.append(record);
    if (bytes_.size() < (8u << 20)) return;
    bytes_ = xxh3_128(bytes_).to_bytes();
  }
  std::string hex() const { return xxh3_128(bytes_).to_hex(); }

 private:
  std::string bytes_;
};

std::string checksum_of(const std::string& body, int copies, std::uint64_t seed,
                        std::uint32_t schema = 0, bool unsummarized = false) {
  const std::string folder = testing::TempDir() + "decode_golden_" + std::to_string(::getpid());
  std::filesystem::remove_all(folder);
  telemetry::Registry registry;
  TransformStage stage(
      {.dedupe = true,
       .inflate = [](std::string_view gzip,
                     std::string& out) { return http::inflate_gzip(gzip, {}, out); }},
      registry);
  const auto store = *pipeline::Store::open(folder);
  const auto fold = *stage.open_fold({.partition = 0, .input_log_id = {1, 1}, .store = *store});
  std::mt19937_64 random(seed);
  Checksum checksum;
  for (int i = 0; i < copies; ++i) {
    events::proto::PayloadHeader header;
    header.set_receipt_id(Id128{1, static_cast<std::uint64_t>(i)}.to_bytes());
    header.set_received_us(kNow);
    header.set_environment_id(7);
    header.set_schema(schema);
    header.set_unsummarized(unsummarized);
    header.set_credential(i % 2 == 0 ? events::proto::PayloadHeader::SDK_KEY
                                     : events::proto::PayloadHeader::MOBILE_KEY);
    header.set_user_agent(i % 3 == 0 ? "" : "NodeJSClient/9.13.7");
    header.set_tags("application-id/shop application-version/1.2.3");
    const std::string record =
        events::encode_payload_head(header) + (i == 0 ? body : damaged(body, random));
    const pipeline::RecordPlace place{.log_id = {1, 1},
                                      .partition = 0,
                                      .offset = static_cast<std::uint64_t>(i),
                                      .append_time = kNow + 50};
    EXPECT_TRUE(fold->fold(place, record, checksum)) << i;
  }
  std::filesystem::remove_all(folder);
  return checksum.hex();
}

TEST(DecodeGolden, RecordsOfWholeAndDamagedBodiesStayWhatTheyWere) {
  EXPECT_EQ(checksum_of(std::string(kKinds), 6'000, 1), "4f9f451c316c3ef37929a9242aa59e34");
  EXPECT_EQ(checksum_of(file("data/sdk-payloads/node-server-101-events.json"), 200, 2),
            "fb1d7e2f6f82b237f26644e373040df8");
  EXPECT_EQ(checksum_of(file("data/sdk-payloads/node-server-6-events.json"), 2'000, 3),
            "ca6c4e9c01ff732e130b44f5b8dbbbcf");
  EXPECT_EQ(checksum_of(file("corpus/event_payload/odd-events"), 2'000, 4),
            "98ab336527ceee4b42485fa71d043521");
  EXPECT_EQ(checksum_of(file("corpus/event_payload/summary"), 2'000, 5),
            "ce50cb591a83644187cc02f0a88096ef");
  EXPECT_EQ(checksum_of(file("corpus/event_payload/diagnostic"), 500, 6),
            "5039882a323fa261dc4d5aa42761eeab");
}

TEST(DecodeGolden, SoDoThoseOfPayloadsWithoutSummaries) {
  const auto body = [](const char* name) {
    return file("corpus/event_schemas/" + std::string(name)).substr(1);
  };
  EXPECT_EQ(checksum_of(body("schema-1"), 2'000, 7, 1), "076f525d986854af168607d91ad91919");
  EXPECT_EQ(checksum_of(body("schema-2"), 2'000, 8, 2), "56ae180b5fbc28b077d4654fd8c6a1d8");
  EXPECT_EQ(checksum_of(body("unsummarized"), 2'000, 9, 4, true),
            "aa72af58f79ec075f475108c0d7b844a");
}

}  // namespace
}  // namespace flagstream::transform
