#include "analytics/panes.h"

#include <algorithm>
#include <utility>

#include "analytics/probe.h"
#include "base/assert.h"
#include "base/bytes.h"

namespace flagstream::analytics {
namespace {

// What an entry takes in RAM beside its key and value: a checkpoint is what lets it leave.
constexpr std::size_t kEntryOverheadBytes = 160;

std::string header_key(const PaneId& id) { return pane_prefix(id) + 'h'; }
std::string entry_key(const PaneId& id, std::string_view key) {
  return (pane_prefix(id) + 'e').append(key);
}

std::size_t bytes_of(const PaneId& id, const KeyedEntry& entry) {
  const Value& value = entry.second.value;
  return kEntryOverheadBytes + entry.first.size() + 8 * (1 + layout_of(id.table).value_count()) +
         (value.keys ? value.keys->encoded_bytes() : 0);
}

}  // namespace

Panes::Panes(const pipeline::Store& store, PanesProbe& probe) : store_(store), probe_(probe) {}
Panes::~Panes() { count_entries(0); }

void Panes::count_entries(std::size_t entries) {
  probe_.entries.add(static_cast<double>(entries) - static_cast<double>(entries_));
  entries_ = entries;
}

Result<Pane*> Panes::pane(const PaneId& id) {
  Pane*& last = last_used_[static_cast<std::size_t>(id.table) - 1];
  if (last != nullptr && last->id == id) return last;
  auto at = panes_.find(id);
  if (at == panes_.end()) {
    FS_TRY(const auto header, store_.get(header_key(id)));
    auto pane = std::make_unique<Pane>();
    pane->id = id;
    if (header) {
      if (header->size() != 8)
        return fail(ErrorKind::DataLoss, "analytics store: damaged header of a pane");
      pane->size = get_u64(header->data());
      pane->is_whole = false;
      probe_.loads.add();
    }
    at = panes_.emplace(id, std::move(pane)).first;
  }
  last = at->second.get();
  last->last_use = ++uses_;
  return last;
}

Result<KeyedEntry*> Panes::find(Pane& pane, std::string_view key) {
  const auto at = pane.entries.find(key);
  if (at != pane.entries.end()) return &*at;
  if (pane.is_whole) return nullptr;
  FS_TRY(const auto stored, store_.get(entry_key(pane.id, key)));
  if (!stored) return nullptr;
  FS_TRY(auto value, decode_value(pane.id.table, *stored));
  Entry entry;
  entry.value = std::move(value);
  count_entries(entries_ + 1);
  return &*pane.entries.emplace(std::string(key), std::move(entry)).first;
}

KeyedEntry& Panes::insert(Pane& pane, std::string_view key) {
  const auto [at, is_new] = pane.entries.try_emplace(std::string(key));
  FS_ASSERT(is_new, "an entry is inserted once");
  if (layout_of(pane.id.table).has_keys) at->second.value.keys = std::make_unique<DistinctKeys>();
  ++pane.size;
  pane.is_header_unsaved = true;
  count_entries(entries_ + 1);
  return *at;
}

void Panes::changed(Pane& pane, KeyedEntry& entry, log::Offset position) {
  entry.second.value.position = position;
  if (!entry.second.is_unpublished) {
    entry.second.is_unpublished = true;
    unpublished_.push_back({&pane, &entry});
    ++pane.pins;
  }
  if (!entry.second.is_unsaved) {
    entry.second.is_unsaved = true;
    unsaved_.push_back({&pane, &entry});
    ++pane.pins;
    dirty_bytes_ += bytes_of(pane.id, entry);
  }
}

Result<std::vector<ResultRow>> Panes::unpublished() const {
  std::vector<ResultRow> rows;
  rows.reserve(unpublished_.size());
  for (const auto& [pane, entry] : unpublished_) {
    FS_TRY(auto row, row_of(pane->id, entry->first, entry->second.value));
    rows.push_back(std::move(row));
  }
  return rows;
}

void Panes::published() {
  for (const auto& [pane, entry] : unpublished_) {
    entry->second.is_unpublished = false;
    --pane->pins;
  }
  unpublished_.clear();
}

Result<void> Panes::visit_stored(
    log::Offset position, std::size_t rows_max,
    const std::function<Result<void>(const std::vector<ResultRow>& rows)>& visit) const {
  std::vector<ResultRow> rows;
  const auto take = [&](std::string_view stored_key, std::string_view bytes) -> Result<void> {
    FS_TRY(const auto stored, parse_stored_key(stored_key));
    if (stored.is_header) return {};
    FS_TRY(const auto value, decode_value(stored.pane.table, bytes));
    if (value.position <= position) return {};
    FS_TRY(auto row, row_of(stored.pane, stored.key, value));
    rows.push_back(std::move(row));
    if (rows.size() < rows_max) return {};
    FS_TRY(visit(rows));
    rows.clear();
    return {};
  };
  Result<void> outcome;
  for (std::size_t table = 1; table <= kTables && outcome; ++table) {
    FS_TRY(store_.scan(table_prefix(static_cast<Table>(table)),
                       [&](std::string_view key, std::string_view bytes) {
                         outcome = take(key, bytes);
                         return outcome.has_value();
                       }));
  }
  FS_TRY(outcome);
  if (rows.empty()) return {};
  return visit(rows);
}

void Panes::checkpoint(pipeline::Changes& changes) {
  FS_ASSERT(being_saved_.empty(), "one checkpoint is open at a time");
  for (const auto& [pane, entry] : unsaved_) {
    entry->second.is_unsaved = false;
    changes.put(entry_key(pane->id, entry->first),
                encode_value(pane->id.table, entry->second.value));
    being_saved_.push_back(pane);  // takes over the pin
    if (!pane->is_header_unsaved) continue;
    pane->is_header_unsaved = false;
    std::string size;
    append_le(size, pane->size);
    changes.put(header_key(pane->id), size);
  }
  unsaved_.clear();
  dirty_bytes_ = 0;
}

void Panes::drop(std::map<PaneId, std::unique_ptr<Pane>>::iterator at) {
  Pane*& last = last_used_[static_cast<std::size_t>(at->first.table) - 1];
  if (last == at->second.get()) last = nullptr;
  count_entries(entries_ - at->second->entries.size());
  probe_.evictions.add();
  panes_.erase(at);
}

void Panes::checkpointed(std::size_t entries_max, MicrosUtc oldest) {
  for (Pane* const pane : being_saved_) --pane->pins;
  being_saved_.clear();

  using Iterator = std::map<PaneId, std::unique_ptr<Pane>>::iterator;
  std::vector<Iterator> candidates;
  for (auto at = panes_.begin(); at != panes_.end();) {
    const auto current = at++;
    const Pane& pane = *current->second;
    if (pane.pins > 0) continue;
    const bool is_expired = layout_of(pane.id.table).has_minute && pane.id.minute < oldest;
    if (is_expired || pane.entries.empty()) {
      drop(current);
    } else {
      candidates.push_back(current);
    }
  }
  if (entries_ <= entries_max) return;
  std::sort(candidates.begin(), candidates.end(), [](const Iterator& a, const Iterator& b) {
    return a->second->last_use < b->second->last_use;
  });
  for (const Iterator& at : candidates) {
    if (entries_ <= entries_max) return;
    drop(at);
  }
}

}  // namespace flagstream::analytics
