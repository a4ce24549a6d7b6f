#include "lake/sql_query.h"

#include <filesystem>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "json/json.h"
#include "lake/delta_table.h"
#include "lake/event_rows.h"
#include "lake/sql_request.h"
#include "lake/system_call_filter.h"

namespace flagstream::lake {
namespace {

constexpr MicrosUtc kStart = 1'795'600'000'000'000;  // 2026-11-25T09:46:40Z

class SqlQueryTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ =
        testing::TempDir() + "sql_" + std::to_string(::getpid()) + "_" + std::to_string(++count_);
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
    std::ofstream(root_ + "/secret.csv") << "a\nsecret\n";
    settings_.folder = root_ + "/lake/events";
    settings_.memory_bytes_max = 128 << 20;
    settings_.bytes_max = 1 << 20;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  DeltaTable table() {
    return *DeltaTable::open(io::posix_file_system(), *session_, clock_, settings_.folder,
                             event_table_metadata("id", 0));
  }
  // Commits one file with `counts` as counters of the flag.
  void commit(const std::string& flag, const std::vector<std::int64_t>& counts) {
    DeltaTable to = table();
    std::filesystem::create_directories(settings_.folder + "/date=2026-11-25");
    EventRows rows(io::posix_file_system());
    for (const std::int64_t count : counts) {
      events::EventView event;
      event.kind = events::proto::SUMMARY;
      event.received_us = kStart;
      event.key = flag;
      event.count = count;
      rows.add(event, {});
    }
    Commit commit;
    commit.id = flag;
    commit.files = *rows.write(settings_.folder, kStart);
    ASSERT_EQ(*to.publish(commit), DeltaTable::Published::Yes);
  }

  std::string answer(const std::string& sql) {
    const auto found = query(settings_, sql);
    return found ? *found : std::string(to_string(found.error().kind)) + ": " + found.error().what;
  }
  // Only the rows of the answer.
  std::string rows(const std::string& sql) {
    const std::string text = answer(sql);
    const std::size_t begin = text.find("\"rows\":"), end = text.rfind(",\"truncated\"");
    return begin == std::string::npos ? text : text.substr(begin + 7, end - begin - 7);
  }

  static inline int count_ = 0;
  std::string root_;
  SqlSettings settings_;
  FakeClock clock_{kStart};
  std::unique_ptr<Session> session_ =
      *Session::open(**load_duckdb(""), {.memory_bytes_max = 128 << 20});
};

TEST_F(SqlQueryTest, AnEmptyLakeHasNoRowsAndAllColumns) {
  EXPECT_EQ(answer("SELECT count(*) AS n FROM events"),
            R"({"columns":[{"name":"n","type":"BIGINT"}],"rows":[[0]],"truncated":false})");
  const auto found = json::parse(answer("SELECT * FROM events"));
  ASSERT_TRUE(found);
  const json::Array& columns = *json::array_member(found->get_object(), "columns");
  ASSERT_EQ(columns.size(), event_columns().size());
  for (std::size_t i = 0; i < columns.size(); ++i) {
    EXPECT_EQ(json::text_member(columns[i].get_object(), "name"), event_columns()[i].name);
  }
  EXPECT_FALSE(std::filesystem::exists(settings_.folder)) << "a query makes nothing";
  (void)table();  // made, but without files
  EXPECT_EQ(rows("SELECT count(*) FROM events"), "[[0]]");
}

TEST_F(SqlQueryTest, AnAnswerHasNamesTypesAndRows) {
  commit("dark \"mode\"", {2, 40});
  EXPECT_EQ(
      answer("SELECT date, key, sum(count)::BIGINT AS total FROM events GROUP BY ALL"),
      R"({"columns":[{"name":"date","type":"DATE"},{"name":"key","type":"VARCHAR"},)"
      R"({"name":"total","type":"BIGINT"}],"rows":[["2026-11-25","dark \"mode\"",42]],"truncated":false})");
}

TEST_F(SqlQueryTest, OnlyFilesOfTheCurrentVersionAreRead) {
  commit("kept", {1});
  commit("removed", {2});
  {
    DeltaTable of = table();  // a file that no version names
    EventRows rows(io::posix_file_system());
    events::EventView event;
    event.received_us = kStart;
    rows.add(event, {});
    ASSERT_TRUE(rows.write(settings_.folder, kStart));
    std::string removed;
    for (const auto& [path, file] : of.state().files) {
      if (file.stats.find("removed") != std::string::npos) removed = path;
    }
    ASSERT_TRUE(io::posix_file_system().replace_file(
        settings_.folder + "/_delta_log/" + commit_name(3),
        fmt::format(R"({{"remove":{{"path":"{}","deletionTimestamp":1,"dataChange":true}}}})",
                    removed)));
  }
  EXPECT_EQ(rows("SELECT key, count FROM events"), R"([["kept",1]])");
}

