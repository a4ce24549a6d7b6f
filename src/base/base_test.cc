#include <cerrno>
#include <set>

#include <gtest/gtest.h>

#include "base/assert.h"
#include "base/base64.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/id.h"

namespace flagstream {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return fail(ErrorKind::InvalidArgument, "odd");
  return n / 2;
}
Result<void> must_be_small(int n) {
  if (n > 10) return fail(ErrorKind::TooLarge, "over 10");
  return {};
}
Result<int> quarter(int n) {
  FS_TRY(must_be_small(n));
  FS_TRY(const int once, half(n));
  FS_TRY(const int twice, half(once));
  return twice;
}

TEST(Result, TryPassesTheFirstFailureOn) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(6).error().what, "odd");
  EXPECT_EQ(quarter(12).error().kind, ErrorKind::TooLarge);
}

TEST(Error, ContextIsPrefixedOnTheWayUp) {
  EXPECT_EQ(Error(ErrorKind::NotFound, "no file").in("open topic").what, "open topic: no file");
  EXPECT_EQ(error_from_errno(ENOSPC, "write").kind, ErrorKind::ResourceExhausted);
  EXPECT_EQ(error_from_errno(ENOENT, "open a").what, "open a: No such file or directory");
}

TEST(AssertDeathTest, SaysConditionAndReason) {
  EXPECT_DEATH(FS_ASSERT(1 == 2, "numbers differ"), "1 == 2: numbers differ .*base_test.cc");
}

TEST(Checksum, IsCastagnoliAndContinues) {
  EXPECT_EQ(crc32c(0, "123456789"), 0xe3069283u);  // catalogue value of CRC-32C
  EXPECT_EQ(crc32c(crc32c(0, "1234"), "56789"), 0xe3069283u);
}

TEST(Hash, MatchesPublishedVectors) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hmac_sha256_hex("sdk-key-1", "Message"),
            "659d5bb9c6644fbb1acb6189e73737af97869db67dd562cc6bf535ce3b600c49");
  EXPECT_EQ(xxh3_128("").to_hex(), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(base64_encode("userkey"), "dXNlcmtleQ==");
  EXPECT_TRUE(equal_constant_time("same", "same"));
  EXPECT_FALSE(equal_constant_time("same", "sams"));
  EXPECT_FALSE(equal_constant_time("same", "sam"));
}

TEST(Hash, AnHmacStateStandsForItsKey) {
  const std::string key = "sdk-01234567-89ab-cdef-0123-456789abcdef";
  const std::string state = hmac_sha256_state(key);
  EXPECT_EQ(hmac_sha256_hex_from(state, "user-key-123"),
            "73df666a13f2c474e50aa34ca5a761e89abb737fb139ff65fdde7fa85c9dcacd");
  EXPECT_EQ(hmac_sha256_hex_from(state, "other:user-key-123"),
            "98a933ca26d2951547fc021981ebcdeda95fbca2ac3f767ae67f7042d5458f72");
  EXPECT_EQ(hmac_sha256_hex_from(state, "org:o1:user:user-key-123"),
            "39cc8939f32cf5ed120c2cff2bde6609a43946560100fbab6d1ab95b9d3cfe01");
  // Each size around those of SHA-256's block and of its padding.
  for (const std::size_t key_size : {0u, 1u, 63u, 64u, 65u, 200u}) {
    for (std::size_t size = 0; size < 200; ++size) {
      const std::string long_key(key_size, 'k');
      const std::string message(size, 'm');
      ASSERT_EQ(hmac_sha256_hex_from(hmac_sha256_state(long_key), message),
                hmac_sha256_hex(long_key, message))
          << key_size << ' ' << size;
    }
  }
}

TEST(Id128, TextAndBytesRoundTripAndBadTextIsRefused) {
  const Id128 id{0x0123456789abcdef, 0xfedcba9876543210};
  EXPECT_EQ(id.to_hex(), "0123456789abcdeffedcba9876543210");
  EXPECT_EQ(Id128::from_hex(id.to_hex()), id);
  EXPECT_EQ(Id128::from_bytes(id.to_bytes()), id);
  EXPECT_FALSE(Id128::from_hex("0123"));
  EXPECT_FALSE(Id128::from_hex(std::string(32, 'g')));
  EXPECT_FALSE(Id128::from_bytes("short"));
}

TEST(Id128, RandomOnesDiffer) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) seen.insert(Id128::random().to_hex());
  EXPECT_EQ(seen.size(), 100u);
  EXPECT_EQ(random_hex(5).size(), 5u);
  const std::string uuid = random_uuid();
  EXPECT_EQ(uuid.size(), 36u);
  EXPECT_EQ(uuid[14], '4');
}

TEST(Base64, TakesBothAlphabetsPaddedOrNot) {
  const std::string bytes = "\xfb\xff\xfe?";
  for (const char* text : {"+//+Pw==", "-__-Pw", "+/_-Pw=", "-__-Pw=="})
    EXPECT_EQ(decode_base64(text), bytes) << text;
  EXPECT_EQ(decode_base64(""), "");
  EXPECT_EQ(decode_base64("YWJj"), "abc");
  for (const char* text : {"a", "abcde", "ab c", "ab\n", "a=bc", "====", "YQ===", "\xc3\xa4"})
    EXPECT_EQ(decode_base64(text), std::nullopt) << text;
}

TEST(Bytes, BigEndianKeysSortAsNumbers) {
  std::string small, large;
  append_be64(small, 255);
  append_be64(large, 256);
  EXPECT_LT(small, large);
  EXPECT_EQ(get_be64(large.data()), 256u);
}

TEST(FakeClock, MovesOnlyWhenTold) {
  FakeClock clock(5);
  clock.advance(kMicrosPerSecond);
  EXPECT_EQ(clock.now(), 1'000'005);
}

}  // namespace
}  // namespace flagstream
