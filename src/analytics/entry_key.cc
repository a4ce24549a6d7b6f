#include "analytics/entry_key.h"

#include "base/bytes.h"

namespace flagstream::analytics {
namespace {

constexpr std::string_view kPanes = "dp";
constexpr std::size_t kPanePrefixBytes = 2 + 1 + 8 + 8;

std::unexpected<Error> damaged(std::string_view what) {
  return fail(ErrorKind::DataLoss, "analytics store: damaged " + std::string(what));
}

}  // namespace

void encode_evaluation_key(std::int64_t variation, std::int64_t version, std::string_view flag,
                           std::string& out) {
  out.clear();
  append_le(out, variation);
  append_le(out, version);
  out.append(flag);
}

void encode_total_key(std::int64_t variation, std::string_view flag, std::string& out) {
  out.clear();
  append_le(out, variation);
  out.append(flag);
}

void encode_sdk_key(std::string_view name, std::string_view version, std::string& out) {
  out.clear();
  append_le(out, static_cast<std::uint32_t>(name.size()));
  out.append(name).append(version);
}

Result<ResultRow> row_of(const PaneId& pane, std::string_view key, const Value& value) {
  ResultRow row{.table = pane.table,
                .environment = pane.environment,
                .minute = pane.minute,
                .values = value.numbers,
                .position = value.position};
  if (value.keys) row.keys = value.keys->encode();
  switch (pane.table) {
    case Table::Evaluations:
      if (key.size() < 16) return damaged("key of evaluations");
      row.variation = get_le<std::int64_t>(key.data());
      row.version = get_le<std::int64_t>(key.data() + 8);
      row.text = key.substr(16);
      return row;
    case Table::EvaluationTotals:
      if (key.size() < 8) return damaged("key of evaluation totals");
      row.variation = get_le<std::int64_t>(key.data());
      row.text = key.substr(8);
      return row;
    case Table::Sdks: {
      if (key.size() < 4 || get_u32(key.data()) > key.size() - 4) return damaged("key of an SDK");
      const std::uint32_t name_bytes = get_u32(key.data());
      row.text = key.substr(4, name_bytes);
      row.detail = key.substr(4 + name_bytes);
      return row;
    }
    case Table::CustomEvents:
    case Table::CustomEventTotals:
    case Table::ContextKinds:
    case Table::Payloads:
    case Table::Progress:
    case Table::Gaps:  // the offset in decimal, which the column makes a number
      row.text = key;
      return row;
  }
  return damaged("table number");
}

std::string encode_value(Table table, const Value& value) {
  std::string out;
  append_le(out, value.position);
  for (std::size_t i = 0; i < layout_of(table).value_count(); ++i) append_le(out, value.numbers[i]);
  if (value.keys) out += value.keys->encode();
  return out;
}

Result<Value> decode_value(Table table, std::string_view bytes) {
  const TableLayout& layout = layout_of(table);
  const std::size_t fixed = 8 * (1 + layout.value_count());
  if (bytes.size() < fixed || (bytes.size() > fixed && !layout.has_keys)) return damaged("value");
  Value value;
  value.position = get_u64(bytes.data());
  for (std::size_t i = 0; i < layout.value_count(); ++i)
    value.numbers[i] = get_le<std::int64_t>(bytes.data() + 8 * (1 + i));
  if (layout.has_keys) {
    FS_TRY(auto keys, DistinctKeys::decode(bytes.substr(fixed)));
    value.keys = std::make_unique<DistinctKeys>(std::move(keys));
  }
  return value;
}

std::string table_prefix(Table table) {
  std::string out(kPanes);
  out.push_back(static_cast<char>(table));
  return out;
}

std::string pane_prefix(const PaneId& pane) {
  std::string out = table_prefix(pane.table);
  append_be64(out, static_cast<std::uint64_t>(pane.minute));
  append_be64(out, pane.environment);
  return out;
}

Result<StoredKey> parse_stored_key(std::string_view stored) {
  if (stored.size() <= kPanePrefixBytes || !stored.starts_with(kPanes)) return damaged("key");
  const auto table = static_cast<std::uint8_t>(stored[2]);
  if (table == 0 || table > kTables) return damaged("table number");
  const char part = stored[kPanePrefixBytes];
  if (part != 'h' && part != 'e') return damaged("key");
  return StoredKey{.pane = {.table = static_cast<Table>(table),
                            .minute = static_cast<MicrosUtc>(get_be64(stored.data() + 3)),
                            .environment = get_be64(stored.data() + 11)},
                   .is_header = part == 'h',
                   .key = stored.substr(kPanePrefixBytes + 1)};
}

}  // namespace flagstream::analytics
