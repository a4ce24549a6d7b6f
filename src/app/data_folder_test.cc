#include "app/data_folder.h"

#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include "io/memory_file_system.h"

namespace flagstream::app {
namespace {

std::string golden() {
  std::ifstream in(FLAGSTREAM_SOURCE_DIR "/tests/golden/v1/VERSION", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

class DataFolderTest : public testing::Test {
 protected:
  void put(const std::string& name, std::string_view contents) {
    ASSERT_TRUE(files_.make_folder("/data"));
    ASSERT_TRUE(files_.replace_file("/data/" + name, contents));
  }
  std::string refusal() {
    const auto opened = open_data_folder(files_, "/data");
    if (opened) return "";
    EXPECT_EQ(opened.error().kind, ErrorKind::InvalidArgument);
    return opened.error().what;
  }
  io::MemoryFileSystem files_;
};

TEST_F(DataFolderTest, ANewOneGetsTheGoldenVersion) {
  ASSERT_TRUE(open_data_folder(files_, "/data"));
  EXPECT_EQ(*files_.read_file("/data/VERSION"), golden());
  EXPECT_TRUE(open_data_folder(files_, "/data")) << "again, once the lock is free";
}

TEST_F(DataFolderTest, ItIsLockedWhileItIsOpen) {
  const auto first = open_data_folder(files_, "/data");
  ASSERT_TRUE(first);
  EXPECT_EQ(open_data_folder(files_, "/data").error().kind, ErrorKind::Conflict);
}

TEST_F(DataFolderTest, ANewerVersionOtherThingsAndNoVersionAreRefusedWithASentence) {
  put("VERSION", "flagstream-data 2\n");
  EXPECT_EQ(
      refusal(),
      "/data was written by a newer flagstream (data version 2, this one knows 1); start that "
      "version");
  put("VERSION", "something else");
  EXPECT_EQ(refusal(), "/data/VERSION is not a version file of ours; is this the right folder?");
}

TEST_F(DataFolderTest, AFolderWithOtherThingsIsLeftAlone) {
  put("thesis.txt", "my only copy");
  EXPECT_EQ(refusal(),
            "/data holds other things (thesis.txt); give an empty or new folder with --data");
  EXPECT_FALSE(files_.exists("/data/log"));
}

TEST_F(DataFolderTest, WhoJoinsNeedsNoLockAndIsRefusedTheSame) {
  ASSERT_TRUE(join_data_folder(files_, "/data")) << "a folder that is not there is made";
  const auto served = open_data_folder(files_, "/data");
  ASSERT_TRUE(served);
  EXPECT_TRUE(join_data_folder(files_, "/data"));
  put("VERSION", "flagstream-data 2\n");
  EXPECT_EQ(join_data_folder(files_, "/data").error().kind, ErrorKind::InvalidArgument);
}

}  // namespace
}  // namespace flagstream::app
