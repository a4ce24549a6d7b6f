#include "app/record_text.h"

#include <gtest/gtest.h>

#include "events/payload.h"
#include "json/json.h"

namespace flagstream::app {
namespace {

using events::proto::PayloadHeader;

std::string payload(std::string_view body, PayloadHeader::Route route = PayloadHeader::ANALYTICS) {
  PayloadHeader header;
  header.set_payload_id("p-1");
  header.set_receipt_id(std::string(16, '\1'));
  header.set_environment_id(3);
  header.set_credential(PayloadHeader::SDK_KEY);
  header.set_route(route);
  header.set_schema(4);
  return events::encode_payload_head(header) + std::string(body);
}

json::Object members(std::string_view record, Bodies bodies) {
  const auto parsed = json::parse("{" + record_members(record, bodies) + "}");
  EXPECT_TRUE(parsed);
  return parsed ? parsed->as_object() : json::Object();
}

TEST(RecordText, APayloadHasItsSizeAloneUnlessItsBodyIsWanted) {
  const json::Object found = members(payload("[1,2]"), Bodies::Sizes);
  EXPECT_EQ(found.at("bodyBytes"), 5);
  EXPECT_EQ(found.at("payloadId"), "p-1");
  EXPECT_FALSE(found.contains("body"));
}

TEST(RecordText, AWholePayloadHasWhatIsNeededToPostItAgain) {
  const json::Object found = members(payload("[ \"\xc3\xa4\" ]\n"), Bodies::Whole);
  EXPECT_EQ(found.at("body"), "[ \"\xc3\xa4\" ]\n");
  EXPECT_EQ(found.at("schema"), 4);
  EXPECT_EQ(found.at("route"), "analytics");
  EXPECT_EQ(found.at("credential"), "sdkKey");
}

TEST(RecordText, ABodyThatIsNoJsonComesBackByteForByte) {
  const json::Object found = members(payload("\xff\x01{"), Bodies::Whole);
  EXPECT_EQ(found.at("bodyBase64"), "/wF7");
}

TEST(RecordText, ABodyOnOneLineIsTheSameJson) {
  EXPECT_EQ(one_line_body(payload("[\n  1,\r\n  2\n]")), "[   1,    2 ]");
  EXPECT_EQ(one_line_body(payload("{}", PayloadHeader::DIAGNOSTIC)), "");
  EXPECT_EQ(one_line_body(std::string_view("\x02\x01", 2)), "");
}

TEST(RecordText, UnknownAndEmptyRecordsAreShownAsTheyAre) {
  EXPECT_EQ(record_members(std::string_view("\x63xy", 3), Bodies::Sizes),
            "\"kind\":99,\"record\":\"Y3h5\"");
  EXPECT_EQ(record_members("", Bodies::Sizes), "\"kind\":0,\"record\":\"\"");
  EXPECT_EQ(record_members(std::string_view("\x02\x01", 2), Bodies::Sizes), "\"kind\":\"tick\"");
}

}  // namespace
}  // namespace flagstream::app
