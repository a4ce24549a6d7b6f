#include "events/envelope.h"

#include <random>
#include <string>

#include <gtest/gtest.h>
#include <simdjson.h>

#include "events/test_envelope.h"

namespace flagstream::events {
namespace {

// -1: refused as no envelope; else the number of events.
int events_of(const Result<Envelope>& envelope) {
  return envelope ? static_cast<int>(envelope->events) : -1;
}

int events_in(std::string_view body) {
  const auto envelope = scan_envelope(body);
  for (const auto& other : scan_by_each_instruction_set(body)) {
    EXPECT_EQ(events_of(other), events_of(envelope)) << body;
    if (!other && !envelope) EXPECT_EQ(other.error().what, envelope.error().what) << body;
  }
  return events_of(envelope);
}

ErrorKind refusal(std::string_view body) {
  const auto envelope = scan_envelope(body);
  EXPECT_FALSE(envelope);
  return envelope ? ErrorKind::Conflict : envelope.error().kind;
}

std::string array_of(std::size_t events) {
  std::string body = "[";
  for (std::size_t i = 0; i < events; ++i) body += i == 0 ? "{}" : ",{}";
  return body + "]";
}

// What a complete parser says: -2 where it refuses the body.
int events_by_parser(const std::string& body) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (parser.parse(body).get(root)) return -2;
  if (root.is_object()) return 1;
  return root.is_array() ? static_cast<int>(root.get_array().value_unsafe().size()) : -2;
}

TEST(Envelope, CountsTheEventsOfAnArray) {
  EXPECT_EQ(events_in("[]"), 0);
  EXPECT_EQ(events_in(" [ ] \n"), 0);
  EXPECT_EQ(events_in(R"([{"kind":"index"}])"), 1);
  EXPECT_EQ(events_in(R"([{"a":[1,2,{"b":3}]},{"c":"],["}])"), 2);
  EXPECT_EQ(events_in(R"([1,"two",null])"), 3);
}

TEST(Envelope, ABareObjectIsOneEvent) {
  const auto envelope = scan_envelope(R"({"kind":"diagnostic","list":[1,2]})");
  ASSERT_TRUE(envelope);
  EXPECT_FALSE(envelope->is_array);
  EXPECT_EQ(envelope->events, 1u);
}

TEST(Envelope, WhatIsWrongInsideAnEventPasses) {
  EXPECT_EQ(events_in(R"([{"a" 1},{"b":tru}])"), 2);
  EXPECT_EQ(events_in("[{},]"), 2);
  EXPECT_EQ(events_in("[,]"), 2);
  EXPECT_EQ(events_in("[{}{}]"), 1);
  EXPECT_EQ(events_in("[{\"a\":\"tab\there\"},{}]"), 2);
  EXPECT_EQ(events_in(R"([{"a":"\q\ud800"}])"), 1);
}

TEST(Envelope, WhatIsNotOneCompleteArrayOrObjectIsRefused) {
  for (const char* body :
       {"", " ", "1", "\"text\"", "null", "[", "]", "{", "[{}", "[{}]]", "[{]}", "{}[]", "[]{}",
        "[] x", "x[]", "[\"]", "[\"\\\"]", "{\"a\":\"b}", "\xef\xbb\xbf[]"}) {
    EXPECT_EQ(refusal(body), ErrorKind::InvalidArgument) << body;
  }
}

TEST(Envelope, EveryTruncationIsRefused) {
  const std::string whole =
      R"([{"kind":"custom","key":"a\"b\\","data":{"x":[1,{"y":"}"}]}},{"kind":"index"}])";
  ASSERT_EQ(events_in(whole), 2);
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_EQ(events_in(whole.substr(0, size)), -1) << size;
}

TEST(Envelope, BytesThatAreNotUtf8AreRefused) {
  EXPECT_EQ(refusal("[\"\xff\"]"), ErrorKind::InvalidArgument);
  EXPECT_EQ(refusal("[\"\xc0\xaf\"]"), ErrorKind::InvalidArgument);      // overlong
  EXPECT_EQ(refusal("[\"\xed\xa0\x80\"]"), ErrorKind::InvalidArgument);  // a surrogate
  EXPECT_EQ(refusal("[\"\t\xff\"]"), ErrorKind::InvalidArgument);
}

