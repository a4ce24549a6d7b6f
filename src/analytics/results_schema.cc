#include "analytics/results_schema.h"

#include <algorithm>

namespace flagstream::analytics {
namespace {

constexpr std::array<TableLayout, kTables> kLayouts = {{
    {.table = Table::Evaluations,
     .name = "evaluations",
     .text = "flag",
     .has_minute = true,
     .has_variation = true,
     .has_version = true,
     .values = {"count"}},
    {.table = Table::EvaluationTotals,
     .name = "evaluation_totals",
     .text = "flag",
     .has_variation = true,
     .values = {"count", "first_minute", "last_minute"}},
    {.table = Table::CustomEvents,
     .name = "custom_events",
     .text = "event_key",
     .has_minute = true,
     .values = {"count"}},
    {.table = Table::CustomEventTotals,
     .name = "custom_event_totals",
     .text = "event_key",
     .values = {"count", "first_minute", "last_minute"}},
    {.table = Table::ContextKinds,
     .name = "context_kinds",
     .text = "kind",
     .values = {"first_seen", "last_seen"},
     .has_keys = true},
    {.table = Table::Sdks,
     .name = "sdks",
     .text = "name",
     .detail = "version",
     .values = {"last_seen"}},
    {.table = Table::Payloads,
     .name = "payloads",
     .values = {"accepted", "duplicate", "rejected", "events", "events_rejected"}},
    {.table = Table::Progress,
     .name = "progress",
     .has_environment = false,
     .text = "payloads_log_id",
     .values = {"next_offset", "received"}},
    {.table = Table::Gaps,
     .name = "gaps",
     .has_environment = false,
     .text = "first_offset",
     .values = {"end_offset", "received_before"}},
}};

constexpr std::array<std::string_view, 1> kMigrations = {R"sql(
PRAGMA application_id = 0x46535253;

CREATE TABLE generations(
  only INTEGER PRIMARY KEY CHECK (only = 1),
  current INTEGER NOT NULL);

CREATE TABLE published(
  generation INTEGER NOT NULL, log_id BLOB NOT NULL, partition INTEGER NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (generation, log_id, partition)) WITHOUT ROWID;

CREATE TABLE evaluations(
  generation INTEGER NOT NULL, environment INTEGER NOT NULL, flag TEXT NOT NULL,
  minute INTEGER NOT NULL, variation INTEGER NOT NULL, version INTEGER NOT NULL,
  log_id BLOB NOT NULL, partition INTEGER NOT NULL,
  count INTEGER NOT NULL, position INTEGER NOT NULL,
  PRIMARY KEY (generation, environment, flag, minute, variation, version, log_id, partition)
) WITHOUT ROWID;

CREATE TABLE evaluation_totals(
  generation INTEGER NOT NULL, environment INTEGER NOT NULL, flag TEXT NOT NULL,
  variation INTEGER NOT NULL, log_id BLOB NOT NULL, partition INTEGER NOT NULL,
  count INTEGER NOT NULL, first_minute INTEGER NOT NULL, last_minute INTEGER NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (generation, environment, flag, variation, log_id, partition)) WITHOUT ROWID;

CREATE TABLE custom_events(
  generation INTEGER NOT NULL, environment INTEGER NOT NULL, event_key TEXT NOT NULL,
  minute INTEGER NOT NULL, log_id BLOB NOT NULL, partition INTEGER NOT NULL,
  count INTEGER NOT NULL, position INTEGER NOT NULL,
  PRIMARY KEY (generation, environment, minute, event_key, log_id, partition)) WITHOUT ROWID;

CREATE TABLE custom_event_totals(
  generation INTEGER NOT NULL, environment INTEGER NOT NULL, event_key TEXT NOT NULL,
  log_id BLOB NOT NULL, partition INTEGER NOT NULL,
  count INTEGER NOT NULL, first_minute INTEGER NOT NULL, last_minute INTEGER NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (generation, environment, event_key, log_id, partition)) WITHOUT ROWID;

CREATE TABLE context_kinds(
  generation INTEGER NOT NULL, environment INTEGER NOT NULL, kind TEXT NOT NULL,
  log_id BLOB NOT NULL, partition INTEGER NOT NULL,
  first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL, distinct_keys BLOB NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (generation, environment, kind, log_id, partition)) WITHOUT ROWID;

CREATE TABLE sdks(
  generation INTEGER NOT NULL, environment INTEGER NOT NULL, name TEXT NOT NULL,
  version TEXT NOT NULL, log_id BLOB NOT NULL, partition INTEGER NOT NULL,
  last_seen INTEGER NOT NULL, position INTEGER NOT NULL,
  PRIMARY KEY (generation, environment, name, version, log_id, partition)) WITHOUT ROWID;

CREATE TABLE payloads(
  generation INTEGER NOT NULL, environment INTEGER NOT NULL,
  log_id BLOB NOT NULL, partition INTEGER NOT NULL,
  accepted INTEGER NOT NULL, duplicate INTEGER NOT NULL, rejected INTEGER NOT NULL,
  events INTEGER NOT NULL, events_rejected INTEGER NOT NULL, position INTEGER NOT NULL,
  PRIMARY KEY (generation, environment, log_id, partition)) WITHOUT ROWID;

CREATE TABLE progress(
  generation INTEGER NOT NULL, payloads_log_id BLOB NOT NULL,
  log_id BLOB NOT NULL, partition INTEGER NOT NULL,
  next_offset INTEGER NOT NULL, received INTEGER NOT NULL, position INTEGER NOT NULL,
  PRIMARY KEY (generation, payloads_log_id, log_id, partition)) WITHOUT ROWID;

CREATE TABLE gaps(
  generation INTEGER NOT NULL, first_offset INTEGER NOT NULL,
  log_id BLOB NOT NULL, partition INTEGER NOT NULL,
  end_offset INTEGER NOT NULL, received_before INTEGER NOT NULL, position INTEGER NOT NULL,
  PRIMARY KEY (generation, log_id, partition, first_offset)) WITHOUT ROWID;
)sql"};

}  // namespace

std::size_t TableLayout::value_count() const {
  const auto used = [](std::string_view column) { return !column.empty(); };
  return static_cast<std::size_t>(std::count_if(values.begin(), values.end(), used));
}

const TableLayout& layout_of(Table table) { return kLayouts[static_cast<std::size_t>(table) - 1]; }

std::span<const TableLayout> all_layouts() { return kLayouts; }

std::span<const std::string_view> results_migrations() { return kMigrations; }

}  // namespace flagstream::analytics
