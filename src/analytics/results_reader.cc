#include "analytics/results_reader.h"

#include <algorithm>
#include <utility>

#include "analytics/distinct_keys.h"
#include "analytics/results_schema.h"
#include "sql/database.h"

namespace flagstream::analytics {
namespace {

// Every query names the generation in itself, so that it sees one even while the pointer moves.
constexpr std::string_view kOfCurrent =
    " WHERE generation = (SELECT current FROM generations WHERE only = 1)";

std::string query(std::string_view what, std::string_view table, std::string_view rest) {
  std::string sql = "SELECT ";
  sql.append(what).append(" FROM ").append(table).append(kOfCurrent).append(rest);
  return sql;
}

std::optional<std::int32_t> variation_of(std::int64_t column) {
  if (column == kNone) return std::nullopt;
  return static_cast<std::int32_t>(column);
}

std::optional<std::int64_t> version_of(std::int64_t column) {
  if (column == kNone) return std::nullopt;
  return column;
}

std::uint64_t add_totals(std::uint64_t total, std::int64_t count) {
  return static_cast<std::uint64_t>(add_counts(static_cast<std::int64_t>(total), count));
}

}  // namespace

struct ResultsReader::State {
  std::string path;
  std::optional<sql::Database> database;

  // False: there are no results yet.
  Result<bool> connect();
  // nullopt: there are no results yet.
  Result<std::optional<sql::Statement>> prepare(const std::string& sql);
  Result<std::optional<MicrosUtc>> one_time(std::string_view what, EnvironmentId environment);
};

Result<bool> ResultsReader::State::connect() {
  if (database) return true;
  auto opened = sql::Database::open(path, {.mode = sql::Mode::ReadOnly});
  if (!opened && opened.error().kind == ErrorKind::NotFound) return false;
  if (!opened) return fail(std::move(opened).error());
  std::int64_t version = 0;
  {
    FS_TRY(auto statement, opened->prepare("PRAGMA user_version"));
    FS_TRY(statement.step());
    version = statement.integer(0);
  }
  // The writer has made the file, but not yet its tables.
  if (version == 0) return false;
  const auto known = static_cast<std::int64_t>(results_migrations().size());
  if (version > known) {
    return fail(ErrorKind::Conflict, "the results database has schema version " +
                                         std::to_string(version) + ", this program knows up to " +
                                         std::to_string(known) + ": start a newer flagstream");
  }
  if (version < known) return false;  // the writer is about to bring it up to date
  database = *std::move(opened);
  return true;
}

Result<std::optional<sql::Statement>> ResultsReader::State::prepare(const std::string& sql) {
  FS_TRY(const bool connected, connect());
  if (!connected) return std::nullopt;
  FS_TRY(auto statement, database->prepare(sql));
  return std::optional<sql::Statement>(std::move(statement));
}

Result<std::optional<MicrosUtc>> ResultsReader::State::one_time(std::string_view what,
                                                                EnvironmentId environment) {
  FS_TRY(auto statement, prepare(query(what, "evaluation_totals", " AND environment = ?")));
  if (!statement) return std::nullopt;
  statement->bind(1, to_number(environment));
  FS_TRY(const bool found, statement->step());
  if (!found || statement->is_null(0)) return std::nullopt;
  return statement->integer(0);
}

ResultsReader::ResultsReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
ResultsReader::~ResultsReader() = default;

Result<std::unique_ptr<ResultsReader>> ResultsReader::open(const std::string& path) {
  auto state = std::make_unique<State>();
  state->path = path;
  FS_TRY(state->connect());
  return std::unique_ptr<ResultsReader>(new ResultsReader(std::move(state)));
}

Result<std::vector<EvaluationPoint>> ResultsReader::evaluations(EnvironmentId environment,
                                                                std::string_view flag,
                                                                MicrosUtc from, MicrosUtc to) {
  std::vector<EvaluationPoint> points;
  FS_TRY(auto statement,
         state_->prepare(query("minute, variation, version, count", "evaluations",
                               " AND environment = ? AND flag = ? AND minute >= ? AND minute < ?"
                               " ORDER BY minute, variation, version")));
  if (!statement) return points;
  statement->bind(1, to_number(environment)).bind(2, flag).bind(3, from).bind(4, to);
  for (;;) {
    FS_TRY(const bool row, statement->step());
    if (!row) return points;
    const EvaluationPoint point{.minute = statement->integer(0),
                                .variation = variation_of(statement->integer(1)),
                                .version = version_of(statement->integer(2)),
                                .count = statement->integer(3)};
    const bool is_same = !points.empty() && points.back().minute == point.minute &&
                         points.back().variation == point.variation &&
                         points.back().version == point.version;
    if (is_same) {
      points.back().count = add_counts(points.back().count, point.count);
    } else {
      points.push_back(point);
    }
  }
}

Result<ResultsReader::Totals> ResultsReader::evaluation_totals(EnvironmentId environment) {
  Totals totals;
  FS_TRY(auto statement, state_->prepare(query("flag, variation, count", "evaluation_totals",
                                               " AND environment = ?")));
  if (!statement) return totals;
  statement->bind(1, to_number(environment));
  for (;;) {
    FS_TRY(const bool row, statement->step());
    if (!row) return totals;
    std::int64_t& count =
        totals[std::string(statement->text(0))][variation_of(statement->integer(1))];
    count = add_counts(count, statement->integer(2));
  }
}

Result<std::optional<MicrosUtc>> ResultsReader::newest_minute(EnvironmentId environment) {
  return state_->one_time("max(last_minute)", environment);
}

Result<std::optional<MicrosUtc>> ResultsReader::first_evaluation(EnvironmentId environment) {
  return state_->one_time("min(first_minute)", environment);
}

Result<std::vector<SdkSeen>> ResultsReader::sdks(EnvironmentId environment) {
  std::vector<SdkSeen> sdks;
  FS_TRY(auto statement,
         state_->prepare(query("name, version, max(last_seen)", "sdks",
                               " AND environment = ? GROUP BY name, version ORDER BY 1, 2")));
  if (!statement) return sdks;
  statement->bind(1, to_number(environment));
  for (;;) {
    FS_TRY(const bool row, statement->step());
    if (!row) return sdks;
    sdks.push_back({.name = std::string(statement->text(0)),
                    .version = std::string(statement->text(1)),
                    .last_seen = statement->integer(2)});
  }
}

Result<std::vector<ContextKindSeen>> ResultsReader::context_kinds(EnvironmentId environment) {
  std::vector<ContextKindSeen> kinds;
  FS_TRY(auto statement,
         state_->prepare(query("kind, first_seen, last_seen, distinct_keys", "context_kinds",
                               " AND environment = ? ORDER BY kind")));
  if (!statement) return kinds;
  statement->bind(1, to_number(environment));
  DistinctKeys keys;
  for (;;) {
    FS_TRY(const bool row, statement->step());
    if (!row) return kinds;
    const std::string_view kind = statement->text(0);
    const MicrosUtc first = statement->integer(1);
    const MicrosUtc last = statement->integer(2);
    if (kinds.empty() || kinds.back().kind != kind) {
      kinds.push_back({.kind = std::string(kind), .first_seen = first, .last_seen = last});
      keys = {};
    }
    ContextKindSeen& seen = kinds.back();
    FS_TRY(const auto more, DistinctKeys::decode(statement->text(3)));
    keys.merge(more);
    seen.contexts = keys.estimate();
    seen.first_seen = std::min(seen.first_seen, first);
    seen.last_seen = std::max(seen.last_seen, last);
  }
}

Result<std::vector<CustomEventPoint>> ResultsReader::custom_events(EnvironmentId environment,
                                                                   MicrosUtc from, MicrosUtc to) {
  std::vector<CustomEventPoint> points;
  FS_TRY(auto statement, state_->prepare(query("minute, event_key, count", "custom_events",
                                               " AND environment = ? AND minute >= ? AND minute < ?"
                                               " ORDER BY minute, event_key")));
  if (!statement) return points;
  statement->bind(1, to_number(environment)).bind(2, from).bind(3, to);
  for (;;) {
    FS_TRY(const bool row, statement->step());
    if (!row) return points;
    const MicrosUtc minute = statement->integer(0);
    const std::string_view key = statement->text(1);
    const std::int64_t count = statement->integer(2);
    if (!points.empty() && points.back().minute == minute && points.back().key == key) {
      points.back().count = add_counts(points.back().count, count);
    } else {
      points.push_back({.minute = minute, .key = std::string(key), .count = count});
    }
  }
}

Result<PayloadTotals> ResultsReader::payloads(EnvironmentId environment) {
  PayloadTotals totals;
  FS_TRY(auto statement,
         state_->prepare(query("accepted, duplicate, rejected, events, events_rejected", "payloads",
                               " AND environment = ?")));
  if (!statement) return totals;
  statement->bind(1, to_number(environment));
  for (;;) {
    FS_TRY(const bool row, statement->step());
    if (!row) return totals;
    totals.accepted = add_totals(totals.accepted, statement->integer(0));
    totals.duplicate = add_totals(totals.duplicate, statement->integer(1));
    totals.rejected = add_totals(totals.rejected, statement->integer(2));
    totals.events = add_totals(totals.events, statement->integer(3));
    totals.events_rejected = add_totals(totals.events_rejected, statement->integer(4));
  }
}

Result<std::vector<Progress>> ResultsReader::progress() {
  std::vector<Progress> all;
  // One log of `payloads` may have been read through several of `events`.
  FS_TRY(auto statement,
         state_->prepare(query("payloads_log_id, partition, max(next_offset), max(received)",
                               "progress", " GROUP BY payloads_log_id, partition ORDER BY 1, 2")));
  if (!statement) return all;
  for (;;) {
    FS_TRY(const bool row, statement->step());
    if (!row) return all;
    const auto log_id = Id128::from_bytes(statement->text(0));
    if (!log_id) return fail(ErrorKind::DataLoss, "results database: a log id that is none");
    all.push_back({.payloads_log_id = *log_id,
                   .partition = static_cast<log::Partition>(statement->integer(1)),
                   .next_offset = static_cast<log::Offset>(statement->integer(2)),
                   .received = statement->integer(3)});
  }
}

Result<std::vector<Gap>> ResultsReader::gaps() {
  std::vector<Gap> all;
  FS_TRY(auto statement,
         state_->prepare(query("log_id, partition, first_offset, end_offset, received_before",
                               "gaps", " ORDER BY log_id, partition, first_offset")));
  if (!statement) return all;
  for (;;) {
    FS_TRY(const bool row, statement->step());
    if (!row) return all;
    const auto log_id = Id128::from_bytes(statement->text(0));
    if (!log_id) return fail(ErrorKind::DataLoss, "results database: a log id that is none");
    all.push_back({.events_log_id = *log_id,
                   .partition = static_cast<log::Partition>(statement->integer(1)),
                   .begin = static_cast<log::Offset>(statement->integer(2)),
                   .end = static_cast<log::Offset>(statement->integer(3)),
                   .received_before = statement->integer(4)});
  }
}

Result<std::uint64_t> ResultsReader::change_counter() {
  FS_TRY(auto statement, state_->prepare("PRAGMA data_version"));
  if (!statement) return 0;
  FS_TRY(statement->step());
  // Never the 0 of a file that is not there.
  return static_cast<std::uint64_t>(statement->integer(0)) + 1;
}

}  // namespace flagstream::analytics
