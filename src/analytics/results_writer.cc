#include "analytics/results_writer.h"

#include <algorithm>
#include <utility>

#include "io/crash_point.h"

namespace flagstream::analytics {
namespace {

struct Columns {
  std::string key = {};     // comma-separated
  std::string values = {};  // comma-separated, beginning with a comma
  std::string update = {};  // a = excluded.a, ...
  int count = 0;
};

Columns columns_of(const TableLayout& layout) {
  Columns columns{.key = "generation", .count = 1};
  const auto key = [&columns](std::string_view name) {
    columns.key.append(", ").append(name);
    ++columns.count;
  };
  const auto value = [&columns](std::string_view name) {
    columns.values.append(", ").append(name);
    columns.update.append(name).append(" = excluded.").append(name).append(", ");
    ++columns.count;
  };
  if (layout.has_environment) key("environment");
  if (!layout.text.empty()) key(layout.text);
  if (!layout.detail.empty()) key(layout.detail);
  if (layout.has_minute) key("minute");
  if (layout.has_variation) key("variation");
  if (layout.has_version) key("version");
  key("log_id");
  key("partition");
  for (std::size_t i = 0; i < layout.value_count(); ++i) value(layout.values[i]);
  if (layout.has_keys) value("distinct_keys");
  columns.values.append(", position");
  columns.update.append("position = excluded.position");
  ++columns.count;
  return columns;
}

std::string upsert_sql(const TableLayout& layout) {
  const Columns columns = columns_of(layout);
  std::string places = "?";
  for (int i = 1; i < columns.count; ++i) places += ", ?";
  const std::string name(layout.name);
  return "INSERT INTO " + name + "(" + columns.key + columns.values + ") VALUES (" + places +
         ") ON CONFLICT(" + columns.key + ") DO UPDATE SET " + columns.update +
         " WHERE excluded.position > " + name + ".position";
}

}  // namespace

ResultsWriter::Probe::Probe(telemetry::Registry& registry)
    : transactions(registry, {"flagstream_analytics_results_transactions_total",
                              "Transactions committed to the results database.", ""}),
      rows_applied(registry, {"flagstream_analytics_results_rows_total",
                              "Rows offered to the results database: applied, or refused as not "
                              "newer (after a restart).",
                              "outcome=\"applied\""}),
      rows_refused(registry, {"flagstream_analytics_results_rows_total",
                              "Rows offered to the results database: applied, or refused as not "
                              "newer (after a restart).",
                              "outcome=\"refused\""}),
      rows_expired(registry, {"flagstream_analytics_results_rows_expired_total",
                              "Rows of minutes that were deleted for their age.", ""}) {}

ResultsWriter::ResultsWriter(sql::Database database, std::uint64_t generation,
                             telemetry::Registry& registry)
    : generation_(generation), probe_(registry), database_(std::move(database)) {}

Result<std::unique_ptr<ResultsWriter>> ResultsWriter::open(const std::string& path,
                                                           std::uint64_t generation,
                                                           telemetry::Registry& registry) {
  FS_TRY(auto database, sql::Database::open(path, {.durability = sql::Durability::Normal}));
  FS_TRY(database.migrate(results_migrations()));
  std::unique_ptr<ResultsWriter> writer(
      new ResultsWriter(std::move(database), generation, registry));
  FS_TRY(writer->prepare());
  return writer;
}

Result<void> ResultsWriter::prepare() {
  for (const TableLayout& layout : all_layouts()) {
    FS_TRY(auto statement, database_.prepare(upsert_sql(layout)));
    upserts_.push_back(std::move(statement));
  }
  FS_TRY(auto statement, database_.prepare("INSERT INTO published VALUES (?, ?, ?, ?) "
                                           "ON CONFLICT(generation, log_id, partition) DO UPDATE "
                                           "SET position = excluded.position "
                                           "WHERE excluded.position > published.position"));
  note_published_ = std::move(statement);
  // Readers of a new file see what its first writer makes.
  FS_TRY(auto first, database_.prepare("INSERT OR IGNORE INTO generations VALUES (1, ?)"));
  first.bind(1, generation_);
  return first.run();
}

Result<void> ResultsWriter::publish(const Publication& publication) {
  Waiting own{.publication = &publication, .outcome = {}};
  std::unique_lock lock(queue_mutex_);
  queue_.push_back(&own);
  while (!own.outcome) {
    if (is_writing_) {
      finished_.wait(lock);
      continue;
    }
    // This thread writes for all that wait; those that come meanwhile are the next batch.
    is_writing_ = true;
    const std::vector<Waiting*> batch = std::exchange(queue_, {});
    lock.unlock();
    const Result<void> outcome = write(batch);
    lock.lock();
    for (Waiting* const waiting : batch) waiting->outcome = outcome;
    is_writing_ = false;
    finished_.notify_all();
  }
  return *std::move(own.outcome);
}

Result<void> ResultsWriter::write(std::span<Waiting* const> batch) {
  const std::lock_guard lock(database_mutex_);
  FS_CRASH_POINT("analytics.before_results_write");
  FS_TRY(auto transaction, sql::Transaction::begin(database_));
  MicrosUtc oldest_minute = 0;
  for (const Waiting* const waiting : batch) {
    FS_TRY(write_one(*waiting->publication));
    oldest_minute = std::max(oldest_minute, waiting->publication->oldest_minute);
  }
  oldest_minute -= oldest_minute % kExpiryStep;
  if (oldest_minute > expired_before_) FS_TRY(expire(oldest_minute));
  FS_TRY(transaction.commit());
  expired_before_ = std::max(expired_before_, oldest_minute);
  FS_CRASH_POINT("analytics.after_results_write");
  probe_.transactions.add();
  return {};
}

Result<void> ResultsWriter::write_one(const Publication& publication) {
  const std::string log_id = publication.log_id.to_bytes();
  for (const ResultRow& row : publication.rows) FS_TRY(upsert(publication, log_id, row));
  note_published_->bind(1, generation_)
      .bind_blob(2, log_id)
      .bind(3, publication.partition)
      .bind(4, publication.position);
  return note_published_->run();
}

Result<void> ResultsWriter::upsert(const Publication& publication, const std::string& log_id,
                                   const ResultRow& row) {
  const TableLayout& layout = layout_of(row.table);
  sql::Statement& statement = upserts_[static_cast<std::size_t>(row.table) - 1];
  int at = 1;
  statement.bind(at++, generation_);
  if (layout.has_environment) statement.bind(at++, row.environment);
  if (row.table == Table::Progress) {
    statement.bind_blob(at++, row.text);
  } else if (!layout.text.empty()) {
    statement.bind(at++, std::string_view(row.text));
  }
  if (!layout.detail.empty()) statement.bind(at++, std::string_view(row.detail));
  if (layout.has_minute) statement.bind(at++, row.minute);
  if (layout.has_variation) statement.bind(at++, row.variation);
  if (layout.has_version) statement.bind(at++, row.version);
  statement.bind_blob(at++, log_id).bind(at++, publication.partition);
  for (std::size_t i = 0; i < layout.value_count(); ++i) statement.bind(at++, row.values[i]);
  if (layout.has_keys) statement.bind_blob(at++, row.keys);
  statement.bind(at++, row.position);
  FS_TRY(statement.run());
  (database_.changes() > 0 ? probe_.rows_applied : probe_.rows_refused).add();
  return {};
}

// Key by key, from the tables of totals: so that the rows are found by the primary keys.
Result<void> ResultsWriter::expire(MicrosUtc oldest_minute) {
  const auto run = [&](std::string_view keys_sql, std::string_view delete_sql,
                       bool has_flag) -> Result<void> {
    FS_TRY(auto keys, database_.prepare(keys_sql));
    FS_TRY(auto expired, database_.prepare(delete_sql));
    keys.bind(1, generation_);
    for (;;) {
      FS_TRY(const bool row, keys.step());
      if (!row) return {};
      expired.bind(1, generation_).bind(2, keys.integer(0)).bind(3, oldest_minute);
      if (has_flag) expired.bind(4, keys.text(1));
      FS_TRY(expired.run());
      probe_.rows_expired.add(static_cast<std::uint64_t>(database_.changes()));
    }
  };
  FS_TRY(run("SELECT DISTINCT environment, flag FROM evaluation_totals WHERE generation = ?",
             "DELETE FROM evaluations "
             "WHERE generation = ? AND environment = ? AND minute < ? AND flag = ?",
             true));
  return run("SELECT DISTINCT environment FROM custom_event_totals WHERE generation = ?",
             "DELETE FROM custom_events WHERE generation = ? AND environment = ? AND minute < ?",
             false);
}

Result<log::Offset> ResultsWriter::published(const Id128& log_id, log::Partition partition) {
  const std::lock_guard lock(database_mutex_);
  FS_TRY(auto statement,
         database_.prepare("SELECT position FROM published "
                           "WHERE generation = ? AND log_id = ? AND partition = ?"));
  statement.bind(1, generation_).bind_blob(2, log_id.to_bytes()).bind(3, partition);
  FS_TRY(const bool found, statement.step());
  return found ? static_cast<log::Offset>(statement.integer(0)) : 0;
}

Result<void> ResultsWriter::make_current() {
  const std::lock_guard lock(database_mutex_);
  FS_TRY(auto statement, database_.prepare("UPDATE generations SET current = ?"));
  statement.bind(1, generation_);
  return statement.run();
}

}  // namespace flagstream::analytics
