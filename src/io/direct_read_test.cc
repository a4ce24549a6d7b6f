#include <filesystem>

#include <gtest/gtest.h>
#include <unistd.h>

#include "io/file_system.h"
#include "io/memory_file_system.h"

namespace flagstream::io {
namespace {

// Offsets and sizes need not be aligned, and the end of the file is where it is for read_at().
TEST(DirectRead, GivesWhatReadAtGivesOnceItIsSynced) {
  const std::string path = testing::TempDir() + "direct_read_" + std::to_string(::getpid());
  const auto file = *posix_file_system().open(path, OpenMode::Create);
  std::string contents;
  for (int i = 0; contents.size() < (1 << 20) + 5000; ++i) contents += std::to_string(i) + " ";
  const std::string_view parts[] = {contents};
  ASSERT_TRUE(file->write_at(0, parts));
  ASSERT_TRUE(file->sync());
  for (const std::uint64_t offset :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{4095}, std::uint64_t{4096},
        std::uint64_t{10'000}, contents.size() - 1, contents.size(), contents.size() + 10'000}) {
    for (const std::size_t size : {1u, 511u, 4096u, 5000u, (1u << 20) + 1, 3u << 20}) {
      std::string cached(size, '?');
      std::string direct(size, '?');
      const auto got_cached = file->read_at(offset, cached);
      const auto got_direct = file->read_from_disk(offset, direct);
      ASSERT_TRUE(got_direct) << got_direct.error().what;
      EXPECT_EQ(*got_direct, *got_cached) << offset << " " << size;
      EXPECT_EQ(direct, cached) << offset << " " << size;
    }
  }
  std::filesystem::remove(path);
}

TEST(DirectRead, AfterAFailedSyncTheDiskHasNotWhatTheCacheHas) {
  MemoryFileSystem disk;
  const auto file = *disk.open("f", OpenMode::Create);
  const std::string_view before[] = {"before"};
  const std::string_view after[] = {"AFTER"};
  ASSERT_TRUE(file->write_at(0, before));
  ASSERT_TRUE(file->sync());
  ASSERT_TRUE(file->write_at(0, after));
  disk.fail_next_sync = true;
  EXPECT_FALSE(file->sync());
  EXPECT_TRUE(file->sync()) << "the error is told once";
  std::string cached(6, '?');
  std::string direct(6, '?');
  ASSERT_TRUE(file->read_at(0, cached));
  ASSERT_TRUE(file->read_from_disk(0, direct));
  EXPECT_EQ(cached, "AFTERe");
  EXPECT_EQ(direct, "before");
}

}  // namespace
}  // namespace flagstream::io
