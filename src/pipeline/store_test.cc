#include "pipeline/store.h"

#include <filesystem>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

namespace flagstream::pipeline {
namespace {

using Entries = std::vector<std::pair<std::string, std::string>>;

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "store_" + std::to_string(::getpid()) + "_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(folder_);
  }
  void open(std::size_t prefix_bytes = 0) {
    store_.reset();
    auto opened = Store::open(folder_ + "/stage/3", prefix_bytes);
    ASSERT_TRUE(opened) << opened.error().what;
    store_ = *std::move(opened);
  }
  Entries entries(std::string_view prefix) {
    Entries out;
    const auto done = store_->scan(prefix, [&](std::string_view key, std::string_view value) {
      out.emplace_back(key, value);
      return true;
    });
    EXPECT_TRUE(done);
    return out;
  }

  std::string folder_;
  std::unique_ptr<Store> store_;
};

TEST_F(StoreTest, ACheckpointIsThereAfterTheStoreIsOpenedAgain) {
  open();
  Changes changes;
  changes.put("da", "1");
  changes.put("db", std::string("\0binary\xff", 8));
  changes.put("dc", "gone");
  changes.remove("dc");
  EXPECT_GT(changes.bytes(), 0u);
  ASSERT_TRUE(store_->write(changes));
  open();
  EXPECT_EQ(store_->get("da")->value(), "1");
  EXPECT_EQ(store_->get("db")->value(), std::string("\0binary\xff", 8));
  EXPECT_FALSE(store_->get("dc")->has_value());
  EXPECT_FALSE(store_->get("d")->has_value());
}

TEST_F(StoreTest, AScanGivesWhatBeginsWithThePrefixInOrder) {
  for (const std::size_t prefix_bytes : {0u, 2u}) {
    open(prefix_bytes);
    Changes changes;
    for (const char* key : {"dab2", "dab1", "da", "db", "dac", "e"}) changes.put(key, key);
    ASSERT_TRUE(store_->write(changes));
    EXPECT_EQ(entries("dab"), (Entries{{"dab1", "dab1"}, {"dab2", "dab2"}})) << prefix_bytes;
    EXPECT_EQ(entries("d").size(), 5u) << prefix_bytes;
    EXPECT_EQ(entries("dx"), Entries{}) << prefix_bytes;
  }
}

TEST_F(StoreTest, AScanStopsWhenItIsTold) {
  open();
  Changes changes;
  for (const char* key : {"d1", "d2", "d3"}) changes.put(key, "");
  ASSERT_TRUE(store_->write(changes));
  int seen = 0;
  ASSERT_TRUE(store_->scan("d", [&](auto, auto) { return ++seen < 2; }));
  EXPECT_EQ(seen, 2);
}

TEST_F(StoreTest, ARangeIsRemovedWithItsBeginAndWithoutItsEnd) {
  open();
  Changes changes;
  for (const char* key : {"d1", "d2", "d3", "d4"}) changes.put(key, "");
  ASSERT_TRUE(store_->write(changes));
  Changes removal;
  removal.remove_range("d2", "d4");
  removal.remove_range("d4", "d1");  // empty
  ASSERT_TRUE(store_->write(removal));
  EXPECT_EQ(entries("d"), (Entries{{"d1", ""}, {"d4", ""}}));
  EXPECT_FALSE(store_->get("d2")->has_value());
}

TEST_F(StoreTest, FiltersNeverDenyWhatIsThere) {
  open();
  Changes changes;
  for (int i = 0; i < 1000; ++i) changes.put("d" + std::to_string(i), "");
  ASSERT_TRUE(store_->write(changes));
  open();  // from the write-ahead log into a table file
  int denied = 0;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(store_->may_contain("d" + std::to_string(i)));
    if (!store_->may_contain("d" + std::to_string(i) + "x")) ++denied;
  }
  EXPECT_GT(denied, 900);
}

TEST_F(StoreTest, OneOwnerAtATime) {
  open();
  EXPECT_EQ(Store::open(folder_ + "/stage/3").error().kind, ErrorKind::Conflict);
}

TEST_F(StoreTest, DamageIsToldFromAnEmptyStore) {
  open();
  Changes changes;
  changes.put("d1", "x");
  ASSERT_TRUE(store_->write(changes));
  store_.reset();
  for (const auto& file : std::filesystem::directory_iterator(folder_ + "/stage/3")) {
    if (file.path().filename().string().starts_with("MANIFEST"))
      std::filesystem::resize_file(file.path(), std::filesystem::file_size(file.path()) / 2);
  }
  EXPECT_FALSE(Store::open(folder_ + "/stage/3"));
}

}  // namespace
}  // namespace flagstream::pipeline
