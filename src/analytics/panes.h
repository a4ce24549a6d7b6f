// The panes of one partition: hash tables in RAM over the stage's own store.
//
// A pane is loaded entry by entry, as events need them: a late event costs two reads, however many
// entries its pane has.  Only what the last checkpoint holds leaves RAM, and only once it is
// published too; then whole panes leave, the least recently used first.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "analytics/entry_key.h"
#include "analytics/keyed_hash.h"
#include "analytics/results_schema.h"
#include "base/error.h"
#include "pipeline/store.h"

namespace flagstream::analytics {

struct PanesProbe;

struct Entry {
  Value value;
  bool is_unpublished = false;
  bool is_unsaved = false;
};
using Entries = std::unordered_map<std::string, Entry, KeyedHash, std::equal_to<>>;
using KeyedEntry = Entries::value_type;

struct Pane {
  PaneId id;
  Entries entries;         // in RAM
  std::uint64_t size = 0;  // entries here and in the store together
  bool is_whole = true;    // the store has none that is not here
  bool is_header_unsaved = false;
  std::size_t pins = 0;  // reasons to stay in RAM
  std::uint64_t last_use = 0;
};

// Not thread-safe.  Panes and entries stay where they are until checkpointed().
class Panes {
 public:
  // `store` and `probe` must outlive it.
  Panes(const pipeline::Store& store, PanesProbe& probe);
  ~Panes();
  Panes(const Panes&) = delete;
  Panes& operator=(const Panes&) = delete;

  Result<Pane*> pane(const PaneId& id);
  // nullptr: there is none.
  Result<KeyedEntry*> find(Pane& pane, std::string_view key);
  // Precondition: find() says that there is none.
  KeyedEntry& insert(Pane& pane, std::string_view key);
  // The entry has changed by the record before `position`.
  void changed(Pane& pane, KeyedEntry& entry, log::Offset position);

  // Rows of what has changed since the last published().
  Result<std::vector<ResultRow>> unpublished() const;
  void published();

  // Entries of the store whose position is above `position`, in batches of at most `rows_max`.
  Result<void> visit_stored(
      log::Offset position, std::size_t rows_max,
      const std::function<Result<void>(const std::vector<ResultRow>& rows)>& visit) const;

  // Puts what has changed since the last checkpoint.
  void checkpoint(pipeline::Changes& changes);
  // What the last checkpoint() put is in the store.  Afterwards at most `entries_max` stay in RAM,
  // besides those that must; panes of minutes below `oldest` do not.
  void checkpointed(std::size_t entries_max, MicrosUtc oldest);

  std::size_t dirty_bytes() const { return dirty_bytes_; }
  std::size_t entries() const { return entries_; }

 private:
  struct Reference {
    Pane* pane;
    KeyedEntry* entry;
  };

  void drop(std::map<PaneId, std::unique_ptr<Pane>>::iterator at);
  void count_entries(std::size_t entries);

  const pipeline::Store& store_;
  PanesProbe& probe_;
  std::map<PaneId, std::unique_ptr<Pane>> panes_;
  std::array<Pane*, kTables> last_used_{};  // by table
  std::uint64_t uses_ = 0;
  std::size_t entries_ = 0;
  std::size_t dirty_bytes_ = 0;
  std::vector<Reference> unpublished_;
  std::vector<Reference> unsaved_;
  std::vector<Pane*> being_saved_;  // one pin each
};

}  // namespace flagstream::analytics
