// The results database: its tables, and the rows that the stage writes into them.  For people:
// docs/formats/results-db.md.
//
// A row is the absolute value of one aggregate in one partition of `events` at a position of it.
// Rows of several partitions and log ids are merged where they are read.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "log/log.h"

namespace flagstream::analytics {

// Numbers are stored in the stage's store: only ever added.
enum class Table : std::uint8_t {
  Evaluations = 1,    // by minute, flag, variation, version
  EvaluationTotals,   // by flag, variation: ever
  CustomEvents,       // by minute, event key
  CustomEventTotals,  // by event key: ever
  ContextKinds,       // by context kind: ever
  Sdks,               // by SDK name, version: ever
  Payloads,           // ever
  Progress,           // by log id of `payloads`; of no environment
  Gaps,               // by first offset lost; of no environment
};
inline constexpr std::size_t kTables = 9;

// In the columns variation and version, for "none": SQLite's primary keys hold no NULL.
inline constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::min();

// Counts stop here, 2^53 - 1: the largest that every JSON reader takes, and far enough from the end
// of int64 to be added up.
inline constexpr std::int64_t kCountMax = (1ll << 53) - 1;
// Both in [0, kCountMax].
constexpr std::int64_t add_counts(std::int64_t a, std::int64_t b) {
  return a > kCountMax - b ? kCountMax : a + b;
}

inline constexpr std::size_t kValuesMax = 5;

// What a row's columns are called; an empty name: the table has no such column.
struct TableLayout {
  Table table;
  std::string_view name;
  bool has_environment = true;
  std::string_view text = {};    // first part of the key
  std::string_view detail = {};  // second part
  bool has_minute = false;
  bool has_variation = false;
  bool has_version = false;
  std::array<std::string_view, kValuesMax> values = {};
  bool has_keys = false;  // DistinctKeys

  std::size_t value_count() const;
};
const TableLayout& layout_of(Table table);
std::span<const TableLayout> all_layouts();

struct ResultRow {
  Table table = Table::Evaluations;
  std::uint64_t environment = 0;
  MicrosUtc minute = 0;
  std::string text = {};
  std::string detail = {};
  std::int64_t variation = kNone;
  std::int64_t version = kNone;
  std::array<std::int64_t, kValuesMax> values{};
  std::string keys = {};
  log::Offset position = 0;  // of the last record in it, plus 1
};

// For sql::Database::migrate().
std::span<const std::string_view> results_migrations();

}  // namespace flagstream::analytics
