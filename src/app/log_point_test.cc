#include "app/log_point.h"

#include <gtest/gtest.h>

namespace flagstream::app {
namespace {

constexpr MicrosUtc kNow = 1'800'000'000'000'000;  // 2027-01-15T08:00:00Z

TEST(LogPoint, TimesAreReadAsRfc3339SaysThem) {
  EXPECT_EQ(*parse_log_time("2027-01-15T08:00:00Z", 0), kNow);
  EXPECT_EQ(*parse_log_time("2027-01-15t08:00:00z", 0), kNow);
  EXPECT_EQ(*parse_log_time("2027-01-15 08:00:00Z", 0), kNow);
  EXPECT_EQ(*parse_log_time("2027-01-15T10:30:00+02:30", 0), kNow);
  EXPECT_EQ(*parse_log_time("2027-01-15T03:00:00-05:00", 0), kNow);
  EXPECT_EQ(*parse_log_time("2027-01-15T08:00:00.25Z", 0), kNow + 250'000);
  EXPECT_EQ(*parse_log_time("2027-01-15T08:00:00.1234567Z", 0), kNow + 123'456);
}

TEST(LogPoint, ADurationIsSoLongAgo) {
  EXPECT_EQ(*parse_log_time("2h", kNow), kNow - 2 * kMicrosPerHour);
  EXPECT_EQ(*parse_log_time("90s", kNow), kNow - 90 * kMicrosPerSecond);
}

TEST(LogPoint, WhatIsNoTimeIsRefused) {
  for (const char* text :
       {"", "now", "2027", "2027-01-15", "2027-01-15T08:00:00", "2027-02-30T08:00:00Z",
        "2027-13-01T08:00:00Z", "2027-01-15T24:00:00Z", "2027-01-15T08:60:00Z",
        "2027-01-15T08:00:00.Z", "2027-01-15T08:00:00+2:00", "2027-01-15T08:00:00Zx", "2 hours",
        "-2h", "beginning"})
    EXPECT_EQ(parse_log_time(text, kNow).error().kind, ErrorKind::InvalidArgument) << text;
}

TEST(LogPoint, PlacesAreWordsOffsetsAndTimes) {
  EXPECT_EQ(parse_log_point("beginning", kNow)->kind, LogPoint::Kind::Beginning);
  EXPECT_EQ(parse_log_point("end", kNow)->kind, LogPoint::Kind::End);
  EXPECT_EQ(parse_log_point("0", kNow)->kind, LogPoint::Kind::Offset);
  EXPECT_EQ(parse_log_point("18446744073709551615", kNow)->offset, UINT64_MAX);
  EXPECT_EQ(parse_log_point("1h", kNow)->time, kNow - kMicrosPerHour);
  for (const char* text : {"18446744073709551616", "-1", "1.5", "End", "", "12x"})
    EXPECT_EQ(parse_log_point(text, kNow).error().kind, ErrorKind::InvalidArgument) << text;
}

TEST(LogPoint, TimesAreWrittenAsTheyAreRead) {
  EXPECT_EQ(to_rfc3339(kNow), "2027-01-15T08:00:00Z");
  EXPECT_EQ(to_rfc3339(kNow + 3'599'999'999), "2027-01-15T08:59:59Z");
  EXPECT_EQ(to_rfc3339(0), "-");
}

}  // namespace
}  // namespace flagstream::app
