#include "lake/event_rows.h"

#include <chrono>
#include <filesystem>

#include <fmt/format.h>

#include "base/id.h"
#include "json/json.h"
#include "lake/delta_table.h"
#include "lake/duckdb_json.h"
#include "lake/event_column.h"
#include "lake/file_stats.h"

namespace flagstream::lake {
namespace {

constexpr double kMicros = 1e6;

std::int32_t day_of(MicrosUtc time) {
  return static_cast<std::int32_t>(time / kMicrosPerDay - (time % kMicrosPerDay < 0 ? 1 : 0));
}

std::string column_list() {
  std::string list;
  for (const ColumnDefinition& column : event_columns().subspan(1)) {
    list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", column.name);
  }
  return list;
}

duckdb_type storage_type(std::string_view sql_type) {
  if (sql_type == "DATE") return DUCKDB_TYPE_DATE;
  if (sql_type == "TIMESTAMPTZ") return DUCKDB_TYPE_TIMESTAMP_TZ;
  if (sql_type == "BIGINT") return DUCKDB_TYPE_BIGINT;
  if (sql_type == "INTEGER") return DUCKDB_TYPE_INTEGER;
  if (sql_type == "DOUBLE") return DUCKDB_TYPE_DOUBLE;
  if (sql_type == "BOOLEAN") return DUCKDB_TYPE_BOOLEAN;
  return DUCKDB_TYPE_VARCHAR;
}

}  // namespace

Result<std::unique_ptr<EventRows>> EventRows::open(Session& duckdb) {
  std::unique_ptr<EventRows> rows(new EventRows(duckdb));
  std::vector<duckdb_logical_type> types;
  for (const ColumnDefinition& column : event_columns()) {
    types.push_back(duckdb.api().duckdb_create_logical_type(storage_type(column.sql_type)));
  }
  rows->chunk_ = rows->api_.duckdb_create_data_chunk(types.data(), types.size());
  for (duckdb_logical_type& type : types) rows->api_.duckdb_destroy_logical_type(&type);
  rows->chunk_rows_ = rows->api_.duckdb_vector_size();
  rows->vectors_.resize(kColumns);
  rows->data_.resize(kColumns);
  rows->validity_.resize(kColumns);
  FS_TRY(rows->make_table());
  return rows;
}

EventRows::~EventRows() {
  close_appender();
  if (chunk_ != nullptr) api_.duckdb_destroy_data_chunk(&chunk_);
}

Result<void> EventRows::make_table() {
  close_appender();
  std::string columns;
  for (const ColumnDefinition& column : event_columns()) {
    columns +=
        fmt::format("{}\"{}\" {}", columns.empty() ? "" : ", ", column.name, column.sql_type);
  }
  FS_TRY(duckdb_.execute(fmt::format("CREATE OR REPLACE TABLE pending ({})", columns)));
  if (api_.duckdb_appender_create(duckdb_.connection(), nullptr, "pending", &appender_) ==
      DuckDBError) {
    return fail(error_from_duckdb(api_.duckdb_appender_error(appender_), ErrorKind::Unavailable));
  }
  rows_ = 0;
  bytes_ = 0;
  rows_by_day_.clear();
  begin_chunk();
  return {};
}

void EventRows::close_appender() {
  // Destroying it flushes, which can only fail for a table that is going away anyway.
  if (appender_ != nullptr) (void)api_.duckdb_appender_destroy(&appender_);
}

void EventRows::begin_chunk() {
  api_.duckdb_data_chunk_reset(chunk_);
  row_ = 0;
  for (std::size_t column = 0; column < kColumns; ++column) {
    vectors_[column] = api_.duckdb_data_chunk_get_vector(chunk_, column);
    data_[column] = api_.duckdb_vector_get_data(vectors_[column]);
    api_.duckdb_vector_ensure_validity_writable(vectors_[column]);
    validity_[column] = api_.duckdb_vector_get_validity(vectors_[column]);
  }
}

Result<void> EventRows::flush_chunk() {
  if (row_ == 0) return {};
  api_.duckdb_data_chunk_set_size(chunk_, row_);
  if (api_.duckdb_append_data_chunk(appender_, chunk_) == DuckDBError) {
    return fail(error_from_duckdb(api_.duckdb_appender_error(appender_), ErrorKind::Unavailable));
  }
  begin_chunk();
  return {};
}

void EventRows::text(std::size_t column, std::string_view value) {
  api_.duckdb_vector_assign_string_element_len(vectors_[column], row_, value.data(), value.size());
  bytes_ += value.size();
}

void EventRows::optional_text(std::size_t column, std::string_view value) {
  if (value.empty()) {
    null(column);
  } else {
    text(column, value);
  }
}

template <class T>
void EventRows::number(std::size_t column, T value) {
  static_cast<T*>(data_[column])[row_] = value;
}

void EventRows::null(std::size_t column) { validity_[column][row_ / 64] &= ~(1ull << (row_ % 64)); }

Result<void> EventRows::add(const events::proto::Event& event, const RowOrigin& origin) {
  const std::int32_t day = day_of(event.received_us());
  add_identity(event, origin, day);
  add_values(event);
  add_metric_and_summary(event);
  add_contexts(event);
  ++rows_by_day_[day];
  ++rows_;
  if (++row_ == chunk_rows_) return flush_chunk();
  return {};
}

void EventRows::add_identity(const events::proto::Event& event, const RowOrigin& origin,
                             std::int32_t day) {
  number(kDate, day);
  number(kReceivedAt, event.received_us());
  number(kTime, event.time_us());
  number(kEnvironmentId, static_cast<std::int64_t>(event.environment_id()));
  add_label(origin.label);
  text(kKind, kind_text(event.kind()));
  number(kGeneration, static_cast<std::int64_t>(origin.generation));
  number(kPartition, static_cast<std::int32_t>(origin.partition));
  const events::proto::Source& source = event.source();
  const auto log_id = Id128::from_bytes(source.log_id());
  text(kSourceLog, log_id ? log_id->to_hex() : std::string());
  number(kSourceOffset, static_cast<std::int64_t>(source.offset()));
  number(kSourceIndex, static_cast<std::int32_t>(source.index()));
  number(kSourcePart, static_cast<std::int32_t>(source.part()));
}

void EventRows::add_label(const EnvironmentLabel* label) {
  if (label == nullptr) {
    null(kProjectId);
    null(kProjectKey);
    null(kEnvironmentKey);
    return;
  }
  number(kProjectId, static_cast<std::int64_t>(label->project_id));
  optional_text(kProjectKey, label->project_key);
  optional_text(kEnvironmentKey, label->environment_key);
}

void EventRows::add_values(const events::proto::Event& event) {
  optional_text(kKey, event.key());
  event.has_variation() ? number(kVariation, event.variation()) : null(kVariation);
  event.has_version() ? number(kVersion, static_cast<std::int64_t>(event.version()))
                      : null(kVersion);
  optional_text(kValue, event.value_json());
  optional_text(kDefaultValue, event.default_json());
  optional_text(kReason, event.reason_json());
  optional_text(kPrereqOf, event.prereq_of());
  optional_text(kData, event.data_json());
  optional_text(kUrl, event.url());
  optional_text(kSelector, event.selector());
  number(kInExperiment, event.in_experiment());
  optional_text(kSdkName, event.sdk_name());
  optional_text(kSdkVersion, event.sdk_version());
  optional_text(kApplicationId, event.application_id());
  optional_text(kApplicationVersion, event.application_version());
  number(kNoise, static_cast<std::int32_t>(event.noise()));
  optional_text(kRaw, event.raw_json());
}

void EventRows::add_metric_and_summary(const events::proto::Event& event) {
  if (event.has_metric_micros()) {
    number(kMetricMicros, static_cast<std::int64_t>(event.metric_micros()));
    number(kMetricValue, static_cast<double>(event.metric_micros()) / kMicros);
  } else {
    null(kMetricMicros);
    null(kMetricValue);
  }
  event.has_sampling_ratio()
      ? number(kSamplingRatio, static_cast<std::int64_t>(event.sampling_ratio()))
      : null(kSamplingRatio);
  if (event.kind() == events::proto::SUMMARY) {
    number(kCount, static_cast<std::int64_t>(event.count()));
    number(kUnknownFlag, event.unknown_flag());
    event.start_us() != 0 ? number(kStartedAt, static_cast<std::int64_t>(event.start_us()))
                          : null(kStartedAt);
  } else {
    null(kCount);
    null(kUnknownFlag);
    null(kStartedAt);
  }
  if (event.kind() == events::proto::DIAGNOSTIC) {
    number(kDroppedEvents, static_cast<std::int64_t>(event.dropped_events()));
  } else {
    null(kDroppedEvents);
  }
}

void EventRows::add_contexts(const events::proto::Event& event) {
  if (event.contexts().empty()) {
    null(kContexts);
  } else {
    scratch_ = "{";
    for (const events::proto::ContextKey& context : event.contexts()) {
      if (scratch_.size() > 1) scratch_ += ',';
      append_json_string(context.kind(), scratch_);
      scratch_ += ':';
      append_json_string(context.key(), scratch_);
    }
    scratch_ += '}';
    text(kContexts, scratch_);
  }
  optional_text(kContext, event.context_json());
  if (event.context_kinds().empty()) {
    null(kContextKinds);
  } else {
    scratch_ = "[";
    for (const std::string& kind : event.context_kinds()) {
      if (scratch_.size() > 1) scratch_ += ',';
      append_json_string(kind, scratch_);
    }
    scratch_ += ']';
    text(kContextKinds, scratch_);
  }
}

std::vector<std::int32_t> EventRows::dates() const {
  std::vector<std::int32_t> days;
  for (const auto& [day, count] : rows_by_day_) days.push_back(day);
  return days;
}

Result<std::vector<AddFile>> EventRows::write(const std::string& folder, MicrosUtc now) {
  FS_TRY(flush_chunk());
  close_appender();
  std::vector<AddFile> files;
  for (const auto& [day, count] : rows_by_day_) {
    FS_TRY(files.emplace_back(), write_date(folder, day, rows_by_day_.size() == 1, now));
  }
  FS_TRY(make_table());
  return files;
}

Result<AddFile> EventRows::write_date(const std::string& folder, std::int32_t day, bool is_only,
                                      MicrosUtc now) {
  const std::string date = date_of_day(day);
  AddFile file;
  file.path = fmt::format("date={}/{}", date, data_file_name(now));
  file.partition_values["date"] = date;
  file.modification_time = now / kMicrosPerMilli;
  auto copied = copy_date(folder, day, is_only, file);
  if (!copied) {
    // A full disk must not fill further with every attempt.
    std::error_code ignored;
    std::filesystem::remove(folder + "/" + file.path, ignored);
    return fail(std::move(copied).error().in("write " + file.path));
  }
  return file;
}

Result<void> EventRows::copy_date(const std::string& folder, std::int32_t day, bool is_only,
                                  AddFile& file) {
  static const std::string columns = column_list();
  const std::string where =
      is_only ? std::string() : fmt::format(" WHERE date = DATE '{}'", date_of_day(day));
  // One row group per file: what is in memory is bounded by rows, so is a row group.
  FS_TRY(auto written,
         duckdb_.rows(fmt::format(
             "COPY (SELECT {} FROM pending{}) TO {} (FORMAT parquet, COMPRESSION zstd, "
             "COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 1048576, USE_TMP_FILE false, RETURN_STATS)",
             columns, where, sql_quoted(folder + "/" + file.path))));
  FS_TRY(const FileStats stats, read_file_stats(written));
  if (stats.rows != rows_by_day_.at(day)) {
    return fail(ErrorKind::DataLoss, "the Parquet file holds other rows than asked");
  }
  file.size = stats.size;
  file.stats = stats.delta_json;
  return {};
}

std::string date_of_day(std::int32_t day) {
  const std::chrono::year_month_day date{std::chrono::sys_days{std::chrono::days{day}}};
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

}  // namespace flagstream::lake
