#include "transform/decode_number.h"

#include <string>

#include <gtest/gtest.h>

namespace flagstream::transform {
namespace {

struct Case {
  const char* text;
  std::int64_t micros;
  bool exact;
  bool saturated;
};

// Computed by Python's decimal module: quantize with ROUND_HALF_EVEN, cut at 9.2e18.
constexpr Case kCases[] = {
    {"0", 0, true, false},
    {"-0", 0, true, false},
    {"1", 1000000, true, false},
    {"-1", -1000000, true, false},
    {"2.5", 2500000, true, false},
    {"44.989999999999995", 44990000, false, false},
    {"0.0000005", 0, false, false},
    {"0.0000015", 2, false, false},
    {"0.00000150000000000000000000000001", 2, false, false},
    {"0.00000050000000000000000000000001", 1, false, false},
    {"1.0000005", 1000000, false, false},
    {"1.0000015", 1000002, false, false},
    {"2.0000025", 2000002, false, false},
    {"-2.0000025", -2000002, false, false},
    {"1e-7", 0, false, false},
    {"5e-7", 0, false, false},
    {"4.9999e-7", 0, false, false},
    {"9.2e12", 9200000000000000000, true, false},
    {"9200000000000.0000004", 9200000000000000000, false, false},
    {"9.3e12", 9200000000000000000, true, true},
    {"-9.3e12", -9200000000000000000, true, true},
    {"1e999999", 9200000000000000000, true, true},
    {"-1e99999999999999999999", -9200000000000000000, true, true},
    {"1e-999999", 0, false, false},
    {"123456789.1234567891234", 123456789123457, false, false},
    {"1E3", 1000000000, true, false},
    {"1e+3", 1000000000, true, false},
    {"12e-1", 1200000, true, false},
    {"0.1e1", 1000000, true, false},
    {"9007199254740993", 9200000000000000000, true, true},
    {"1795407508889", 1795407508889000000, true, false},
    {"1.795407508889e12", 1795407508889000000, true, false},
    {"0.00000049999999999999999999999999", 0, false, false},
    {"9199999999999.9999995", 9200000000000000000, false, false},
    {"9199999999999.9999985", 9199999999999999998, false, false},
    {"0e5", 0, true, false},
    {"0.000e-3", 0, true, false},
    {"1234567890123456789012345e-20", 12345678901, false, false},
};

TEST(ScaledNumber, RoundsHalfToEvenAndSaturates) {
  for (const Case& c : kCases) {
    const auto scaled = scaled_number(c.text, 6);
    ASSERT_TRUE(scaled) << c.text;
    EXPECT_EQ(scaled->value, c.micros) << c.text;
    EXPECT_EQ(scaled->exact, c.exact) << c.text;
    EXPECT_EQ(scaled->saturated, c.saturated) << c.text;
  }
}

TEST(ScaledNumber, WhatIsNoJsonNumberIsNone) {
  for (const char* text : {"", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x10", "NaN", "Infinity",
                           "inf", "1 ", "\"1\"", "1.5.2", "--1", "1e5.0", "true"}) {
    EXPECT_FALSE(scaled_number(text, 6)) << text;
  }
}

TEST(ScaledNumber, AMillionDigitsAreANumber) {
  EXPECT_TRUE(scaled_number(std::string(1'000'000, '9'), 6)->saturated);
  EXPECT_EQ(scaled_number("0." + std::string(1'000'000, '0') + "1", 6)->value, 0);
}

TEST(WholeNumber, TakesWholeNumbersInAnyNotation) {
  EXPECT_EQ(whole_number("5"), 5);
  EXPECT_EQ(whole_number("5.0"), 5);
  EXPECT_EQ(whole_number("5e0"), 5);
  EXPECT_EQ(whole_number("-50e-1"), -5);
  EXPECT_EQ(whole_number("9007199254740993"), 9007199254740993);
  EXPECT_EQ(whole_number("9199999999999999999"), 9199999999999999999);
}

TEST(WholeNumber, RefusesFractionsAndWhatDoesNotFit) {
  EXPECT_FALSE(whole_number("5.5"));
  EXPECT_FALSE(whole_number("1e-1"));
  EXPECT_FALSE(whole_number("9200000000000000001"));
  EXPECT_FALSE(whole_number("1e400"));
}

}  // namespace
}  // namespace flagstream::transform
