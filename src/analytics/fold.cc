#include "analytics/fold.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/hash.h"
#include "events/event.h"
#include "events/record.h"

namespace flagstream::analytics {
namespace {

namespace proto = events::proto;

constexpr std::string_view kMarkKey = "dm";
constexpr char kMarkVersion = 1;
constexpr std::size_t kMarkBytes = 1 + 3 * 8;
constexpr std::size_t kRepublishedRowsMax = 5'000;
constexpr std::size_t kRejectsSink = 0;
// The end of the year 9999: every sum of times below it fits.
constexpr MicrosUtc kTimeMax = 253'402'300'799'999'999;

constexpr MicrosUtc minute_of(MicrosUtc time) { return time - time % kMicrosPerMinute; }

// The hash of DistinctKeys: stored, so it is fixed.
std::uint64_t hash_of(std::uint64_t environment, const events::ContextKeyView& context,
                      std::string& buffer) {
  buffer.clear();
  append_be64(buffer, environment);
  buffer.append(context.kind).push_back('\0');
  buffer.append(context.key);
  return xxh3_128(buffer).low;
}

std::int64_t weight_of(const events::EventView& event) {
  // Of `ratio` such events the SDK sent one.
  return std::clamp<std::int64_t>(event.sampling_ratio.value_or(1), 1, kCountMax);
}

bool raise(std::int64_t& number, std::int64_t to) {
  if (to <= number) return false;
  number = to;
  return true;
}

void add(std::int64_t& number, std::int64_t count) { number = add_counts(number, count); }

}  // namespace

AnalyticsFold::AnalyticsFold(const pipeline::FoldPlace& place, const Limits& limits,
                             ResultsWriter& writer, Probe& probe)
    : partition_(place.partition),
      log_id_(place.input_log_id),
      store_(place.store),
      limits_(limits),
      writer_(writer),
      probe_(probe),
      panes_(place.store, probe.panes) {}

Result<std::unique_ptr<AnalyticsFold>> AnalyticsFold::open(const pipeline::FoldPlace& place,
                                                           const Limits& limits,
                                                           ResultsWriter& writer, Probe& probe) {
  std::unique_ptr<AnalyticsFold> fold(new AnalyticsFold(place, limits, writer, probe));
  FS_TRY(fold->restore());
  FS_TRY(fold->republish());
  return fold;
}

Result<void> AnalyticsFold::restore() {
  FS_TRY(const auto mark, store_.get(kMarkKey));
  if (!mark) return {};
  if (mark->size() < kMarkBytes || (*mark)[0] < kMarkVersion)
    return fail(ErrorKind::DataLoss, "analytics store: damaged mark");
  if ((*mark)[0] != kMarkVersion)
    return fail(ErrorKind::InvalidArgument, "analytics store: written by a newer flagstream");
  clock_ = get_le<MicrosUtc>(mark->data() + 1);
  changed_ = get_u64(mark->data() + 9);
  removed_before_ = get_le<MicrosUtc>(mark->data() + 17);
  FS_TRY(guard_, events::SourceGuard::decode(std::string_view(*mark).substr(kMarkBytes)));
  return {};
}

// A power loss takes the last commits from the results database, though not from the store; and
// somebody may have deleted the file.
Result<void> AnalyticsFold::republish() {
  FS_TRY(const log::Offset in_results, writer_.published(log_id_, partition_));
  published_ = changed_;
  if (in_results >= changed_) return {};
  const auto publish_rows = [&](log::Offset position, std::span<const ResultRow> rows) {
    probe_.republished_rows.add(rows.size());
    return writer_.publish(
        {.log_id = log_id_, .partition = partition_, .position = position, .rows = rows});
  };
  FS_TRY(panes_.visit_stored(
      in_results, kRepublishedRowsMax,
      [&](const std::vector<ResultRow>& rows) { return publish_rows(in_results, rows); }));
  return publish_rows(changed_, {});
}

Result<void> AnalyticsFold::fold(const pipeline::RecordPlace& place, std::string_view record,
                                 pipeline::Outputs& outputs) {
  const auto kind = events::record_kind(record);
  if (kind == events::RecordKind::Tick) {
    probe_.ticks.add();
    return {};
  }
  if (kind != events::RecordKind::Event) {
    probe_.unknown_kinds.add();
    return {};
  }
  FS_TRY(const events::EventView* const read, reader_.read(record));
  const events::EventView& event = *read;
  const auto source_log = Id128::from_bytes(event.source.log_id);
  const bool is_received = event.received_us > 0 && event.received_us <= kTimeMax;
  if (!source_log || event.environment_id == 0 || !is_received) {
    reject(place, record, "bad_record", 1, outputs);
    return {};
  }
  const events::SourcePosition source{
      .offset = event.source.offset, .index = event.source.index, .part = event.source.part};
  if (!guard_.take(*source_log, source)) {
    probe_.repeats.add();
    return {};
  }
  position_ = place.offset + 1;
  clock_ = std::max(clock_, event.received_us);
  time_ = time_of(event);
  return count(event);
}

Result<void> AnalyticsFold::pass_over(const pipeline::RecordPlace& place, std::string_view record,
                                      pipeline::Outputs& outputs) {
  reject(place, record, "crash", 3, outputs);
  return {};
}

void AnalyticsFold::reject(const pipeline::RecordPlace& place, std::string_view record,
                           std::string_view reason, std::uint32_t tries,
                           pipeline::Outputs& outputs) {
  probe_.rejected.add();
  proto::Reject reject;
  reject.mutable_source()->set_log_id(place.log_id.to_bytes());
  reject.mutable_source()->set_offset(place.offset);
  reject.set_stage("analytics");
  reject.set_reason(reason.data(), reason.size());
  reject.set_tries(tries);
  reject.set_received_us(place.append_time);
  reject.set_record(record.data(), record.size());
  std::string out;
  events::encode_reject(reject, out);
  outputs.add(kRejectsSink, out);
}

Result<void> AnalyticsFold::count(const events::EventView& event) {
  switch (event.kind) {
    case proto::SUMMARY:
      probe_.counted.add();
      FS_TRY(count_evaluations(event));
      return count_contexts(event);
    case proto::CUSTOM:
      probe_.counted.add();
      FS_TRY(count_custom(event));
      return count_contexts(event);
    case proto::INDEX:
    case proto::IDENTIFY:
    case proto::FEATURE:
    case proto::CLICK:
    case proto::PAGEVIEW:
    case proto::MIGRATION_OP:
      probe_.counted.add();
      return count_contexts(event);
    case proto::PAYLOAD:
      probe_.counted.add();
      FS_TRY(count_payload(event));
      FS_TRY(count_sdk(event));
      return note_progress(event);
    default:
      // Debug copies, diagnostics, aliases, and kinds of a later release.
      probe_.not_counted.add();
      return {};
  }
}

MicrosUtc AnalyticsFold::oldest_minute() const {
  return minute_of(std::max<MicrosUtc>(clock_ - kMinutesKept, 0));
}

MicrosUtc AnalyticsFold::time_of(const events::EventView& event) const {
  const MicrosUtc received = event.received_us;
  MicrosUtc time = event.time_us;
  if (time < received - kLatenessMax || time > received + kAheadMax || time < 0) {
    probe_.moved_to_receipt.add();
    time = received;
  }
  // A received time so far behind the partition's others that the store has dropped its minutes.
  return time < oldest_minute() ? clock_ : time;
}

Result<KeyedEntry*> AnalyticsFold::admit(Pane& pane, std::string_view key,
                                         std::uint64_t entries_max) {
  FS_TRY(KeyedEntry * entry, panes_.find(pane, key));
  if (entry != nullptr || pane.size >= entries_max) return entry;
  return &panes_.insert(pane, key);
}

Result<bool> AnalyticsFold::try_add(const Counted& counted, const events::EventView& event,
                                    std::int64_t count, bool is_bounded) {
  constexpr std::uint64_t kUnbounded = ~std::uint64_t{0};
  const MicrosUtc minute = minute_of(time_);
  const PaneId minute_id{counted.minutes, minute, event.environment_id};
  FS_TRY(Pane * minutes, panes_.pane(minute_id));
  FS_TRY(KeyedEntry * in_minute, panes_.find(*minutes, minute_key_));
  const bool is_full = is_bounded && minutes->size >= counted.minute_rows_max;
  if (in_minute == nullptr && is_full) return false;

  FS_TRY(Pane * totals, panes_.pane({counted.totals, 0, event.environment_id}));
  FS_TRY(KeyedEntry * total,
         admit(*totals, total_key_, is_bounded ? counted.total_rows_max : kUnbounded));
  if (total == nullptr) return false;
  if (in_minute == nullptr) in_minute = &panes_.insert(*minutes, minute_key_);

  add(in_minute->second.value.numbers[0], count);
  panes_.changed(*minutes, *in_minute, position_);
  auto& [ever, first, last, unused_a, unused_b] = total->second.value.numbers;
  first = ever == 0 ? minute : std::min(first, minute);
  raise(last, minute);
  add(ever, count);
  panes_.changed(*totals, *total, position_);
  changed_ = position_;
  return true;
}

Result<void> AnalyticsFold::count_evaluations(const events::EventView& event) {
  const std::int64_t count = std::min(event.count, kCountMax);
  if (count <= 0) return {};
  const Counted counted{.minutes = Table::Evaluations,
                        .totals = Table::EvaluationTotals,
                        .minute_rows_max = limits_.minute_rows_max,
                        .total_rows_max = limits_.flag_rows_max,
                        .overflow = probe_.flag_overflow};
  const std::int64_t variation = event.variation ? *event.variation : kNone;
  const std::int64_t version = event.unknown_flag ? kNone : event.version.value_or(kNone);
  if (event.key.size() <= limits_.key_bytes_max) {
    encode_evaluation_key(variation, version, event.key, minute_key_);
    encode_total_key(variation, event.key, total_key_);
    FS_TRY(const bool is_added, try_add(counted, event, count, true));
    if (is_added) return {};
  }
  counted.overflow.add();
  encode_evaluation_key(kNone, kNone, "", minute_key_);
  encode_total_key(kNone, "", total_key_);
  FS_TRY(try_add(counted, event, count, false));
  return {};
}

Result<void> AnalyticsFold::count_custom(const events::EventView& event) {
  const Counted counted{.minutes = Table::CustomEvents,
                        .totals = Table::CustomEventTotals,
                        .minute_rows_max = limits_.custom_minute_max,
                        .total_rows_max = limits_.custom_keys_max,
                        .overflow = probe_.custom_overflow};
  if (event.key.size() <= limits_.key_bytes_max) {
    minute_key_ = total_key_ = event.key;
    FS_TRY(const bool is_added, try_add(counted, event, weight_of(event), true));
    if (is_added) return {};
  }
  counted.overflow.add();
  minute_key_.clear();
  total_key_.clear();
  FS_TRY(try_add(counted, event, weight_of(event), false));
  return {};
}

Result<AnalyticsFold::Counting> AnalyticsFold::count_context(Pane& pane, std::uint64_t environment,
                                                             const events::ContextKeyView& context,
                                                             SeenContext& seen) {
  const bool is_kind_seen =
      seen.entry != nullptr && seen.environment == environment && seen.kind == context.kind;
  if (is_kind_seen && seen.key == context.key) return Counting{.entry = seen.entry};
  KeyedEntry* entry = is_kind_seen ? seen.entry : nullptr;
  if (entry == nullptr && context.kind.size() <= limits_.key_bytes_max) {
    FS_TRY(entry, admit(pane, context.kind, limits_.context_kinds_max));
  }
  seen.entry = entry;
  if (entry == nullptr) {
    probe_.kind_overflow.add();
    FS_TRY(entry, admit(pane, "", ~std::uint64_t{0}));
  } else {
    seen.environment = environment;
    seen.kind = context.kind;
    seen.key = context.key;
  }
  const std::uint64_t hash = hash_of(environment, context, total_key_);
  return Counting{.entry = entry, .is_new = entry->second.value.keys->add(hash)};
}

Result<void> AnalyticsFold::count_contexts(const events::EventView& event) {
  if (event.contexts.empty()) return {};
  FS_TRY(Pane * pane, panes_.pane({Table::ContextKinds, 0, event.environment_id}));
  for (std::size_t i = 0; i < event.contexts.size(); ++i) {
    FS_TRY(const auto counting,
           count_context(*pane, event.environment_id, event.contexts[i], seen_[i % seen_.size()]));
    KeyedEntry* const entry = counting.entry;
    Value& value = entry->second.value;
    auto& [first, last, unused_a, unused_b, unused_c] = value.numbers;
    const bool is_first = value.position == 0;
    bool is_changed = counting.is_new;
    if (is_first || time_ < first) {
      first = time_;
      is_changed = true;
    }
    is_changed |= raise(last, time_);
    if (!is_changed) continue;
    panes_.changed(*pane, *entry, position_);
    changed_ = position_;
  }
  return {};
}

Result<void> AnalyticsFold::count_payload(const events::EventView& event) {
  FS_TRY(Pane * pane, panes_.pane({Table::Payloads, 0, event.environment_id}));
  FS_TRY(KeyedEntry * entry, admit(*pane, "", 1));
  auto& [accepted, duplicate, rejected, events, events_rejected] = entry->second.value.numbers;
  switch (event.outcome) {
    case proto::Event::ACCEPTED:
      add(accepted, 1);
      add(events, event.events_accepted);
      break;
    case proto::Event::DUPLICATE:
      add(duplicate, 1);
      break;
    default:
      add(rejected, 1);
      break;
  }
  if (event.outcome != proto::Event::DUPLICATE) add(events_rejected, event.events_rejected);
  panes_.changed(*pane, *entry, position_);
  changed_ = position_;
  return {};
}

Result<void> AnalyticsFold::count_sdk(const events::EventView& event) {
  if (event.sdk_name.empty()) return {};
  FS_TRY(Pane * pane, panes_.pane({Table::Sdks, 0, event.environment_id}));
  KeyedEntry* entry = nullptr;
  if (event.sdk_name.size() <= limits_.key_bytes_max &&
      event.sdk_version.size() <= limits_.key_bytes_max) {
    encode_sdk_key(event.sdk_name, event.sdk_version, total_key_);
    FS_TRY(entry, admit(*pane, total_key_, limits_.sdks_max));
  }
  if (entry == nullptr) {
    probe_.sdk_overflow.add();
    encode_sdk_key("", "", total_key_);
    FS_TRY(entry, admit(*pane, total_key_, ~std::uint64_t{0}));
  }
  if (!raise(entry->second.value.numbers[0], event.received_us)) return {};
  panes_.changed(*pane, *entry, position_);
  changed_ = position_;
  return {};
}

Result<void> AnalyticsFold::note_progress(const events::EventView& event) {
  FS_TRY(Pane * pane, panes_.pane({Table::Progress, 0, 0}));
  FS_TRY(KeyedEntry * entry, admit(*pane, event.source.log_id, ~std::uint64_t{0}));
  auto& [next_offset, received, unused_a, unused_b, unused_c] = entry->second.value.numbers;
  next_offset = static_cast<std::int64_t>(event.source.offset) + 1;
  received = event.received_us;
  panes_.changed(*pane, *entry, position_);
  changed_ = position_;
  return {};
}

void AnalyticsFold::lost(log::Offset begin, log::Offset end) { gaps_.emplace_back(begin, end); }

Result<void> AnalyticsFold::note_gaps() {
  for (const auto& [begin, end] : gaps_) {
    FS_TRY(Pane * pane, panes_.pane({Table::Gaps, 0, 0}));
    FS_TRY(KeyedEntry * entry, admit(*pane, std::to_string(begin), ~std::uint64_t{0}));
    entry->second.value.numbers = {static_cast<std::int64_t>(end), clock_};
    changed_ = std::max(changed_, end);
    panes_.changed(*pane, *entry, end);
  }
  gaps_.clear();
  return {};
}

Result<void> AnalyticsFold::publish() {
  FS_TRY(note_gaps());
  if (changed_ == published_) return {};
  FS_TRY(const auto rows, panes_.unpublished());
  FS_TRY(writer_.publish({.log_id = log_id_,
                          .partition = partition_,
                          .position = changed_,
                          .rows = rows,
                          .oldest_minute = oldest_minute()}));
  panes_.published();
  published_ = changed_;
  return {};
}

void AnalyticsFold::checkpoint(pipeline::Changes& changes) {
  // By hours: each removal costs the store a mark that its reads must heed.
  const MicrosUtc oldest = oldest_minute() - oldest_minute() % kMicrosPerHour;
  if (oldest > removed_before_) {
    for (const TableLayout& layout : all_layouts()) {
      if (!layout.has_minute) continue;
      changes.remove_range(table_prefix(layout.table),
                           pane_prefix({.table = layout.table, .minute = oldest}));
    }
    removed_before_ = oldest;
  }
  panes_.checkpoint(changes);

  std::string mark(1, kMarkVersion);
  append_le(mark, clock_);
  append_le(mark, changed_);
  append_le(mark, removed_before_);
  mark += guard_.encode();
  changes.put(kMarkKey, mark);
}

void AnalyticsFold::checkpointed() {
  for (SeenContext& seen : seen_) seen.entry = nullptr;  // it may leave RAM now
  panes_.checkpointed(limits_.entries_in_memory, removed_before_);
}

}  // namespace flagstream::analytics
