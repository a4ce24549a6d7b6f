// Dates, semantic versions, attribute references and key sets.
#include <gtest/gtest.h>

#include "flags/attribute_reference.h"
#include "flags/instant.h"
#include "flags/key_set.h"
#include "flags/semver.h"

namespace flagstream::flags {
namespace {

TEST(Instant, TextIsReadAsUnixTime) {
  EXPECT_EQ(Instant::parse("1970-01-01T00:00:00Z"), (Instant{0, 0}));
  EXPECT_EQ(Instant::parse("2017-12-06T00:00:00.000-07:00"), (Instant{1512543600, 0}));
  EXPECT_EQ(Instant::parse("2017-12-06T00:01:01.234Z"), (Instant{1512518461, 234'000'000}));
  EXPECT_EQ(Instant::parse("1969-12-31T23:59:59.000000001+00:30"), (Instant{-1801, 1}));
  EXPECT_EQ(Instant::parse("2000-02-29T12:00:00Z"), (Instant{951825600, 0}));
}

TEST(Instant, MillisecondsAndTextAgree) {
  EXPECT_EQ(Instant::from_unix_ms(1512518461234), Instant::parse("2017-12-06T00:01:01.234Z"));
  EXPECT_EQ(Instant::from_unix_ms(-1), Instant::parse("1969-12-31T23:59:59.999Z"));
  EXPECT_EQ(Instant::from_unix_ms(1.9), (Instant{0, 1'000'000}));
  EXPECT_LT(Instant::from_unix_ms(-1e300), Instant::from_unix_ms(1e300));
}

TEST(Instant, DaysThatAMonthLacksAreThoseOfTheNext) {
  EXPECT_EQ(Instant::parse("2017-02-29T00:00:00Z"), Instant::parse("2017-03-01T00:00:00Z"));
  EXPECT_EQ(Instant::parse("2020-02-31T00:00:00Z"), Instant::parse("2020-03-02T00:00:00Z"));
  EXPECT_EQ(Instant::parse("2019-04-31T12:00:00Z"), Instant::parse("2019-05-01T12:00:00Z"));
}

TEST(Instant, EverythingElseIsRefused) {
  for (const std::string_view text : {"",
                                      "2017-12-06",
                                      "00:00:00Z",
                                      "2017-12-06T00:00:00",
                                      "2017-12-06X00:00:00Z",
                                      "2017-12-06t00:00:00Z",
                                      "2017-12-06T00:00:00z",
                                      "2017-12-06T0:00:00Z",
                                      "2017-12-06T00:00:00.Z",
                                      "2017-12-06T00:00:00.1234567890Z",
                                      "2017-13-06T00:00:00Z",
                                      "2017-12-32T00:00:00Z",
                                      "2017-12-00T00:00:00Z",
                                      "2017-00-06T00:00:00Z",
                                      "2017-12-06T24:00:00Z",
                                      "2017-12-06T00:60:00Z",
                                      "2017-12-06T00:00:61Z",
                                      "2017-12-06T00:00:00+0700",
                                      "2017-12-06T00:00:00+07",
                                      "2017-12-06T00:00:00Z ",
                                      " 2017-12-06T00:00:00Z",
                                      "12345",
                                      "2017-1-06T00:00:00Z"}) {
    EXPECT_FALSE(Instant::parse(text)) << text;
  }
}

TEST(SemVer, OrderIsThatOfTheSpecification) {
  // semver.org 2.0.0 section 11, with missing parts as zeros and numbers of any size.
  const std::vector<std::string_view> ascending = {"0",
                                                   "0.0.1",
                                                   "0.1",
                                                   "1.0.0-alpha",
                                                   "1-alpha.1",
                                                   "1.0.0-alpha.beta",
                                                   "1.0.0-beta",
                                                   "1.0.0-beta.2",
                                                   "1.0.0-beta.11",
                                                   "1.0.0-rc.1",
                                                   "1",
                                                   "1.0.1",
                                                   "1.2",
                                                   "1.10.0",
                                                   "2",
                                                   "99999999999999999999999",
                                                   "100000000000000000000000"};
  for (std::size_t a = 0; a < ascending.size(); ++a) {
    for (std::size_t b = 0; b < ascending.size(); ++b) {
      const auto left = SemVer::parse(ascending[a]);
      const auto right = SemVer::parse(ascending[b]);
      ASSERT_TRUE(left && right) << ascending[a] << " " << ascending[b];
      EXPECT_EQ(*left < *right, a < b) << ascending[a] << " " << ascending[b];
      EXPECT_EQ(*left == *right, a == b) << ascending[a] << " " << ascending[b];
    }
  }
}

TEST(SemVer, MissingPartsAndBuildsMakeNoDifference) {
  for (const std::string_view text : {"2", "2.0", "2.0.0", "2+build", "2.0+1.02-3", "2.0.0+a-b"})
    EXPECT_EQ(SemVer::parse(text), SemVer::parse("2.0.0")) << text;
  EXPECT_EQ(SemVer::parse("2-rc"), SemVer::parse("2.0.0-rc+x"));
  EXPECT_EQ(SemVer::parse("2.0-a.b-c"), SemVer::parse("2.0.0-a.b-c"));
}

TEST(SemVer, EverythingElseIsRefused) {
  for (const std::string_view text :
       {"",       "v2.0.0", "2.",   "2..0",   "2.0.", "2.0.0.0", "02.0.0", "2.00",
        "2.0.01", "2.0.0-", "2-01", "2-a..b", "2-a.", "2+",      "2+a..b", "+1",
        "-1",     "2 ",     " 2",   "2.x",    "2-ä",  "2.-1"}) {
    EXPECT_FALSE(SemVer::parse(text)) << text;
  }
}

std::vector<std::string> components(std::string_view text, ReferenceMode mode) {
  std::vector<std::string> names;
  for (const auto& each : AttributeReference(text, mode).components()) names.push_back(each.name);
  return names;
}
using Names = std::vector<std::string>;

TEST(AttributeReference, PathsAreSplitAndUnescaped) {
  EXPECT_EQ(components("/a/b", ReferenceMode::Path), (Names{"a", "b"}));
  EXPECT_EQ(components("/a~1b/~0c", ReferenceMode::Path), (Names{"a/b", "~c"}));
  EXPECT_EQ(components("a/b~", ReferenceMode::Path), (Names{"a/b~"}));
  EXPECT_EQ(components("/~01", ReferenceMode::Path), (Names{"~1"}));
}

TEST(AttributeReference, LiteralsAreNames) {
  EXPECT_EQ(components("/a/b", ReferenceMode::Literal), (Names{"/a/b"}));
  EXPECT_EQ(components("//", ReferenceMode::Literal), (Names{"//"}));
}

TEST(AttributeReference, BadPathsAreInvalid) {
  for (const std::string_view text :
       {"", "/", "//", "/a/", "//a", "/a//b", "/a~", "/a~2b", "/~/b", "/b/~"})
    EXPECT_FALSE(AttributeReference(text, ReferenceMode::Path).is_valid()) << text;
  EXPECT_FALSE(AttributeReference("", ReferenceMode::Literal).is_valid());
}

TEST(KeySet, HoldsExactlyItsKeys) {
  for (const std::size_t count : {0, 1, 8, 9, 1000}) {
    std::vector<std::string> owned;
    for (std::size_t i = 0; i < count; ++i) owned.push_back("key-" + std::to_string(i));
    std::vector<std::string_view> keys(owned.begin(), owned.end());
    if (count > 0) keys.push_back(keys[0]);
    const KeySet set(keys);
    EXPECT_EQ(set.is_empty(), count == 0);
    for (const std::string& key : owned) EXPECT_TRUE(set.contains(key)) << key;
    for (std::size_t i = count; i < 2 * count + 10; ++i)
      EXPECT_FALSE(set.contains("key-" + std::to_string(i))) << i;
    EXPECT_FALSE(set.contains(""));
    EXPECT_FALSE(set.contains("KEY-0"));
  }
}

TEST(KeySet, MayHoldTheEmptyKey) {
  EXPECT_TRUE(KeySet({""}).contains(""));
  EXPECT_TRUE(KeySet({"", "1", "2", "3", "4", "5", "6", "7", "8"}).contains(""));
}

}  // namespace
}  // namespace flagstream::flags
