// The table's columns as data.
#include <set>

#include <fmt/format.h>

#include "json/json.h"
#include "lake/duckdb_json.h"
#include "lake/event_column.h"
#include "lake/event_rows.h"

namespace flagstream::lake {
namespace {

constexpr std::array<ColumnDefinition, kColumns> kDefinitions = {{
    {"date", "DATE", "date"},
    {"received_at", "TIMESTAMPTZ", "timestamp"},
    {"time", "TIMESTAMPTZ", "timestamp"},
    {"environment_id", "BIGINT", "long"},
    {"project_id", "BIGINT", "long"},
    {"project_key", "VARCHAR", "string"},
    {"environment_key", "VARCHAR", "string"},
    {"kind", "VARCHAR", "string"},
    {"key", "VARCHAR", "string"},
    {"variation", "INTEGER", "integer"},
    {"version", "BIGINT", "long"},
    {"value", "VARCHAR", "string"},
    {"default_value", "VARCHAR", "string"},
    {"reason", "VARCHAR", "string"},
    {"prereq_of", "VARCHAR", "string"},
    {"data", "VARCHAR", "string"},
    {"metric_micros", "BIGINT", "long"},
    {"metric_value", "DOUBLE", "double"},
    {"url", "VARCHAR", "string"},
    {"selector", "VARCHAR", "string"},
    {"sampling_ratio", "BIGINT", "long"},
    {"contexts", "VARCHAR", "string"},
    {"context", "VARCHAR", "string"},
    {"context_kinds", "VARCHAR", "string"},
    {"count", "BIGINT", "long"},
    {"unknown_flag", "BOOLEAN", "boolean"},
    {"started_at", "TIMESTAMPTZ", "timestamp"},
    {"in_experiment", "BOOLEAN", "boolean"},
    {"sdk_name", "VARCHAR", "string"},
    {"sdk_version", "VARCHAR", "string"},
    {"application_id", "VARCHAR", "string"},
    {"application_version", "VARCHAR", "string"},
    {"noise", "INTEGER", "integer"},
    {"raw", "VARCHAR", "string"},
    {"dropped_events", "BIGINT", "long"},
    {"generation", "BIGINT", "long"},
    {"partition", "INTEGER", "integer"},
    {"source_log", "VARCHAR", "string"},
    {"source_offset", "BIGINT", "long"},
    {"source_index", "INTEGER", "integer"},
    {"source_part", "INTEGER", "integer"},
}};

}  // namespace

std::span<const ColumnDefinition> event_columns() { return kDefinitions; }

std::string event_table_schema() {
  std::string fields;
  for (const ColumnDefinition& column : kDefinitions) {
    fields += fmt::format(R"({}{{"name":"{}","type":"{}","nullable":true,"metadata":{{}}}})",
                          fields.empty() ? "" : ",", column.name, column.delta_type);
  }
  return fmt::format(R"({{"type":"struct","fields":[{}]}})", fields);
}

std::string missing_column(std::string_view schema) {
  std::set<std::string, std::less<>> names;
  if (const auto parsed = json::parse(schema); parsed && parsed->is_object()) {
    if (const json::Array* fields = json::array_member(parsed->get_object(), "fields")) {
      for (const json::Value& field : *fields) {
        if (field.is_object()) names.emplace(json::text_member(field.get_object(), "name"));
      }
    }
  }
  for (const ColumnDefinition& column : kDefinitions) {
    if (!names.contains(column.name)) return std::string(column.name);
  }
  return {};
}

std::string event_table_metadata(const std::string& id, std::int64_t created_ms) {
  std::string schema;
  json::append_quoted(schema, event_table_schema());
  return fmt::format(
      R"({{"id":"{}","name":"events","format":{{"provider":"parquet","options":{{}}}},)"
      R"("schemaString":{},"partitionColumns":["date"],)"
      R"("configuration":{{"flagstream.tableVersion":"1"}},"createdTime":{}}})",
      id, schema, created_ms);
}

std::string_view kind_text(events::proto::EventKind kind) {
  switch (kind) {
    case events::proto::INDEX:
      return "index";
    case events::proto::IDENTIFY:
      return "identify";
    case events::proto::FEATURE:
      return "feature";
    case events::proto::DEBUG:
      return "debug";
    case events::proto::CUSTOM:
      return "custom";
    case events::proto::CLICK:
      return "click";
    case events::proto::PAGEVIEW:
      return "pageview";
    case events::proto::SUMMARY:
      return "summary";
    case events::proto::MIGRATION_OP:
      return "migration_op";
    case events::proto::DIAGNOSTIC:
      return "diagnostic";
    case events::proto::PAYLOAD:
      return "payload";
    case events::proto::ALIAS:
      return "alias";
    default:
      return "unknown";  // Protobuf enums are open: a newer release may have written it
  }
}

}  // namespace flagstream::lake
