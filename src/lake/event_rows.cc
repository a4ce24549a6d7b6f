#include "lake/event_rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>

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

ParquetField field_of(const ColumnDefinition& column) {
  if (column.delta_type == "timestamp")
    return {column.name, ParquetType::Int64, ParquetMeaning::UtcMicros};
  if (column.delta_type == "string")
    return {column.name, ParquetType::ByteArray, ParquetMeaning::Text};
  if (column.delta_type == "double") return {column.name, ParquetType::Double};
  if (column.delta_type == "boolean") return {column.name, ParquetType::Boolean};
  if (column.delta_type == "integer") return {column.name, ParquetType::Int32};
  return {column.name, ParquetType::Int64};
}

}  // namespace

EventRows::Day::Day() {
  columns.reserve(kColumns);
  for (const ColumnDefinition& column : event_columns()) {
    const ParquetField field = field_of(column);
    if (field.meaning == ParquetMeaning::Text) {
      columns.emplace_back(TextColumn(has_bounds(column.name) ? TextColumn::Bounds::Wanted
                                                              : TextColumn::Bounds::NotWanted));
    } else {
      columns.emplace_back(NumberColumn(field.type));
    }
  }
}

void EventRows::Day::clear() {
  rows = 0;
  for (Column& column : columns) std::visit([](auto& each) { each.clear(); }, column);
}

// Memory stays for as many rows of a date as there were, so that a busy stage does not ask for it
// again and again.
void EventRows::clear() {
  if (!days_.empty()) {
    spare_ = std::move(days_.rbegin()->second);
    spare_->clear();
  }
  days_.clear();
  current_ = nullptr;
  rows_ = 0;
}

std::uint64_t EventRows::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [day, rows] : days_) {
    for (const Column& column : rows.columns)
      sum += std::visit([](const auto& each) { return each.bytes(); }, column);
  }
  return sum;
}

EventRows::Day& EventRows::day_at(std::int32_t day) {
  const auto found = days_.find(day);
  if (found != days_.end()) return found->second;
  if (!spare_) return days_[day];
  Day& made = days_.emplace(day, *std::move(spare_)).first->second;
  spare_.reset();
  return made;
}

void EventRows::text(std::size_t column, std::string_view value) {
  std::get_if<TextColumn>(&current_->columns[column])->add(current_->rows, value);
}

// A value that is not there is null: nothing has to be said of it.
void EventRows::optional_text(std::size_t column, std::string_view value) {
  if (!value.empty()) text(column, value);
}

void EventRows::number(std::size_t column, std::int64_t value) {
  std::get_if<NumberColumn>(&current_->columns[column])->add(current_->rows, value);
}

void EventRows::optional_number(std::size_t column, std::optional<std::int64_t> value) {
  if (value) number(column, *value);
}

void EventRows::add(const events::EventView& event, const RowOrigin& origin) {
  const std::int32_t day = day_of(event.received_us);
  if (current_ == nullptr || day != current_day_) {
    current_ = &day_at(day);
    current_day_ = day;
  }
  add_identity(event, origin);
  if (origin.label != nullptr) add_label(*origin.label);
  add_values(event);
  add_metric_and_summary(event);
  add_contexts(event);
  ++current_->rows;
  ++rows_;
}

void EventRows::add_identity(const events::EventView& event, const RowOrigin& origin) {
  number(kReceivedAt, event.received_us);
  number(kTime, event.time_us);
  number(kEnvironmentId, static_cast<std::int64_t>(event.environment_id));
  text(kKind, kind_text(event.kind));
  number(kGeneration, static_cast<std::int64_t>(origin.generation));
  number(kPartition, static_cast<std::int32_t>(origin.partition));
  if (event.source.log_id != source_log_) {
    source_log_ = event.source.log_id;
    const auto log_id = Id128::from_bytes(source_log_);
    source_log_hex_ = log_id ? log_id->to_hex() : std::string();
  }
  text(kSourceLog, source_log_hex_);
  number(kSourceOffset, static_cast<std::int64_t>(event.source.offset));
  number(kSourceIndex, static_cast<std::int32_t>(event.source.index));
  number(kSourcePart, static_cast<std::int32_t>(event.source.part));
}

void EventRows::add_label(const EnvironmentLabel& label) {
  number(kProjectId, static_cast<std::int64_t>(label.project_id));
  optional_text(kProjectKey, label.project_key);
  optional_text(kEnvironmentKey, label.environment_key);
}

