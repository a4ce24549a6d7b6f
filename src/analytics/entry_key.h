// Keys of the aggregates inside a pane, as bytes; and the row of the results database that an
// aggregate becomes.  Stored: docs/formats/results-db.md.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "analytics/distinct_keys.h"
#include "analytics/results_schema.h"
#include "base/error.h"

namespace flagstream::analytics {

// A pane: the aggregates of one table, minute and environment (0 where the table has none).
struct PaneId {
  Table table = Table::Evaluations;
  MicrosUtc minute = 0;
  std::uint64_t environment = 0;
  friend auto operator<=>(const PaneId&, const PaneId&) = default;
};

// One aggregate.  The numbers are the table's values (results_schema.h).
struct Value {
  std::array<std::int64_t, kValuesMax> numbers{};
  std::unique_ptr<DistinctKeys> keys = {};  // tables that have them only
  log::Offset position = 0;                 // of the last record in it, plus 1
};

// Keys of one text (custom event keys, context kinds) are that text; the key of Payloads is empty,
// that of Progress the 16 bytes of the log id.  These replace what `out` held.
void encode_evaluation_key(std::int64_t variation, std::int64_t version, std::string_view flag,
                           std::string& out);
void encode_total_key(std::int64_t variation, std::string_view flag, std::string& out);
void encode_sdk_key(std::string_view name, std::string_view version, std::string& out);

// DataLoss: no key of that table.
Result<ResultRow> row_of(const PaneId& pane, std::string_view key, const Value& value);

// position:u64le number:i64le* (as many as the table has) DistinctKeys[rest]
std::string encode_value(Table table, const Value& value);
Result<Value> decode_value(Table table, std::string_view bytes);

// Keys of the stage's store: "dp" table:u8 minute:u64be environment:u64be, then "h" for the pane's
// header or "e" and the entry's key.
std::string pane_prefix(const PaneId& pane);
std::string table_prefix(Table table);
struct StoredKey {
  PaneId pane;
  bool is_header = false;
  std::string_view key = {};  // points into the stored key
};
Result<StoredKey> parse_stored_key(std::string_view stored);

}  // namespace flagstream::analytics
