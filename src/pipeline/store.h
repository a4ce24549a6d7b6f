// The store of one (stage, partition): RocksDB behind four calls.  Written by checkpoints only;
// each is one synced batch that also holds the input position and the format version.
// Entries: docs/formats/stage-store.md.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace flagstream::pipeline {

// The entries of one checkpoint.  Keys of folds begin with 'd' (the runtime's own begin with 'r').
// Of several changes to one key the last counts.
class Changes {
 public:
  Changes();
  ~Changes();
  Changes(Changes&&) noexcept;
  Changes& operator=(Changes&&) noexcept;

  void put(std::string_view key, std::string_view value);
  void remove(std::string_view key);
  // Every key in [begin, end).
  void remove_range(std::string_view begin, std::string_view end);
  std::size_t bytes() const;

 private:
  friend class Store;
  struct Batch;
  std::unique_ptr<Batch> batch_;
};

class Store {
 public:
  // Makes the folder and its parents if needed.  Conflict: open elsewhere.  DataLoss: damaged.
  // `prefix_bytes`: keys that share so many first bytes share an entry of the filters too, so that
  // scan() of a longer prefix can say "nothing" from memory; 0: whole keys only.
  static Result<std::unique_ptr<Store>> open(const std::string& folder,
                                             std::size_t prefix_bytes = 0);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Any thread.
  Result<std::optional<std::string>> get(std::string_view key) const;
  // False: certainly not there, told from filters in memory.
  bool may_contain(std::string_view key) const;
  // Every entry whose key begins with `prefix`, in order, until `visit` returns false.
  Result<void> scan(
      std::string_view prefix,
      const std::function<bool(std::string_view key, std::string_view value)>& visit) const;
  // Synced: survives power loss once it returns.
  Result<void> write(const Changes& changes);

 private:
  struct Database;
  explicit Store(std::unique_ptr<Database> database);
  std::unique_ptr<Database> database_;
};

}  // namespace flagstream::pipeline
