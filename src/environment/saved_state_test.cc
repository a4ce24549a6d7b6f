#include "environment/saved_state.h"

#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include "environment/fold.h"
#include "environment/test_records.h"
#include "io/memory_file_system.h"

namespace flagstream::environment {
namespace {

using namespace testing_records;

std::string golden() {
  std::ifstream in(FLAGSTREAM_SOURCE_DIR "/tests/golden/v1/gateway-config.bin", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// The worked example of docs/formats/gateway-state.md.
SavedState example() {
  return {.log_id = {0x0001020304050607, 0x08090a0b0c0d0e0f},
          .next_offset = 1000,
          .current_as_of = 1795407508900000,
          .records = copy(1, 42, {flag(42, "a", 5)}, true)};
}

class SavedStateTest : public testing::Test {
 protected:
  SavedStateTest() { EXPECT_TRUE(files_.make_folder("/state")); }
  Result<SavedState> load(std::string_view bytes) {
    EXPECT_TRUE(files_.replace_file(path_, bytes));
    return load_state(files_, path_);
  }
  io::MemoryFileSystem files_;
  const std::string path_ = "/state/gateway-config";
};

TEST_F(SavedStateTest, MatchesTheGoldenBytesInTheFormatDocument) {
  ASSERT_TRUE(save_state(files_, path_, example()));
  EXPECT_EQ(*files_.read_file(path_), golden());
  const auto loaded = load(golden());
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->log_id, example().log_id);
  EXPECT_EQ(loaded->next_offset, 1000u);
  EXPECT_EQ(loaded->current_as_of, 1795407508900000);
  EXPECT_EQ(loaded->records, example().records);
}

TEST_F(SavedStateTest, AMissingOneIsNotFound) {
  EXPECT_EQ(load_state(files_, path_).error().kind, ErrorKind::NotFound);
}

TEST_F(SavedStateTest, EveryTruncationIsDamage) {
  const std::string bytes = golden();
  for (std::size_t n = 0; n < bytes.size(); ++n)
    EXPECT_EQ(load(bytes.substr(0, n)).error().kind, ErrorKind::DataLoss) << n;
}

TEST_F(SavedStateTest, NoFlippedBitIsAccepted) {
  const std::string bytes = golden();
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string bad = bytes;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(load(bad)) << bit;
  }
}

TEST_F(SavedStateTest, ANewerVersionIsRefusedWithASentence) {
  std::string bytes = golden();
  bytes[4] = 2;
  const auto loaded = load(bytes);
  EXPECT_EQ(loaded.error().kind, ErrorKind::InvalidArgument);
  EXPECT_EQ(loaded.error().what, "/state/gateway-config has version 2, this release reads up to 1");
}

}  // namespace
}  // namespace flagstream::environment