TEST(Envelope, TenThousandEventsPassAndOneMoreIsTooLarge) {
  EXPECT_EQ(events_in(array_of(10'000)), 10'000);
  EXPECT_EQ(refusal(array_of(10'001)), ErrorKind::TooLarge);
}

TEST(Envelope, DepthIsNoDanger) {
  const std::size_t depth = 200'000;
  EXPECT_EQ(events_in(std::string(depth, '[') + std::string(depth, ']')), 1);
  EXPECT_EQ(events_in(std::string(depth, '[')), -1);
}

// Open brackets are kept by the word: a depth around its 63 bits, and around what of it is kept.
TEST(Envelope, EachBracketIsClosedByItsOwnHoweverDeep) {
  for (const std::size_t depth : {1, 30, 31, 32, 33, 61, 62, 63, 64, 65, 93, 94, 95, 96, 130}) {
    std::string opened, closing;
    for (std::size_t i = 0; i < depth; ++i) {
      const bool is_array = (i * i / 3) % 2 == 0;
      opened += is_array ? "[1," : "{\"a\":1,";
      closing = (is_array ? ",1]" : ",\"b\":1}") + closing;
    }
    const std::string front = "[0," + opened + "[],{}";
    const std::string back = ",2,{\"a\":[3,4]}]";
    EXPECT_EQ(events_in(front + closing + back), 4) << depth;
    EXPECT_EQ(events_in(front + closing + "]" + back), -1) << depth;
    for (std::size_t i = 0; i < closing.size(); ++i) {
      if (closing[i] != ']' && closing[i] != '}') continue;
      std::string other = closing;
      other[i] = other[i] == ']' ? '}' : ']';
      EXPECT_EQ(events_in(front + other + back), -1) << depth << ' ' << i;
      EXPECT_EQ(events_in(front + other.erase(i, 1) + back), -1) << depth << ' ' << i;
    }
  }
}

TEST(Envelope, SplitGivesTheTextOfEachEventWithoutBlanks) {
  std::vector<std::string_view> texts;
  ASSERT_TRUE(split_envelope("[ {\"a\":1} ,\n2,, \"x,\" ]", texts));
  EXPECT_EQ(texts, (std::vector<std::string_view>{"{\"a\":1}", "2", "", "\"x,\""}));
  ASSERT_TRUE(split_envelope(" {\"a\":[1,2]} ", texts));
  EXPECT_EQ(texts, (std::vector<std::string_view>{"{\"a\":[1,2]}"}));
  ASSERT_TRUE(split_envelope("[ ]", texts));
  EXPECT_TRUE(texts.empty());
}

// Quotes, backslashes and brackets at each place of a block and across its border.
TEST(Envelope, BlocksAreJoinedWhereverTheyAreCut) {
  for (std::size_t shift = 0; shift < 140; ++shift) {
    const std::string blanks(shift, ' ');
    EXPECT_EQ(events_in("[" + blanks + R"({"a":"],[\\","b":"\"}"},"\\\",",[1,2]])"), 3) << shift;
    EXPECT_EQ(events_in("[\"" + std::string(shift, '\\') + "\"]"), shift % 2 == 0 ? 1 : -1)
        << shift;
    EXPECT_EQ(events_in("[1" + blanks + ",2]" + blanks), 2) << shift;
    EXPECT_EQ(events_in("[1]" + blanks + ","), -1) << shift;
  }
}

TEST(Envelope, CharactersOfSeveralBytesMayStandAcrossTheBorderOfABlock) {
  for (std::size_t shift = 0; shift < 70; ++shift) {
    const std::string front = "[\"" + std::string(shift, 'x');
    EXPECT_EQ(events_in(front + "\xf0\x9f\x9a\xa9\",2]"), 2) << shift;
    EXPECT_EQ(events_in(front + "\xe2\x82\xac\",2]"), 2) << shift;
    EXPECT_EQ(events_in(front + "\xf0\x9f\x9a\",2]"), -1) << shift;  // the last byte is missing
    EXPECT_EQ(events_in(front + "\x9f\",2]"), -1) << shift;
  }
}

// Random texts over the characters that matter, long enough to cross the vector code's blocks of 64
// bytes: both ways agree, and whatever a parser accepts passes with its count.
TEST(Envelope, AgreesWithALoopOverBytesAndWithAParserOnRandomTexts) {
  std::mt19937_64 random(1);
  const std::string_view pieces[] = {"[",   "]",     "{",       "}",  ",",        ":",   "\"",
                                     "\\",  "\"a\"", "\"k\":1", "1",  " ",        "\n",  "\t",
                                     "tru", "é",     "{}",      "[]", "\"\\\"\"", "\x01"};
  std::size_t accepted = 0;
  for (int round = 0; round < 200'000; ++round) {
    std::string body = round % 2 == 0 ? "[" : "";
    for (auto n = random() % 40; n > 0; --n) body += pieces[random() % std::size(pieces)];
    if (round % 2 == 0) body += "]";
    const int events = events_in(body);
    ASSERT_EQ(events, events_by_bytes(body)) << body;
    const int by_parser = events_by_parser(body);
    if (by_parser == -2) continue;
    ++accepted;
    ASSERT_EQ(events, by_parser) << body;
  }
  EXPECT_GT(accepted, 1'000u);
}

}  // namespace
}  // namespace flagstream::events
