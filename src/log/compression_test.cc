#include "log/compression.h"

#include <random>

#include <gtest/gtest.h>

#include "log/segment_format.h"

namespace flagstream::log {
namespace {

std::string repetitive(std::size_t size) {
  std::string text;
  while (text.size() < size) text += R"({"kind":"feature","key":"new-checkout","version":7},)";
  text.resize(size);
  return text;
}

std::string noise(std::size_t size) {
  std::mt19937_64 random(size);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

class EachCompression : public testing::TestWithParam<Compression> {};

TEST_P(EachCompression, GivesBackWhatItWasGiven) {
  for (const std::size_t size : {256u, 1'000u, 38'000u, 3'000'000u}) {
    const std::string text = repetitive(size);
    const auto block = compress(GetParam(), text);
    ASSERT_TRUE(block) << size;
    EXPECT_LE(block->size(), size - size / 10);
    std::string out = "former contents";
    ASSERT_TRUE(decompress(GetParam(), *block, size, out));
    EXPECT_EQ(out, text);
  }
}

TEST_P(EachCompression, LeavesWhatDoesNotShrinkByATenth) {
  EXPECT_FALSE(compress(GetParam(), noise(38'000)));
  // 8 % of it shrinks to nothing.
  EXPECT_FALSE(compress(GetParam(), noise(46'000) + std::string(4'000, 'x')));
  EXPECT_TRUE(compress(GetParam(), noise(40'000) + std::string(10'000, 'x')));
}

TEST_P(EachCompression, LeavesWhatIsSmall) {
  EXPECT_FALSE(compress(GetParam(), std::string(255, 'x')));
  EXPECT_FALSE(compress(GetParam(), ""));
}

TEST_P(EachCompression, ABlockOfAnotherSizeThanItSaysIsDataLoss) {
  const std::string text = repetitive(5'000);
  const std::string block = *compress(GetParam(), text);
  std::string out;
  for (const std::size_t size : {0u, 1u, 4'999u, 5'001u, 64u << 20}) {
    const auto done = decompress(GetParam(), block, size, out);
    ASSERT_FALSE(done) << size;
    EXPECT_EQ(done.error().kind, ErrorKind::DataLoss);
    EXPECT_EQ(out, "");
  }
}

TEST_P(EachCompression, DamagedBlocksGiveAtMostWhatWasAllowed) {
  const std::string text = repetitive(5'000);
  const std::string block = *compress(GetParam(), text);
  std::string out;
  for (std::size_t bit = 0; bit < block.size() * 8; ++bit) {
    std::string bad = block;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    if (decompress(GetParam(), bad, text.size(), out)) EXPECT_EQ(out.size(), text.size()) << bit;
  }
  for (std::size_t size = 0; size < block.size(); ++size)
    EXPECT_FALSE(decompress(GetParam(), std::string_view(block).substr(0, size), text.size(), out))
        << size;
}

INSTANTIATE_TEST_SUITE_P(Log, EachCompression, testing::Values(Compression::Lz4, Compression::Zstd),
                         [](const auto& info) {
                           return info.param == Compression::Lz4 ? "Lz4" : "Zstd";
                         });

TEST(Compression, NoneCompressesNothingAndReadsNothing) {
  std::string out;
  EXPECT_FALSE(compress(Compression::None, repetitive(5'000)));
  EXPECT_FALSE(decompress(Compression::None, "x", 1, out));
}

TEST(Compression, HasANameInSettings) {
  EXPECT_EQ(parse_compression("none"), Compression::None);
  EXPECT_EQ(parse_compression("lz4"), Compression::Lz4);
  EXPECT_EQ(parse_compression("zstd"), Compression::Zstd);
  for (const char* bad : {"", "LZ4", "gzip", "lz4 "}) EXPECT_FALSE(parse_compression(bad)) << bad;
}

TEST(Compression, AFrameSaysHowItsPayloadIsCompressed) {
  for (const Compression how : {Compression::Lz4, Compression::Zstd}) {
    std::string bytes;
    encode_frame_header({.payload_bytes = 10, .compression = how, .plain_bytes = 700}, 5, bytes);
    const auto frame = decode_frame_header(bytes, 5);
    ASSERT_TRUE(frame);
    EXPECT_EQ(frame->compression, how);
    EXPECT_EQ(frame->plain_bytes, 700u);
  }
  std::string bytes;
  encode_frame_header(
      {.payload_bytes = 10, .compression = Compression::Lz4, .plain_bytes = kBatchBytesMax + 1}, 5,
      bytes);
  EXPECT_FALSE(decode_frame_header(bytes, 5)) << "more than any batch holds";
}

}  // namespace
}  // namespace flagstream::log
