// What ParquetFile writes, DuckDB reads: an implementation of the format that shares nothing with
// ours.
#include "lake/parquet_file.h"

#include <bit>
#include <filesystem>
#include <functional>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "json/json.h"
#include "lake/duckdb_json.h"
#include "lake/duckdb_session.h"

namespace flagstream::lake {
namespace {

using Rows = std::vector<std::vector<std::string>>;
using Random = std::mt19937_64;

std::string json_text(std::string_view value) {
  std::string out;
  json::append_quoted(out, value);
  return out;
}

class ParquetFileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "parquet_" + std::to_string(::getpid()) + "_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // A new name each time: DuckDB remembers what it has read of a file.
  ParquetFile create(std::uint64_t rows) {
    path_ = folder_ + "/" + std::to_string(++files_);
    return *ParquetFile::create(io::posix_file_system(), path_, rows, compressor_);
  }
  Rows query(const std::string& columns, const std::string& from = "read_parquet") {
    auto found =
        session_->rows(fmt::format("SELECT {} FROM {}({})", columns, from, sql_quoted(path_)));
    if (!found) ADD_FAILURE() << found.error().what;
    return found ? *std::move(found) : Rows{};
  }
  // The values of one column of `rows` rows, each as JSON text.
  template <class Column>
  Rows written_and_read(const ParquetField& field, const Column& column, std::uint64_t rows) {
    ParquetFile file = create(rows);
    EncodedColumn encoded;
    column.encode(rows, encoded);
    EXPECT_TRUE(file.add(field, encoded));
    const auto size = file.finish();
    EXPECT_TRUE(size);
    EXPECT_EQ(*size, std::filesystem::file_size(path_));
    return query("*");
  }

