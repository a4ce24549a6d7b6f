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

// The columns of the function that hands our chunks to DuckDB.
void bind_rows(duckdb_bind_info info, const DuckDb& api) {
  for (const ColumnDefinition& column : event_columns()) {
    const LogicalType type(api, api.duckdb_create_logical_type(storage_type(column.sql_type)));
    api.duckdb_bind_add_result_column(info, std::string(column.name).c_str(), type.get());
  }
}

}  // namespace

Result<std::unique_ptr<EventRows>> EventRows::open(Session& duckdb) {
  std::unique_ptr<EventRows> rows(new EventRows(duckdb));
  rows->chunk_rows_ = rows->api_.duckdb_vector_size();
  rows->vectors_.resize(kColumns);
  rows->data_.resize(kColumns);
  rows->validity_.resize(kColumns);
  FS_TRY(rows->register_function());
  rows->clear();
  return rows;
}

EventRows::~EventRows() {
  for (duckdb_data_chunk& chunk : chunks_) api_.duckdb_destroy_data_chunk(&chunk);
}

// DuckDB reads the rows straight from our chunks: a table in between would copy every value and
// keep statistics of it.
Result<void> EventRows::register_function() {
  duckdb_table_function function = api_.duckdb_create_table_function();
  api_.duckdb_table_function_set_name(function, function_name_.c_str());
  api_.duckdb_table_function_set_extra_info(function, this, nullptr);
  api_.duckdb_table_function_set_bind(function, [](duckdb_bind_info info) {
    // Which object calls cannot be asked without the library, and that is loaded once per process.
    const DuckDb& api = **load_duckdb("");
    bind_rows(info, api);
  });
  api_.duckdb_table_function_set_init(function, [](duckdb_init_info) {});
  api_.duckdb_table_function_set_function(
      function, [](duckdb_function_info info, duckdb_data_chunk out) {
        const DuckDb& api = **load_duckdb("");
        static_cast<EventRows*>(api.duckdb_function_get_extra_info(info))->hand_over(out);
      });
  const duckdb_state state = api_.duckdb_register_table_function(duckdb_.connection(), function);
  api_.duckdb_destroy_table_function(&function);
  if (state == DuckDBError) return fail(ErrorKind::Unavailable, "DuckDB takes no table function");
  return {};
}

// One chunk a call; an empty one is the end.
void EventRows::hand_over(duckdb_data_chunk out) {
  if (handed_over_ == full_chunks_) return api_.duckdb_data_chunk_set_size(out, 0);
  duckdb_data_chunk chunk = chunks_[handed_over_++];
  for (std::size_t column = 0; column < kColumns; ++column) {
    api_.duckdb_vector_reference_vector(api_.duckdb_data_chunk_get_vector(out, column),
                                        api_.duckdb_data_chunk_get_vector(chunk, column));
  }
  api_.duckdb_data_chunk_set_size(out, api_.duckdb_data_chunk_get_size(chunk));
}

void EventRows::clear() {
  // Memory stays for as many rows as there were last time, so that a busy stage does not ask for it
  // again and again.
  while (chunks_.size() > std::max<std::size_t>(full_chunks_, 1)) {
    api_.duckdb_destroy_data_chunk(&chunks_.back());
    chunks_.pop_back();
  }
  full_chunks_ = 0;
  rows_ = 0;
  bytes_ = 0;
  rows_by_day_.clear();
  begin_chunk();
}

void EventRows::begin_chunk() {
  if (full_chunks_ == chunks_.size()) {
    std::vector<duckdb_logical_type> types;
    for (const ColumnDefinition& column : event_columns()) {
      types.push_back(api_.duckdb_create_logical_type(storage_type(column.sql_type)));
    }
    chunks_.push_back(api_.duckdb_create_data_chunk(types.data(), types.size()));
    for (duckdb_logical_type& type : types) api_.duckdb_destroy_logical_type(&type);
  }
  duckdb_data_chunk chunk = chunks_[full_chunks_];
  api_.duckdb_data_chunk_reset(chunk);
  row_ = 0;
  for (std::size_t column = 0; column < kColumns; ++column) {
    vectors_[column] = api_.duckdb_data_chunk_get_vector(chunk, column);
    data_[column] = api_.duckdb_vector_get_data(vectors_[column]);
    api_.duckdb_vector_ensure_validity_writable(vectors_[column]);
    validity_[column] = api_.duckdb_vector_get_validity(vectors_[column]);
  }
}

void EventRows::finish_chunk() {
  if (row_ == 0) return;
  api_.duckdb_data_chunk_set_size(chunks_[full_chunks_], row_);
  ++full_chunks_;
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

void EventRows::add(const events::proto::Event& event, const RowOrigin& origin) {
  const std::int32_t day = day_of(event.received_us());
  add_identity(event, origin, day);
  add_values(event);
  add_metric_and_summary(event);
  add_contexts(event);
  ++rows_by_day_[day];
  ++rows_;
  if (++row_ == chunk_rows_) {
    finish_chunk();
    begin_chunk();
  }
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
  finish_chunk();
  std::vector<AddFile> files;
  for (const auto& [day, count] : rows_by_day_) {
    FS_TRY(files.emplace_back(), write_date(folder, day, rows_by_day_.size() == 1, now));
  }
  clear();
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
  handed_over_ = 0;
  // One row group per file: what is in memory is bounded by rows, so is a row group.
  FS_TRY(auto written,
         duckdb_.rows(fmt::format(
             "COPY (SELECT {} FROM \"{}\"(){}) TO {} (FORMAT parquet, COMPRESSION zstd, "
             "COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 1048576, USE_TMP_FILE false, RETURN_STATS)",
             columns, function_name_, where, sql_quoted(folder + "/" + file.path))));
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