TEST_F(SqlQueryTest, ColumnsThatAnOlderFileLacksAreNull) {
  commit("new", {1});
  DeltaTable to = table();
  const std::string path = "date=2026-11-25/old.parquet";
  ASSERT_TRUE(session_->execute("COPY (SELECT 'old' AS key, 5::BIGINT AS count) TO " +
                                sql_quoted(settings_.folder + "/" + path) + " (FORMAT parquet)"));
  Commit commit;
  commit.id = "old";
  commit.files = {{.path = path, .partition_values = {{"date", "2026-11-25"}}, .stats = "{}"}};
  ASSERT_EQ(*to.publish(commit), DeltaTable::Published::Yes);
  EXPECT_EQ(rows("SELECT date, kind, key, count FROM events ORDER BY count"),
            R"([["2026-11-25","summary","new",1],["2026-11-25",null,"old",5]])");
}

TEST_F(SqlQueryTest, ATableThatNamesAFileOutsideItselfIsRefused) {
  DeltaTable to = table();
  Commit commit;
  commit.id = "x";
  commit.files = {{.path = "../../secret.csv", .partition_values = {}, .stats = "{}"}};
  ASSERT_EQ(*to.publish(commit), DeltaTable::Published::Yes);
  EXPECT_EQ(answer("SELECT 1"),
            "DataLoss: the table names a file outside itself: ../../secret.csv");
}