  std::string folder_;
  std::string path_;  // of the newest file
  int files_ = 0;
  PageCompressor compressor_;
  std::unique_ptr<Session> session_ =
      *Session::open(**load_duckdb(""), {.memory_bytes_max = 256 << 20});
};

// How values of a column can be spread; a row that yields nothing is null.
using Spread = std::function<std::optional<std::int64_t>(std::uint64_t row, Random& random)>;

const std::vector<std::pair<std::string, Spread>>& spreads() {
  static const std::vector<std::pair<std::string, Spread>> kSpreads = {
      {"none", [](auto, auto&) { return std::nullopt; }},
      {"one", [](auto row, auto&) { return row == 3 ? std::optional(77) : std::nullopt; }},
      {"constant", [](auto, auto&) { return -5; }},
      {"runs", [](auto row, auto&) { return static_cast<std::int64_t>(row / 23 % 5); }},
      {"long runs", [](auto row, auto&) { return static_cast<std::int64_t>(row / 300); }},
      {"few",
       [](auto, auto& random) {
         return random() % 3 == 0 ? std::nullopt : std::optional<std::int64_t>(random() % 9);
       }},
      {"many near",
       [](auto, auto& random) { return static_cast<std::int64_t>(random() % 60'000); }},
      {"hundreds", [](auto, auto& random) { return static_cast<std::int64_t>(random() % 1'000); }},
      {"gaps at last",
       [](auto row, auto&) {
         return row > 200 && row % 3 == 0 ? std::nullopt : std::optional<std::int64_t>(row);
       }},
      {"constant, gaps at last",
       [](auto row, auto&) {
         return row > 200 && row % 3 == 0 ? std::nullopt : std::optional<std::int64_t>(9);
       }},
      {"few far",
       [](auto, auto& random) {
         return static_cast<std::int64_t>((random() % 100) * 1'000'000'007) - 50'000'000'000;
       }},
      {"all different",
       [](auto row, auto&) { return static_cast<std::int64_t>(row * 0x9E3779B97F4A7C15); }},
      {"different at last",
       [](auto row, auto&) {
         return static_cast<std::int64_t>(row < 3'000 ? row % 7 : row * 0x9E3779B97F4A7C15);
       }},
  };
  return kSpreads;
}

constexpr std::uint64_t kSizes[] = {1, 7, 8, 9, 64, 65, 1'000, 20'003};

TEST_F(ParquetFileTest, IntegersComeBackHoweverTheyAreSpread) {
  for (const auto& [name, spread] : spreads()) {
    for (const std::uint64_t rows : kSizes) {
      Random random(rows);
      NumberColumn wide(ParquetType::Int64), narrow(ParquetType::Int32);
      Rows wide_values(rows), narrow_values(rows);
      for (std::uint64_t row = 0; row < rows; ++row) {
        const auto value = spread(row, random);
        if (value) wide.add(row, *value);
        if (value) narrow.add(row, static_cast<std::int32_t>(*value));
        wide_values[row].push_back(value ? std::to_string(*value) : "null");
        narrow_values[row].push_back(value ? std::to_string(static_cast<std::int32_t>(*value))
                                           : "null");
      }
      const auto read = written_and_read({"n", ParquetType::Int32}, narrow, rows);
      ASSERT_EQ(read, narrow_values) << name << ", rows: " << rows;
      // Integers beyond 2^53 are strings in JSON.
      ParquetFile file = create(rows);
      EncodedColumn encoded;
      wide.encode(rows, encoded);
      ASSERT_TRUE(file.add({"n", ParquetType::Int64}, encoded));
      ASSERT_TRUE(file.finish());
      Rows texts = query("coalesce(n::VARCHAR, 'null')");
      for (auto& each : wide_values) each[0] = json_text(each[0]);
      ASSERT_EQ(texts, wide_values) << name << ", rows: " << rows;
    }
  }
}

TEST_F(ParquetFileTest, TextsComeBackHoweverTheyAreSpread) {
  for (const auto& [name, spread] : spreads()) {
    for (const std::uint64_t rows : kSizes) {
      Random random(rows);
      TextColumn column(TextColumn::Bounds::Wanted);
      Rows values(rows);
      for (std::uint64_t row = 0; row < rows; ++row) {
        const auto number = spread(row, random);
        const std::string value = number ? fmt::format("é{}", *number) : std::string();
        if (number) column.add(row, value);
        values[row].push_back(number ? json_text(value) : "null");
      }
      ASSERT_EQ(written_and_read({"t", ParquetType::ByteArray, ParquetMeaning::Text}, column, rows),
                values)
          << name << ", rows: " << rows;
    }
  }
}

TEST_F(ParquetFileTest, BooleansDoublesAndTimesComeBackInTheirTypes) {
  constexpr std::uint64_t kRows = 21;
  NumberColumn boolean(ParquetType::Boolean), real(ParquetType::Double), time(ParquetType::Int64);
  for (std::uint64_t row = 0; row < kRows; ++row) {
    if (row % 4 != 3) boolean.add(row, row % 3 == 0 ? 1 : 0);
    real.add(row, std::bit_cast<std::int64_t>(static_cast<double>(row) / 4 - 1));
    time.add(row, 1'795'600'000'000'001);
  }
  ParquetFile file = create(kRows);
  EncodedColumn encoded;
  boolean.encode(kRows, encoded);
  ASSERT_TRUE(file.add({"b", ParquetType::Boolean}, encoded));
  real.encode(kRows, encoded);
  ASSERT_TRUE(file.add({"d", ParquetType::Double}, encoded));
  time.encode(kRows, encoded);
  ASSERT_TRUE(file.add({"t", ParquetType::Int64, ParquetMeaning::UtcMicros}, encoded));
  ASSERT_TRUE(file.finish());
  const Rows read = query("b, d, t, typeof(t)");
  ASSERT_EQ(read.size(), kRows);
  EXPECT_EQ(read[0], (std::vector<std::string>{"true", "-1", "\"2026-11-25T09:46:40.000001Z\"",
                                               "\"TIMESTAMP WITH TIME ZONE\""}));
  EXPECT_EQ(read[3][0], "null");
  EXPECT_EQ(read[9][0], "true");
  EXPECT_EQ(read[10][0], "false");
  EXPECT_EQ(read[5][1], "0.25");
}

TEST_F(ParquetFileTest, BoundsAndNullsAreInTheFooter) {
  NumberColumn numbers(ParquetType::Int32);
  numbers.add(1, -7);
  numbers.add(2, 300);
  EXPECT_EQ(written_and_read({"n", ParquetType::Int32}, numbers, 4).size(), 4u);
  const std::string columns = "stats_min_value, stats_max_value, stats_null_count, num_values";
  EXPECT_EQ(query(columns, "parquet_metadata"), (Rows{{"\"-7\"", "\"300\"", "2", "4"}}));

  TextColumn texts(TextColumn::Bounds::Wanted);
  texts.add(0, "b");
  texts.add(1, "\xC3\xA9");  // above every ASCII letter
  texts.add(2, "a");
  EXPECT_EQ(written_and_read({"t", ParquetType::ByteArray, ParquetMeaning::Text}, texts, 3).size(),
            3u);
  EXPECT_EQ(query(columns, "parquet_metadata"), (Rows{{"\"a\"", "\"\xC3\xA9\"", "0", "3"}}));
}

TEST_F(ParquetFileTest, AValueOfMegabytesAndAnEmptyOneComeBack) {
  TextColumn column(TextColumn::Bounds::NotWanted);
  const std::string large(3 << 20, 'x');
  const std::string values[] = {"", large, "small", large, ""};
  for (std::uint64_t row = 0; row < std::size(values); ++row) column.add(row, values[row]);
  const Rows read = written_and_read({"t", ParquetType::ByteArray, ParquetMeaning::Text}, column,
                                     std::size(values));
  ASSERT_EQ(read.size(), std::size(values));
  for (std::size_t row = 0; row < read.size(); ++row)
    EXPECT_EQ(read[row][0], json_text(values[row]));
}

TEST_F(ParquetFileTest, ClearedColumnsBeginAnew) {
  TextColumn column(TextColumn::Bounds::NotWanted);
  for (std::uint64_t row = 0; row < 10'000; ++row) column.add(row, std::to_string(row));
  column.clear();
  EXPECT_EQ(column.bytes(), 0u);
  column.add(0, "again");
  column.add(1, "again");
  EncodedColumn encoded;
  column.encode(2, encoded);
  EXPECT_TRUE(encoded.has_dictionary);
  EXPECT_EQ(encoded.dictionary_values, 1u);
}

TEST_F(ParquetFileTest, AFileThatExistsIsNotWrittenOver) {
  (void)create(0);
  const auto again = ParquetFile::create(io::posix_file_system(), path_, 0, compressor_);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind, ErrorKind::Conflict);
}

}  // namespace
}  // namespace flagstream::lake