void EventRows::add_values(const events::EventView& event) {
  optional_text(kKey, event.key);
  optional_number(kVariation, event.variation);
  optional_number(kVersion, event.version);
  optional_text(kValue, event.value_json);
  optional_text(kDefaultValue, event.default_json);
  optional_text(kReason, event.reason_json);
  optional_text(kPrereqOf, event.prereq_of);
  optional_text(kData, event.data_json);
  optional_text(kUrl, event.url);
  optional_text(kSelector, event.selector);
  number(kInExperiment, event.in_experiment ? 1 : 0);
  optional_text(kSdkName, event.sdk_name);
  optional_text(kSdkVersion, event.sdk_version);
  optional_text(kApplicationId, event.application_id);
  optional_text(kApplicationVersion, event.application_version);
  number(kNoise, static_cast<std::int32_t>(event.noise));
  optional_text(kRaw, event.raw_json);
}

void EventRows::add_metric_and_summary(const events::EventView& event) {
  if (event.metric_micros) {
    number(kMetricMicros, *event.metric_micros);
    const double value = static_cast<double>(*event.metric_micros) / kMicros;
    number(kMetricValue, std::bit_cast<std::int64_t>(value));
  }
  optional_number(kSamplingRatio, event.sampling_ratio);
  if (event.kind == events::proto::SUMMARY) {
    number(kCount, event.count);
    number(kUnknownFlag, event.unknown_flag ? 1 : 0);
    if (event.start_us != 0) number(kStartedAt, event.start_us);
  }
  if (event.kind == events::proto::DIAGNOSTIC) number(kDroppedEvents, event.dropped_events);
}

void EventRows::add_contexts(const events::EventView& event) {
  if (!event.contexts.empty()) {
    scratch_ = "{";
    for (const events::ContextKeyView& context : event.contexts) {
      if (scratch_.size() > 1) scratch_ += ',';
      json::append_quoted(scratch_, context.kind);
      scratch_ += ':';
      json::append_quoted(scratch_, context.key);
    }
    scratch_ += '}';
    text(kContexts, scratch_);
  }
  optional_text(kContext, event.context_json);
  if (!event.context_kinds.empty()) {
    scratch_ = "[";
    for (const std::string_view kind : event.context_kinds) {
      if (scratch_.size() > 1) scratch_ += ',';
      json::append_quoted(scratch_, kind);
    }
    scratch_ += ']';
    text(kContextKinds, scratch_);
  }
}

std::vector<std::int32_t> EventRows::dates() const {
  std::vector<std::int32_t> days;
  days.reserve(days_.size());
  for (const auto& [day, rows] : days_) days.push_back(day);
  return days;
}

Result<std::vector<AddFile>> EventRows::write(const std::string& folder, MicrosUtc now) {
  std::vector<AddFile> files;
  for (const auto& [day, rows] : days_) {
    FS_TRY(files.emplace_back(), write_day(folder, day, rows, now));
  }
  clear();
  return files;
}

Result<AddFile> EventRows::write_day(const std::string& folder, std::int32_t day, const Day& rows,
                                     MicrosUtc now) {
  const std::string date = date_of_day(day);
  AddFile file;
  file.path = fmt::format("date={}/{}", date, data_file_name(now));
  file.partition_values["date"] = date;
  file.modification_time = now / kMicrosPerMilli;
  const std::string path = folder + "/" + file.path;
  auto written = write_file(path, rows, file);
  if (!written) {
    // A full disk must not fill further with every attempt.
    (void)files_.remove(path);
    return fail(std::move(written).error().in("write " + file.path));
  }
  return file;
}

// One row group per file: what is in memory is bounded, so is a row group.  All but the date, which
// the folder's name tells.
Result<void> EventRows::write_file(const std::string& path, const Day& rows, AddFile& file) {
  FS_TRY(ParquetFile parquet, ParquetFile::create(files_, path, rows.rows, compressor_));
  FileStats stats(rows.rows);
  for (std::size_t i = kDate + 1; i < kColumns; ++i) {
    const ColumnDefinition& column = event_columns()[i];
    std::visit([&](const auto& each) { each.encode(rows.rows, encoded_); }, rows.columns[i]);
    FS_TRY(parquet.add(field_of(column), encoded_));
    stats.add(column, encoded_.stats);
  }
  FS_TRY(const std::uint64_t size, parquet.finish());
  file.size = static_cast<std::int64_t>(size);
  file.stats = stats.to_json();
  return {};
}

std::string date_of_day(std::int32_t day) {
  const std::chrono::year_month_day date{std::chrono::sys_days{std::chrono::days{day}}};
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

}  // namespace flagstream::lake
