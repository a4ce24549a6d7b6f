#include "sql/database.h"

#include <array>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "base/id.h"

namespace flagstream::sql {
namespace {

class DatabaseTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("flagstream-sql-" + random_hex(16));
    std::filesystem::create_directories(folder_);
    path_ = folder_ / "test.db";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::int64_t single(Database& database, std::string_view sql) {
    auto statement = database.prepare(sql);
    EXPECT_TRUE(statement) << (statement ? "" : statement.error().what);
    EXPECT_TRUE(*statement->step());
    return statement->integer(0);
  }

  std::filesystem::path folder_;
  std::string path_;
};

TEST_F(DatabaseTest, EveryTypeComesBackAsItWasBound) {
  auto database = Database::open_in_memory();
  ASSERT_TRUE(database);
  ASSERT_TRUE(database->exec("CREATE TABLE t (i INTEGER, r REAL, s TEXT, b BLOB, n TEXT)"));
  auto insert = database->prepare("INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5)");
  ASSERT_TRUE(insert);
  const std::string blob("\0\xff", 2);
  ASSERT_TRUE(insert->bind(1, std::int64_t{-9'000'000'000})
                  .bind(2, 0.5)
                  .bind(3, "")
                  .bind_blob(4, blob)
                  .bind_null(5)
                  .run());
  auto read = database->prepare("SELECT i, r, s, b, n, typeof(s) FROM t");
  ASSERT_TRUE(read);
  ASSERT_TRUE(*read->step());
  EXPECT_EQ(read->integer(0), -9'000'000'000);
  EXPECT_EQ(read->real(1), 0.5);
  EXPECT_EQ(read->text(2), "");
  EXPECT_EQ(read->text(5), "text");
  EXPECT_EQ(read->text(3), blob);
  EXPECT_TRUE(read->is_null(4));
  EXPECT_FALSE(*read->step());
}

TEST_F(DatabaseTest, AnAbandonedTransactionLeavesNothingBehind) {
  auto database = Database::open(path_);
  ASSERT_TRUE(database);
  ASSERT_TRUE(database->exec("CREATE TABLE t (i INTEGER)"));
  {
    auto transaction = Transaction::begin(*database);
    ASSERT_TRUE(transaction);
    ASSERT_TRUE(database->exec("INSERT INTO t VALUES (1)"));
  }
  EXPECT_EQ(single(*database, "SELECT count(*) FROM t"), 0);
  {
    auto transaction = Transaction::begin(*database);
    ASSERT_TRUE(transaction);
    ASSERT_TRUE(database->exec("INSERT INTO t VALUES (1)"));
    ASSERT_TRUE(transaction->commit());
  }
  EXPECT_EQ(single(*database, "SELECT count(*) FROM t"), 1);
}

TEST_F(DatabaseTest, AViolatedConstraintIsAConflict) {
  auto database = Database::open_in_memory();
  ASSERT_TRUE(database->exec("CREATE TABLE t (i INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)"));
  auto again = database->exec("INSERT INTO t VALUES (1)");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind, ErrorKind::Conflict);
}

TEST_F(DatabaseTest, ABindingThatFailsIsReportedByTheNextStep) {
  auto database = Database::open_in_memory();
  auto statement = database->prepare("SELECT ?1");
  ASSERT_TRUE(statement);
  EXPECT_FALSE(statement->bind(2, 1).step());
}

TEST_F(DatabaseTest, AReaderOfAFileThatIsNotThereGetsNotFound) {
  auto database = Database::open(path_, {.mode = Mode::ReadOnly});
  ASSERT_FALSE(database);
  EXPECT_EQ(database.error().kind, ErrorKind::NotFound);
}

TEST_F(DatabaseTest, AReaderSeesTheLastCommitWhileAWriterIsInItsTransaction) {
  auto writer = Database::open(path_);
  ASSERT_TRUE(writer);
  ASSERT_TRUE(writer->exec("CREATE TABLE t (i INTEGER); INSERT INTO t VALUES (7)"));
  auto transaction = Transaction::begin(*writer);
  ASSERT_TRUE(writer->exec("UPDATE t SET i = 8"));
  auto reader = Database::open(path_, {.mode = Mode::ReadOnly});
  ASSERT_TRUE(reader);
  EXPECT_EQ(single(*reader, "SELECT i FROM t"), 7);
  ASSERT_TRUE(transaction->commit());
  EXPECT_EQ(single(*reader, "SELECT i FROM t"), 8);
}

TEST_F(DatabaseTest, ASecondWriterIsRefusedAfterTheBusyTimeout) {
  auto first = Database::open(path_);
  auto second = Database::open(path_, {.busy_timeout = std::chrono::milliseconds(1)});
  ASSERT_TRUE(first && second);
  auto held = Transaction::begin(*first);
  ASSERT_TRUE(held);
  auto refused = Transaction::begin(*second);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::Unavailable);
}

TEST_F(DatabaseTest, MigrationsRunOnceAndInOrder) {
  constexpr std::array<std::string_view, 2> kSteps = {"CREATE TABLE t (i INTEGER)",
                                                      "INSERT INTO t VALUES (1)"};
  for (int start = 0; start < 2; ++start) {
    auto database = Database::open(path_);
    ASSERT_TRUE(database);
    ASSERT_TRUE(database->migrate(kSteps));
    EXPECT_EQ(single(*database, "SELECT count(*) FROM t"), 1);
    EXPECT_EQ(single(*database, "PRAGMA user_version"), 2);
  }
}

TEST_F(DatabaseTest, AMigrationThatFailsLeavesTheVersionBeforeIt) {
  constexpr std::array<std::string_view, 2> kSteps = {"CREATE TABLE t (i INTEGER)",
                                                      "CREATE TABLE u (i INTEGER); nonsense"};
  auto database = Database::open(path_);
  ASSERT_TRUE(database);
  EXPECT_FALSE(database->migrate(kSteps));
  EXPECT_EQ(single(*database, "PRAGMA user_version"), 1);
  EXPECT_EQ(single(*database, "SELECT count(*) FROM sqlite_master WHERE name = 'u'"), 0);
}

TEST_F(DatabaseTest, ANewerSchemaIsRefused) {
  constexpr std::array<std::string_view, 1> kSteps = {"CREATE TABLE t (i INTEGER)"};
  auto database = Database::open(path_);
  ASSERT_TRUE(database);
  ASSERT_TRUE(database->exec("PRAGMA user_version = 9"));
  auto migrated = database->migrate(kSteps);
  ASSERT_FALSE(migrated);
  EXPECT_EQ(migrated.error().kind, ErrorKind::Conflict);
}

TEST_F(DatabaseTest, AFileThatIsNoDatabaseIsDataLoss) {
  FILE* file = fopen(path_.c_str(), "w");
  for (int i = 0; i < 200; ++i) fputs("this is not a database ", file);
  fclose(file);
  auto database = Database::open(path_);
  ASSERT_FALSE(database);
  EXPECT_EQ(database.error().kind, ErrorKind::DataLoss);
  EXPECT_NE(database.error().what.find(path_), std::string::npos) << database.error().what;
}

}  // namespace
}  // namespace flagstream::sql