TEST_F(SqlQueryTest, MoreRowsOrBytesThanAskedForAreCutOffAndSaidSo) {
  settings_.rows_max = 3;
  EXPECT_EQ(answer("SELECT * FROM range(4) t(i)"),
            R"({"columns":[{"name":"i","type":"BIGINT"}],"rows":[[0],[1],[2]],"truncated":true})");
  EXPECT_EQ(answer("SELECT * FROM range(3) t(i)"),
            R"({"columns":[{"name":"i","type":"BIGINT"}],"rows":[[0],[1],[2]],"truncated":false})");
  settings_.rows_max = 1'000'000;
  settings_.bytes_max = 10'000;
  for (const char* huge :
       {"SELECT * FROM range(10000000000)", "SELECT 'x' UNION ALL SELECT repeat('x', 20000)",
        "SELECT repeat('x', 6000) FROM range(2)"}) {
    const std::string text = answer(huge);
    EXPECT_TRUE(text.ends_with("\"truncated\":true}")) << text.substr(0, 200);
    EXPECT_LE(text.size(), 10'000u + 100u);
    EXPECT_TRUE(json::parse(text)) << huge;
  }
}

TEST_F(SqlQueryTest, AQueryOverItsTimeIsEnded) {
  settings_.deadline = std::chrono::milliseconds(500);
  EXPECT_EQ(
      answer(
          "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"),
      "ResourceExhausted: the query ran longer than 500 ms");
}

TEST_F(SqlQueryTest, AQueryOverItsMemoryFailsAlone) {
  settings_.deadline = std::chrono::seconds(60);
  std::vector<std::string> bombs = {
      "SELECT list(i) FROM range(200000000) t(i)",
      "SELECT count(DISTINCT i::VARCHAR || 'xxxxxxxxxxxxxxxx') FROM range(20000000) t(i)"};
  // DuckDB does not count it: the limit of the address space stops it, without which sanitizers
  // run.
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
  bombs.emplace_back("SELECT length(repeat('x', 4000000000))");
#endif
  for (const std::string& bomb : bombs) {
    const auto found = query(settings_, bomb);
    ASSERT_FALSE(found) << bomb;
    EXPECT_EQ(found.error().kind, ErrorKind::ResourceExhausted)
        << bomb << ": " << found.error().what;
    EXPECT_EQ(found.error().what.find('\n'), std::string::npos) << found.error().what;
  }
}

TEST_F(SqlQueryTest, WhatIsNoQueryGetsASentence) {
  EXPECT_EQ(answer(""), "InvalidArgument: only one SELECT statement can be run");
  EXPECT_EQ(answer("-- nothing"), "InvalidArgument: only one SELECT statement can be run");
  EXPECT_EQ(answer("SELECT ?"), "InvalidArgument: a query cannot have parameters");
  EXPECT_EQ(answer(std::string("SELECT 1\0; SELECT 2", 19)),
            "InvalidArgument: a query cannot hold a zero byte");
  EXPECT_EQ(answer(std::string(kSqlBytesMax + 1, ' ')),
            "TooLarge: a query has at most 65536 bytes");
  EXPECT_TRUE(answer("SELEC 1").starts_with(
      "InvalidArgument: Parser Error: syntax error at or near \"SELEC\""));
  EXPECT_TRUE(answer("SELECT nothing FROM events").starts_with("InvalidArgument: Binder Error"));
  EXPECT_EQ(rows(std::string(60'000, ' ') + "SELECT 1"), "[[1]]");
}

TEST_F(SqlQueryTest, AQueryMayBeginWithCommentsAndParentheses) {
  for (const char* sql :
       {"/* a /* nested */ comment */ -- and another\n (SELECT 1)", "\tselect 1;",
        "FROM (VALUES (1))", "WITH x AS (SELECT 1) SELECT * FROM x", "VALUES (1)"}) {
    EXPECT_EQ(rows(sql), "[[1]]") << sql;
  }
}

TEST_F(SqlQueryTest, AChildThatDiesOrCannotStartIsAnErrorAndNoMore) {
  settings_.program = "/bin/false";
  EXPECT_EQ(answer("SELECT 1"), "Unavailable: the query's process ended without an answer");
  settings_.program = root_ + "/nothing";
  EXPECT_TRUE(answer("SELECT 1").starts_with("NotFound: start a query"));
}

TEST_F(SqlQueryTest, QueriesOfSeveralThreadsDoNotMix) {
  commit("a", {1});
  std::vector<std::string> found(4);
  {
    std::vector<std::jthread> threads;
    threads.reserve(found.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      threads.emplace_back(
          [&, i] { found[i] = rows(fmt::format("SELECT {} + count FROM events", i)); });
    }
  }
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i], fmt::format("[[{}]]", i + 1));
}

struct Escape {
  const char* name;
  const char* sql;  // ROOT stands for the test's folder
  ErrorKind kind;
};

class SqlEscapeTest : public SqlQueryTest, public testing::WithParamInterface<Escape> {};

std::set<std::string> everything_below(const std::string& folder) {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    found.insert(entry.path());
  return found;
}

TEST_P(SqlEscapeTest, IsRefusedAndChangesNothing) {
  commit("flag", {1});
  std::string sql = GetParam().sql;
  for (std::size_t at = 0; (at = sql.find("ROOT", at)) != std::string::npos;)
    sql.replace(at, 4, root_);
  const auto before = everything_below(root_);
  const auto found = query(settings_, sql);
  ASSERT_FALSE(found) << *found;
  EXPECT_EQ(found.error().kind, GetParam().kind) << found.error().what;
  EXPECT_EQ(everything_below(root_), before);
}

INSTANTIATE_TEST_SUITE_P(
    Sql, SqlEscapeTest,
    testing::Values(
        Escape{"OtherFile", "SELECT * FROM read_text('/etc/passwd')", ErrorKind::PermissionDenied},
        Escape{"OtherFileAsTable", "SELECT * FROM 'ROOT/secret.csv'", ErrorKind::PermissionDenied},
        Escape{"CsvFile", "SELECT * FROM read_csv('ROOT/secret.csv')", ErrorKind::PermissionDenied},
        Escape{"ParentFolder", "SELECT * FROM 'ROOT/lake/events/../../secret.csv'",
               ErrorKind::PermissionDenied},
        Escape{"TransactionLog",
               "SELECT * FROM read_text('ROOT/lake/events/_delta_log/00000000000000000000.json')",
               ErrorKind::PermissionDenied},
        Escape{"Glob", "SELECT * FROM glob('ROOT/*')", ErrorKind::PermissionDenied},
        Escape{"ProcessFiles", "SELECT * FROM read_blob('/proc/self/environ')",
               ErrorKind::PermissionDenied},
        Escape{"Network", "SELECT * FROM read_parquet('http://127.0.0.1:1/x')",
               ErrorKind::PermissionDenied},
        Escape{"Attach", "ATTACH 'ROOT/x.db'", ErrorKind::InvalidArgument},
        Escape{"CopyTo", "COPY (SELECT 1) TO 'ROOT/lake/events/x.parquet'",
               ErrorKind::InvalidArgument},
        Escape{"CopyFrom", "COPY events FROM 'ROOT/secret.csv'", ErrorKind::InvalidArgument},
        Escape{"CopyExplained", "EXPLAIN ANALYZE COPY (SELECT 1) TO 'ROOT/x'",
               ErrorKind::InvalidArgument},
        Escape{"CopyInQuery", "SELECT * FROM query('COPY (SELECT 1) TO ''ROOT/x''')",
               ErrorKind::InvalidArgument},
        Escape{"Export", "EXPORT DATABASE 'ROOT/x'", ErrorKind::InvalidArgument},
        Escape{"Install", "INSTALL httpfs", ErrorKind::InvalidArgument},
        Escape{"Load", "LOAD 'ROOT/x.duckdb_extension'", ErrorKind::InvalidArgument},
        Escape{"Set", "SET memory_limit = '100GB'", ErrorKind::InvalidArgument},
        Escape{"Reset", "RESET lock_configuration", ErrorKind::InvalidArgument},
        Escape{"SecondStatement", "SELECT 1; SELECT 2", ErrorKind::InvalidArgument},
        Escape{"SecondStatementDrops", "SELECT 1; DROP VIEW events", ErrorKind::InvalidArgument},
        Escape{"Pragma", "PRAGMA version", ErrorKind::InvalidArgument},
        Escape{"PragmaBehindAComment", "/* /* */ SELECT */ PRAGMA version",
               ErrorKind::InvalidArgument},
        Escape{"Call", "CALL pragma_version()", ErrorKind::InvalidArgument},
        Escape{"Create", "CREATE TABLE t AS SELECT 1", ErrorKind::InvalidArgument},
        Escape{"Drop", "DROP VIEW events", ErrorKind::InvalidArgument},
        Escape{"WriteInWith", "WITH x AS (DELETE FROM events RETURNING *) SELECT * FROM x",
               ErrorKind::InvalidArgument},
        Escape{"Environment", "SELECT getenv('HOME')", ErrorKind::InvalidArgument}),
    [](const auto& each) { return std::string(each.param.name); });

TEST_F(SqlQueryTest, ALogToAFileIsNotWritten) {
  const auto before = everything_below(root_);
  (void)query(
      settings_,
      fmt::format(
          "SELECT * FROM enable_logging(storage = 'file', storage_config = {{'path': '{}/x'}})",
          root_));
  EXPECT_EQ(everything_below(root_), before);
}

TEST(SqlRequest, SurvivesTheWayToTheOtherProcess) {
  const SqlSettings settings{.folder = "/a \"b\"",
                             .rows_max = 7,
                             .bytes_max = 8,
                             .deadline = std::chrono::milliseconds(9),
                             .memory_bytes_max = 10,
                             .threads = 3,
                             .duckdb_library = "/lib"};
  const auto request = decode_request(encode_request(settings, "SELECT '\n\\'"));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->sql, "SELECT '\n\\'");
  EXPECT_EQ(request->settings.folder, "/a \"b\"");
  EXPECT_EQ(request->settings.rows_max, 7u);
  EXPECT_EQ(request->settings.bytes_max, 8u);
  EXPECT_EQ(request->settings.deadline.count(), 9);
  EXPECT_EQ(request->settings.memory_bytes_max, 10u);
  EXPECT_EQ(request->settings.threads, 3u);
  EXPECT_EQ(request->settings.duckdb_library, "/lib");
}

TEST(SqlRequest, AnAnswerIsWholeOrNone) {
  EXPECT_EQ(encode_answer(std::string("{}")), "+{}\n");
  EXPECT_EQ(encode_answer(fail(ErrorKind::TooLarge, "x")), "-fx\n");
  EXPECT_EQ(**decode_answer("+{}\n"), "{}");
  const auto error = decode_answer("-fx\n");
  ASSERT_TRUE(error && !*error);
  EXPECT_EQ(error->error().kind, ErrorKind::TooLarge);
  EXPECT_EQ(error->error().what, "x");
  for (const char* broken : {"", "\n", "+{}", "-\n", "-zx\n", "x\n"})
    EXPECT_FALSE(decode_answer(broken)) << broken;
}

// In a process of its own, for the filter cannot be taken back.  0: everything is as promised; else
// which is not.
int check_filter(const std::string& file) {
  if (!forbid_writing_and_network()) return 100;
  const int reading = ::open(file.c_str(), O_RDONLY);
  if (reading < 0) return 1;
  for (const int flags : {O_WRONLY, O_RDWR, O_RDONLY | O_CREAT, O_RDONLY | O_TRUNC}) {
    if (::open(file.c_str(), flags, 0600) >= 0 || errno != EPERM) return 2;
  }
  if (::mkdir((file + ".d").c_str(), 0700) == 0 || ::unlink(file.c_str()) == 0) return 3;
  if (::rename(file.c_str(), (file + ".r").c_str()) == 0) return 4;
  if (::socket(AF_INET, SOCK_STREAM, 0) >= 0 || ::socket(AF_UNIX, SOCK_STREAM, 0) >= 0) return 5;
  if (::fork() >= 0) return 6;
  ::execl("/bin/true", "true", nullptr);
  int answer = 0;
  std::thread([&] { answer = ::open(file.c_str(), O_WRONLY) < 0 ? 1 : 0; }).join();
  return answer == 1 ? 0 : 7;
}

TEST(SystemCallFilter, LeavesReadingAndThreadsAndNothingElse) {
  const std::string file = testing::TempDir() + "filter_" + std::to_string(::getpid());
  std::ofstream(file) << "x";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(check_filter(file));
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  std::filesystem::remove(file);
  if (WEXITSTATUS(status) == 100) GTEST_SKIP() << "no filters of system calls here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace flagstream::lake
